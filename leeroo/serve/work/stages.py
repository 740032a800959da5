"""Stages of a batch around its waves: the check of its input file, and the writing of its output files.

A stage that cannot be done fails its own batch, after two attempts, and no other. Knows nothing of the engine.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, TypeVar

import structlog

from leeroo.engine.errors import Interrupted, OutputError
from leeroo.serve.clock import now
from leeroo.serve.database import Database
from leeroo.serve.options import ServerLimits
from leeroo.serve.work import answered_lines, batches, files, outputs, queue
from leeroo.serve.work.batches import Batch
from leeroo.serve.work.lines import FileRefused, Line, read_jsonl, read_parquet
from leeroo.serve.work.metrics import Metrics
from leeroo.serve.work.waves import Speeds
from leeroo.serve.work.workers import Workers

# The most files that are checked, and that are written, at the same time: in all, and of one key. The second lets a
# key's small file pass its large one.
_MOST_FILES, _FILES_OF_KEY = 6, 2
# Seconds of the processor that the check of one file may take.
_CHECK_S = 120.0
# How often a stage of a batch is begun before the batch fails.
ATTEMPTS = 2

Stage = Literal["check", "write"]
_T = TypeVar("_T")


class BatchStages:
    """The stages that are under way.

    Args:
        db: The server's database.
        models: Names of the experts that lines may name.
        limits: Limits of input files.
        metrics: Counts batches that end.
        workers: Threads for the stages.
        speeds: Forgets batches that end.

    """

    def __init__(
        self,
        db: Database,
        models: frozenset[str],
        limits: ServerLimits,
        metrics: Metrics,
        workers: Workers,
        speeds: Speeds,
    ) -> None:
        self._db, self._models, self._limits, self._metrics = db, models, limits, metrics
        self._workers, self._speeds = workers, speeds
        self._lock = threading.Lock()  # of what is below
        self._running: dict[tuple[Stage, int], str] = {}  # the owner of each
        self._log = structlog.get_logger("leeroo.serve")

    def busy(self) -> bool:
        """Return whether a stage is under way."""
        return bool(self._running)

    def begin(self) -> None:
        """Begin to check new batches, and to end those that are answered, cancelled or past their time."""
        for batch in batches.in_state(self._db, *batches.OPEN):
            if batch.status == "validating":
                self._begin("check", batch, self._check)
            elif batch.status == "in_progress":
                if batch.completed + batch.failed == batch.total or batch.expires_at < now():
                    batches.finalizing(self._db, batch)
                    self._workers.news.set()
            elif not queue.claims(self._db, batch.number):
                self._begin("write", batch, self._write)

    def refuse(self, batch: Batch, code: str, message: str, line: int | None = None, param: str | None = None) -> None:
        """End a batch that cannot be answered."""
        error = {"code": code, "line": line, "message": message, "param": param}
        batches.refuse(self._db, batch, [error])
        self._metrics.ended("failed")
        self._log.info("batch_refused", batch=batch.id, **error)

    def _begin(self, stage: Stage, batch: Batch, work: Callable[[Batch], None]) -> None:
        """Begin a stage of a batch, unless it is under way, or there are many of its key or in all."""
        key = stage, batch.number
        with self._lock:
            owners = [owner for (other, _), owner in self._running.items() if other == stage]
            many = len(owners) >= _MOST_FILES or owners.count(batch.owner) >= _FILES_OF_KEY
            if many or key in self._running:
                return
            self._running[key] = batch.owner

        def done() -> None:
            with self._lock:
                del self._running[key]

        self._workers.begin(lambda: self._attempt(batch, work), done)

    def _attempt(self, batch: Batch, work: Callable[[Batch], None]) -> None:
        """Do a stage of a batch, and fail the batch when it failed, or ended the process, too often."""
        if batches.by_number(self._db, batch.number).status != batch.status:
            return  # it is done, or the batch was cancelled, since it was begun
        why = "the server could not work with this file"
        attempts = batches.attempt(self._db, batch)
        if attempts > ATTEMPTS:
            self.refuse(batch, "server_error", why)
            return
        try:
            work(batch)
        except Exception as error:
            if isinstance(error, OutputError) or (isinstance(error, OSError) and error.errno):
                batches.attempt(self._db, batch, -1)
                raise
            self._log.exception("batch_failed", batch=batch.id)
            if attempts == ATTEMPTS:
                self.refuse(batch, "server_error", why)
        except Interrupted:
            batches.attempt(self._db, batch, -1)
            raise

    def _check(self, batch: Batch) -> None:
        """Check the input file of a batch, and store its lines."""
        try:
            batches.store_lines(self._db, batch, _in_time(self._while_serving(self._lines(batch))))
        except FileNotFoundError:
            self.refuse(batch, "missing_file", "the input file was deleted")
        except FileRefused as error:
            self.refuse(batch, error.code, error.message, error.line, error.param)

    def _lines(self, batch: Batch) -> Iterator[Line]:
        path = files.path_of(self._db, batch.input_file_id)
        if batch.form == "parquet":
            return read_parquet(path, self._limits)
        return read_jsonl(path, batch.endpoint, self._models, self._limits)

    def _write(self, batch: Batch) -> None:
        """Write the output files of a batch, and end it."""
        answered_lines.keep(self._db, batch)
        results = self._while_serving(batches.results(self._db, batch))
        output, errors = outputs.write(self._db, batch, results)
        whole = batch.completed + batch.failed == batch.total
        status = "cancelled" if batch.status == "cancelling" else "completed" if whole else "expired"
        batches.finish(self._db, batch, status, output, errors)
        self._speeds.forget(batch.number)
        self._metrics.ended(status)
        self._log.info("batch_ended", batch=batch.id, status=status, rows=batch.total, cost_usd=batch.cost_usd)

    def _while_serving(self, items: Iterable[_T]) -> Iterator[_T]:
        for item in items:
            if self._workers.ending.is_set():
                raise Interrupted
            yield item


def _in_time(lines: Iterable[Line]) -> Iterator[Line]:
    """Yield lines as long as their check takes no more of the processor than it may."""
    began = time.thread_time()
    for line in lines:
        if time.thread_time() - began > _CHECK_S:
            message = f"its check takes more than {_CHECK_S:.0f} s: use fewer different schemas, or split the file"
            raise FileRefused("too_expensive", message)
        yield line
