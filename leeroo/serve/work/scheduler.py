"""The work behind the endpoint: one thread that looks what there is to do, and a worker thread for each piece of it.

A piece is the check of one batch's input file, one wave of lines, or the files of one batch that has ended. Pieces of
different keys run side by side. A piece that cannot be done fails its own batch, after two attempts, and no other.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Literal, TypeVar

import structlog

from leeroo.engine.answer import Engine
from leeroo.engine.backends.select import capabilities, unavailable
from leeroo.engine.errors import Interrupted, LeerooError, OutputError
from leeroo.serve.clock import now
from leeroo.serve.database import Database
from leeroo.serve.work import batches, files, outputs, queue, waves
from leeroo.serve.work.batches import Batch
from leeroo.serve.work.lines import Limits, Line, Refused, read_jsonl, read_parquet
from leeroo.serve.work.metrics import Metrics
from leeroo.serve.work.waves import WAVE_S, Lane, Rows, Wave

# How often is looked around, and how long is waited when the disk is full or no expert can run.
_LOOK_S, _TROUBLE_S, _SWEEP_S = 1.0, 5.0, 600.0
_STOP_S = 10.0  # for the workers to end, see `stop`
# A wave that is late does not hold up its lane: another may start beside it. One that takes this long is stopped.
_LATE_S, _DEADLINE_S = 3 * WAVE_S, 900.0
# Waves that run at once: in all, of them in time, of one key, and of one lane.
_MOST, _IN_TIME, _OF_KEY, _OF_LANE = 64, 8, 8, 4
# Files checked, and files written, at once, in all and of one key: beside a large file of its own a key's small one is
# not held up. Seconds of the processor that the check of one may take.
_MOST_FILES, _FILES_OF_KEY, _CHECK_S = 6, 2, 120.0
# So often a stage of a batch is begun, and a line tried, before it fails.
_ATTEMPTS = 2

Kind = Literal["check", "write"]
_T = TypeVar("_T")


class Works:
    """The scheduler and its workers; `start` them and, at the end, `stop` them.

    Args:
        db: The server's database.
        engine: Has the pool.
        limits: Of the input files.
        keep_s: How long files and ended batches are kept, None for ever.
        metrics: Counts what is done.

    """

    def __init__(self, db: Database, engine: Engine, limits: Limits, keep_s: float | None, metrics: Metrics) -> None:
        self._db, self._engine, self._limits, self._metrics = db, engine, limits, metrics
        self._keep_s = keep_s
        self._models = frozenset(engine.pool.names)
        self._remote = frozenset(expert.name for expert in engine.pool.experts if not capabilities(expert).holds_memory)
        self._ending, self._news = threading.Event(), threading.Event()
        self._lock = threading.Lock()  # of what is below
        self._at_work: dict[tuple[Kind, int], str] = {}  # stages of batches under way, and whose
        self._waves: dict[int, Wave] = {}
        self._served: dict[str, float] = {}  # when a wave of each key was started last
        self._speeds = waves.Speeds()
        self._alone: set[int] = set()  # batches that were in a wave which failed
        self._trouble: tuple[float, str] | None = None  # until when nothing is begun, and why
        self._swept = -_SWEEP_S
        self._log = structlog.get_logger("leeroo.serve")
        self._thread = threading.Thread(target=self._schedule, name="leeroo-scheduler", daemon=True)

    def start(self) -> None:
        """Go on with what is there, and wait for more."""
        files.sweep(self._db)
        for number, claimed in queue.unfinished(self._db).items():
            [lane, *_] = waves.lanes(claimed, self._remote, self._alone)
            self._launch(Wave(number, lane, frozenset(of.batch for of in claimed)))
        self._thread.start()

    def stop(self) -> None:
        """End soon: a wave under way is resumed at the next start."""
        self._ending.set()
        self._news.set()
        if self._thread.is_alive():
            self._thread.join()
        for wave in self._running():
            wave.stop.set()
        until = time.monotonic() + _STOP_S
        while (self._at_work or self._waves) and time.monotonic() < until:
            self._news.wait(0.1)
            self._news.clear()

    def alive(self) -> bool:
        """Return whether the scheduler is at work."""
        return self._thread.is_alive()

    def trouble(self) -> str | None:
        """Return why no line can be answered now, None where all is well."""
        down = {expert.name: unavailable(expert) for expert in self._engine.pool.experts}
        if all(down.values()):
            return "no expert can be asked: " + "; ".join(f"{name}: {why}" for name, why in down.items())
        return self._trouble[1] if self._trouble else None

    def degraded(self) -> dict[str, str]:
        """Return the experts that cannot be asked now, and why."""
        found = ((expert.name, unavailable(expert)) for expert in self._engine.pool.experts)
        return {name: why for name, why in found if why is not None}

    def news(self) -> None:
        """Look at once: a batch is new, or to be cancelled."""
        self._news.set()

    def _running(self) -> list[Wave]:
        with self._lock:
            return list(self._waves.values())

    def _schedule(self) -> None:
        while not self._ending.is_set():
            self._news.clear()
            try:
                self._look()
            except Exception as error:  # noqa: BLE001 - the scheduler outlives whatever happens
                self._in_trouble(error)
            self._news.wait(_LOOK_S)

    def _look(self) -> None:
        """Begin what can be begun, and stop what nobody wants any more."""
        if self._trouble is not None and time.monotonic() < self._trouble[0]:
            return
        self._trouble = None
        if time.monotonic() - self._swept > _SWEEP_S:
            self._swept = time.monotonic()
            files.expire(self._db, self._keep_s)
            if self._keep_s is not None:
                batches.forget(self._db, now() - self._keep_s)
        self._attend()
        self._stop_unwanted()
        if len(self.degraded()) < len(self._models):
            self._start_waves()

    def _in_trouble(self, error: Exception) -> None:
        """Wait a little: the disk is full, or something went wrong that is no batch's fault."""
        expected = isinstance(error, (LeerooError, OSError))
        self._trouble = (
            time.monotonic() + _TROUBLE_S,
            str(error) if expected else "the server made a mistake, see its log",
        )
        self._log.error("in_trouble", reason=str(error), exc_info=None if expected else error)

    # -- Files of batches -------------------------------------------------------------------------------------------

    def _attend(self) -> None:
        """Check what is new, and finish what is answered, cancelled or past its time."""
        for batch in batches.in_state(self._db, *batches.OPEN):
            if batch.status == "validating":
                self._begin("check", batch, self._validate)
            elif batch.status == "in_progress":
                if batch.completed + batch.failed == batch.total or batch.expires_at < now():
                    batches.finalizing(self._db, batch)
                    self._news.set()
            elif not queue.claims(self._db, batch.number):
                self._begin("write", batch, self._finish)

    def _begin(self, kind: Kind, batch: Batch, work: Callable[[Batch], None]) -> None:
        """Begin a stage of a batch, unless it is under way, or there are many of its key or in all."""
        with self._lock:
            owners = [owner for (other, _), owner in self._at_work.items() if other == kind]
            many = len(owners) >= _MOST_FILES or owners.count(batch.owner) >= _FILES_OF_KEY
            if many or (kind, batch.number) in self._at_work:
                return
            self._at_work[kind, batch.number] = batch.owner

        def done() -> None:
            del self._at_work[kind, batch.number]

        self._thread_for(lambda: self._stage(batch, work), done)

    def _thread_for(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        def run() -> None:
            try:
                work()
            except Interrupted:
                pass
            except Exception as error:  # noqa: BLE001 - told in the log; the thread is over anyway
                self._in_trouble(error)
            finally:
                with self._lock:
                    done()
                self._news.set()

        threading.Thread(target=run, name="leeroo-worker", daemon=True).start()

    def _stage(self, batch: Batch, work: Callable[[Batch], None]) -> None:
        """Do a stage of a batch, which fails alone: when it has failed, or ended the process, as often as it may."""
        if batches.by_number(self._db, batch.number).status != batch.status:
            return  # done, or cancelled, since it was looked at
        why = "the server could not work with this file"
        attempts = batches.attempt(self._db, batch)
        if attempts > _ATTEMPTS:
            self._refuse(batch, "server_error", why)
            return
        try:
            work(batch)
        except Exception as error:
            if isinstance(error, OutputError) or (isinstance(error, OSError) and error.errno):
                batches.attempt(self._db, batch, -1)
                raise
            self._log.exception("batch_failed", batch=batch.id)
            if attempts == _ATTEMPTS:
                self._refuse(batch, "server_error", why)
        except Interrupted:
            batches.attempt(self._db, batch, -1)
            raise

    def _while_serving(self, items: Iterable[_T]) -> Iterator[_T]:
        for item in items:
            if self._ending.is_set():
                raise Interrupted
            yield item

    def _validate(self, batch: Batch) -> None:
        try:
            batches.admit(self._db, batch, _in_time(self._while_serving(self._lines(batch))))
        except FileNotFoundError:
            self._refuse(batch, "missing_file", "the input file was deleted")
        except Refused as error:
            self._refuse(batch, error.code, error.message, error.line, error.param)

    def _lines(self, batch: Batch) -> Iterator[Line]:
        path = files.path_of(self._db, batch.input_file_id)
        if batch.form == "parquet":
            return read_parquet(path, self._limits)
        return read_jsonl(path, batch.endpoint, self._models, self._limits)

    def _refuse(self, batch: Batch, code: str, message: str, line: int | None = None, param: str | None = None) -> None:
        error = {"code": code, "line": line, "message": message, "param": param}
        batches.refuse(self._db, batch, [error])
        self._metrics.ended("failed")
        self._log.info("batch_refused", batch=batch.id, **error)

    def _finish(self, batch: Batch) -> None:
        """Write the files of a batch, and end it."""
        results = self._while_serving(batches.results(self._db, batch))
        output, errors = outputs.write(self._db, batch, results)
        whole = batch.completed + batch.failed == batch.total
        status = "cancelled" if batch.status == "cancelling" else "completed" if whole else "expired"
        batches.finish(self._db, batch, status, output, errors)
        self._speeds.forget(batch.number)
        self._metrics.ended(status)
        self._log.info("batch_ended", batch=batch.id, status=status, rows=batch.total, cost_usd=batch.cost_usd)

    # -- Waves ------------------------------------------------------------------------------------------------------

    def _stop_unwanted(self) -> None:
        """Stop waves that take too long, or whose batches have been cancelled or are past their time."""
        wanted = {batch.number for batch in batches.in_state(self._db, "in_progress")}
        for wave in self._running():
            mixed = bool(wave.batches & wanted)
            if wave.age > _DEADLINE_S or not mixed or (not wave.batches <= wanted and wave.age > _LATE_S):
                wave.stop.set()

    def _start_waves(self) -> None:
        """Start waves, those of the keys with the fewest under way first."""
        found = waves.lanes(queue.backlog(self._db), self._remote, self._alone)
        while (lane := self._next(found)) is not None:
            seats = self._speeds.seats(found.pop(lane))
            number = queue.claim(self._db, seats)
            self._served[lane.owner] = time.monotonic()
            self._launch(Wave(number, lane, frozenset(of.batch for of, _ in seats)))

    def _next(self, found: Iterable[Lane]) -> Lane | None:
        """Choose the lane whose turn it is; None where none may start a wave."""
        running = self._running()
        if len(running) >= _MOST or sum(wave.age < _LATE_S for wave in running) >= _IN_TIME:
            return None
        of_key = Counter(wave.lane.owner for wave in running)
        free = [lane for lane in found if of_key[lane.owner] < _OF_KEY and _may_start(lane, running)]
        return min(free, key=lambda lane: (of_key[lane.owner], self._served.get(lane.owner, 0.0)), default=None)

    def _launch(self, wave: Wave) -> None:
        with self._lock:
            self._waves[wave.number] = wave

        def done() -> None:
            del self._waves[wave.number]

        self._thread_for(lambda: self._ride(wave), done)

    def _ride(self, wave: Wave) -> None:
        """Have the lines of a wave answered, keep the results, and let the rest wait again."""
        tried = False
        try:
            tried = self._answer(wave)
        except (OutputError, OSError):
            raise
        except Exception as error:  # noqa: BLE001 - what cannot be done for one batch costs no other
            self._log.exception("wave_failed", batches=sorted(wave.batches))
            self._blame(wave, error)
        finally:
            # The next start of the server resumes what is still claimed as the wave that it was.
            if not self._ending.is_set():
                queue.release(self._db, wave.number, tried=tried)

    def _blame(self, wave: Wave, error: Exception) -> None:
        """Try the batches of a wave that failed one by one; one that fails alone as often as it may is ended."""
        self._alone |= wave.batches
        if wave.lane.batch is None:
            return
        batch = batches.by_number(self._db, wave.lane.batch)
        if batches.attempt(self._db, batch) < _ATTEMPTS:
            return
        why = str(error) if isinstance(error, LeerooError) else "the server could not work with this batch"
        if batch.completed:
            queue.fail(self._db, batch.number, waves.nothing(why))
        else:
            self._refuse(batch, "server_error", why)

    def _answer(self, wave: Wave) -> bool:
        """Answer a wave and keep what came; return whether this was a try of the lines that have no result."""
        rows = self._rows(wave)
        if not rows:
            return False
        began = time.monotonic()
        results: list[dict[str, Any] | None] = [None] * len(rows)
        with suppress(Interrupted):  # stopped before there was anything to keep
            results = waves.answer(self._engine, rows, self._budget(rows), wave.stop)
        stuck = wave.age > _DEADLINE_S and not any(results)
        kept: list[queue.Result] = []
        for (batch, line), result in zip(rows, results, strict=True):
            last = line.tries + 1 >= _ATTEMPTS
            if result is None and stuck and last:
                result = waves.nothing(f"no answer came within {_DEADLINE_S / 60:.0f} minutes, {_ATTEMPTS} times")
            if result is not None and (last or not waves.lost_expert(self._models, result)):
                kept.append((batch.number, line.line, result))
        queue.settle(self._db, kept)
        self._engine.delivered()
        self._metrics.answered([result for *_, result in kept])
        self._speeds.learn(Counter(number for number, *_ in kept), time.monotonic() - began)
        return stuck or len(kept) < sum(result is not None for result in results)

    def _rows(self, wave: Wave) -> Rows:
        """Return the lines of a wave whose batches have not been cancelled meanwhile."""
        found = queue.claimed(self._db, wave.number).items()
        of = [(batches.by_number(self._db, number), lines) for number, lines in found]
        return [(batch, line) for batch, lines in of if batch.status == "in_progress" for line in lines]

    def _budget(self, rows: Rows) -> float | None:
        """Return what these lines may cost: in their random order, the part of what is left that they are."""
        batch = rows[0][0]
        if batch.max_cost_usd is None:
            return None
        left = max(0.0, batch.max_cost_usd - batch.cost_usd)
        return left * len(rows) / max(1, queue.open_lines(self._db, batch.number))


def _may_start(lane: Lane, running: list[Wave]) -> bool:
    """Return whether a lane may have one more wave: all that it has are late, and a budget is not shared."""
    mine = [wave for wave in running if wave.lane == lane]
    return not mine or (lane.batch is None and len(mine) < _OF_LANE and all(wave.age > _LATE_S for wave in mine))


def _in_time(lines: Iterable[Line]) -> Iterator[Line]:
    """Yield lines as long as their check takes no more of the processor than it may."""
    began = time.thread_time()
    for line in lines:
        if time.thread_time() - began > _CHECK_S:
            message = f"its check takes more than {_CHECK_S:.0f} s: use fewer different schemas, or split the file"
            raise Refused("too_expensive", message)
        yield line
