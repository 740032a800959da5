"""The scheduler: one thread that looks what can be begun, and workers that do it.

A piece of work is the check of one input file, one wave of lines, or the output files of one batch. Pieces of different
keys run at the same time.
"""

from __future__ import annotations

import threading
import time

from leeroo.engine.answer import Engine
from leeroo.engine.backends.select import unavailable
from leeroo.serve.clock import now
from leeroo.serve.database import Database
from leeroo.serve.options import ServerOptions
from leeroo.serve.work import batches, files
from leeroo.serve.work.dispatch import Dispatcher
from leeroo.serve.work.metrics import Metrics
from leeroo.serve.work.stages import BatchStages
from leeroo.serve.work.workers import Workers

# Seconds between two looks, and between two searches for what has expired.
_LOOK_S, _SWEEP_S = 1.0, 600.0
# Seconds that workers have to end when the server does.
_STOP_S = 10.0


class Scheduler:
    """The scheduler and its workers; `start` them and, at the end, `stop` them.

    Args:
        db: The server's database.
        engine: Has the pool.
        options: Limits of input files, and how long things are kept.
        metrics: Counts what is done.

    """

    def __init__(self, db: Database, engine: Engine, options: ServerOptions, metrics: Metrics) -> None:
        self._db, self._experts, self._keep_s = db, engine.pool.experts, options.keep_s
        self._workers = Workers()
        self._stages = BatchStages(db, frozenset(engine.pool.names), options, metrics, self._workers)
        self._dispatcher = Dispatcher(db, engine, metrics, self._workers, self._stages)
        self._swept = self._asked = -_SWEEP_S
        self._degraded: dict[str, str] = {}
        self._thread = threading.Thread(target=self._schedule, name="leeroo-scheduler", daemon=True)

    def start(self) -> None:
        """Resume what a killed server left, and wait for more."""
        files.sweep(self._db)
        self._dispatcher.resume()
        self._thread.start()

    def stop(self) -> None:
        """End soon: the next start resumes the waves that are under way."""
        self._workers.ending.set()
        self.wake()
        if self._thread.is_alive():
            self._thread.join()
        self._dispatcher.stop()
        until = time.monotonic() + _STOP_S
        while self._workers.at_work(object) and time.monotonic() < until:
            self._workers.news.wait(0.1)
            self._workers.news.clear()

    def alive(self) -> bool:
        """Return whether the scheduler is at work."""
        return self._thread.is_alive()

    def trouble(self) -> str | None:
        """Return why no line can be answered now, None where all is well."""
        down = self.degraded()
        if len(down) == len(self._experts):
            return "no expert can be asked: " + "; ".join(f"{name}: {why}" for name, why in down.items())
        return self._workers.trouble()

    def degraded(self) -> dict[str, str]:
        """Return the experts that are unavailable, and why, as it was within the last second."""
        if time.monotonic() - self._asked > _LOOK_S:
            found = {expert.name: unavailable(expert) for expert in self._experts}
            self._degraded = {name: why for name, why in found.items() if why is not None}
            self._asked = time.monotonic()
        return self._degraded

    def count_upload(self, change: int) -> None:
        """Count a request that brings something, and take it back with -1; the event loop alone may call this."""
        self._workers.uploads += change

    def wake(self) -> None:
        """Look at once: a batch is new, or to be cancelled."""
        self._workers.news.set()

    def _schedule(self) -> None:
        while not self._workers.ending.is_set():
            self._workers.news.clear()
            try:
                self._look()
            except Exception as error:  # noqa: BLE001 - the scheduler outlives any error
                self._workers.pause(error)
            self._workers.news.wait(_LOOK_S)

    def _look(self) -> None:
        """Begin what can be begun, and stop what nobody wants any more."""
        if self._workers.is_paused():
            return
        if time.monotonic() - self._swept > _SWEEP_S:
            self._swept = time.monotonic()
            files.expire(self._db, self._keep_s)
            if self._keep_s is not None:
                batches.forget(self._db, now() - self._keep_s)
        self._stages.begin()
        self._dispatcher.stop_unwanted()
        if len(self.degraded()) < len(self._experts):
            self._dispatcher.start_waves()
