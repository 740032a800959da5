"""Stages of a batch around its waves: the check of its input file, and the writing of its output files.

A stage that cannot be done fails its own batch, after two attempts, and no other. Knows nothing of the engine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Literal, NamedTuple, TypeVar

import structlog

from leeroo.engine.errors import Interrupted, OutputError
from leeroo.serve.database import Database
from leeroo.serve.lines.read import FileRefused, Line, read_jsonl, read_parquet
from leeroo.serve.options import ServerOptions
from leeroo.serve.work import answered_lines, batches, files, outputs, queue
from leeroo.serve.work.batches import Batch, OpenBatch
from leeroo.serve.work.metrics import Metrics
from leeroo.serve.work.workers import Workers

# The most files that are checked, and that are written, at the same time: in all, and of one key. The second lets a
# key's small file pass its large one.
_MOST_FILES, _FILES_OF_KEY = 6, 2
# Seconds of the processor that the check of one file may take.
_CHECK_S = 120.0
# The most seconds in all that a stage waits for requests that are under way.
_ASIDE_S = 1.0
# How often a stage of a batch is begun before the batch fails.
ATTEMPTS = 2

_T = TypeVar("_T")
_Stage = Literal["check", "write"]


class _BatchStage(NamedTuple):
    """A stage of a batch that is under way."""

    stage: _Stage
    batch: int
    owner: str


class BatchStages:
    """The stages that are under way.

    Args:
        db: The server's database.
        models: Names of the experts that lines may name.
        options: Limits of input files.
        metrics: Counts batches that end.
        workers: Threads for the stages.

    """

    def __init__(
        self, db: Database, models: frozenset[str], options: ServerOptions, metrics: Metrics, workers: Workers
    ) -> None:
        self._db, self._models, self._options, self._metrics = db, models, options, metrics
        self._workers = workers
        self._log = structlog.get_logger("leeroo.serve")

    def begin(self) -> None:
        """Begin to check new batches, and to end those that are answered, cancelled or past their time."""
        batches.mark_finalizing(self._db)
        self._begin("check", self._check, "validating")
        self._begin("write", self._write, "finalizing", "cancelling")

    def refuse(self, batch: Batch, code: str, message: str, line: int | None = None, param: str | None = None) -> None:
        """End a batch that cannot be answered."""
        error = {"code": code, "line": line, "message": message, "param": param}
        batches.end(self._db, batch, "failed", errors=json.dumps([error]))
        self._metrics.count_ended("failed")
        self._log.info("batch_refused", batch=batch.id, **error)

    def _begin(self, stage: _Stage, work: Callable[[Batch], None], *states: str) -> None:
        """Begin a stage of the batches in these states, the oldest first, as long as there is room."""
        running = [one for one in self._workers.at_work(_BatchStage) if one.stage == stage]
        for batch in batches.list_open(self._db, *states):
            if len(running) >= _MOST_FILES:
                return
            one = _BatchStage(stage, batch.number, batch.owner)
            many = sum(other.owner == one.owner for other in running) >= _FILES_OF_KEY
            if many or one in running or (stage == "write" and queue.claims(self._db, one.batch)):
                continue
            running.append(one)
            self._workers.begin(one, partial(self._attempt, batch, work))

    def _attempt(self, found: OpenBatch, work: Callable[[Batch], None]) -> None:
        """Do a stage of a batch, and fail the batch when it failed, or ended the process, too often."""
        batch = batches.by_number(self._db, found.number)
        if batch.status != found.status:
            return  # it is done, or the batch was cancelled, since it was begun
        why = "the server could not work with this file"
        attempts = batches.count_attempt(self._db, batch)
        if attempts > ATTEMPTS:
            self.refuse(batch, "server_error", why)
            return
        try:
            work(batch)
        except Exception as error:
            if isinstance(error, OutputError) or (isinstance(error, OSError) and error.errno):
                batches.count_attempt(self._db, batch, -1)
                raise
            self._log.exception("batch_failed", batch=batch.id)
            if attempts == ATTEMPTS:
                self.refuse(batch, "server_error", why)
        except Interrupted:
            batches.count_attempt(self._db, batch, -1)
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
            return read_parquet(path, self._options)
        return read_jsonl(path, batch.endpoint, self._models, self._options)

    def _write(self, batch: Batch) -> None:
        """Write the output files of a batch, and end it."""
        answered_lines.keep(self._db, batch)
        results = self._while_serving(batches.results(self._db, batch))
        output, errors = outputs.write(self._db, batch, results)
        whole = batch.completed + batch.failed == batch.total
        status = "cancelled" if batch.status == "cancelling" else "completed" if whole else "expired"
        batches.end(self._db, batch, status, output_file_id=output, error_file_id=errors)
        self._metrics.count_ended(status)
        self._log.info("batch_ended", batch=batch.id, status=status, rows=batch.total, cost_usd=batch.cost_usd)

    def _while_serving(self, items: Iterable[_T]) -> Iterator[_T]:
        """Yield lines until the server ends; requests that bring more go first for a while."""
        left_s = _ASIDE_S
        for item in items:
            if self._workers.uploads and left_s > 0:
                left_s -= self._workers.step_aside(left_s)
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
