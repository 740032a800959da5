"""Attend: one batch from its input to its results, in a thread that only calls the provider and the book.

Whatever was done is in the book before the next step begins, so that a kill at any moment loses nothing:

- Noted, and no input file: nothing can be at the provider. The batch is dropped, and its requests go into another.
- Its creation was requested, and its id is not known: it is looked for by its token.
- Its id is known: it is awaited, and its results are read, as often as it takes until all are stored.
"""

from __future__ import annotations

import contextlib
import queue
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from leeroo.engine.backends.api.batches.provider import NO_FILE, BatchAPI, LineResult, Look
from leeroo.engine.backends.api.dialect import Dialect
from leeroo.engine.backends.api.faults import Fault
from leeroo.engine.backends.completions import Request
from leeroo.engine.backends.options import OpenAIOptions
from leeroo.engine.backends.protocol import BatchBook

# Results handed on at a time: they are stored before the next.
_RESULTS = 1024
# Backoff doubles from the first to the second, in seconds, plus up to a quarter by chance.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 30.0
# The first look at a batch comes after this many seconds; then they are ever further apart.
_FIRST_LOOK_S = 1.0

T = TypeVar("T")


@dataclass
class Batch:
    """A batch of one run.

    Attributes:
        token: Its name in the book and at the provider.
        requests: By name, those of this run that have no result yet.
        tries: By the id of a request, the batches that it has been in, with this one.
        dialect: Its lines were written in it, as far as that is known.
        lines: Its input; None where an earlier process wrote it.
        sent: When its creation was requested, in seconds of the epoch.

    """

    token: str
    requests: dict[str, Request]
    tries: dict[int, int]
    dialect: Dialect
    lines: list[bytes] | None = None
    sent: float | None = None


class Came(NamedTuple):
    """Results of a batch that has ended."""

    batch: Batch
    look: Look
    results: list[LineResult]


class Ended(NamedTuple):
    """A batch all of whose results have come."""

    batch: Batch
    look: Look
    cancelled: bool  # by this run


class Dropped(NamedTuple):
    """A batch that the provider does not have."""

    batch: Batch


class Left(NamedTuple):
    """A batch that is under way, and that the run does not wait for."""

    batch: Batch


class Failed(NamedTuple):
    """A batch that cannot be submitted or collected; an error that is no fault is a defect of ours."""

    batch: Batch
    error: Exception


Event = Came | Ended | Dropped | Left | Failed


class _StoppedError(Exception):
    """Raised where the run has ended meanwhile."""


class Attendant:
    """Attends the batches of one run, each in a thread of its own."""

    def __init__(self, api: BatchAPI, options: OpenAIOptions, book: BatchBook) -> None:
        self._api, self._options, self._book = api, options, book
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def attend(self, batch: Batch) -> None:
        """Submit a batch if that is still to be done, and collect it."""
        thread = threading.Thread(target=self._run, args=(batch,), name=f"leeroo-{batch.token}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def end(self, grace_s: float) -> None:
        """Have all threads end, and wait a moment for them; open batches stay at the provider."""
        self._stop.set()
        until = time.monotonic() + grace_s
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self, batch: Batch) -> None:
        try:
            self._attend(batch)
        except _StoppedError:
            pass
        except Exception as error:  # noqa: BLE001 - it is raised by whoever reads the events
            self.events.put(Failed(batch, error))

    def _attend(self, batch: Batch) -> None:
        with self._book.submitting(batch.token, self._stop):
            remote = self._submit(batch)
        batch.lines = None  # they may be long, and have been sent
        if remote is None:
            self.events.put(Dropped(batch))
            return
        try:
            look, cancelled = self._await_end(batch, remote)
            if look is None:
                self.events.put(Left(batch))
                return
            ended = look
            results = self._persist(lambda: list(self._api.results(remote, ended)), for_ever=True)
        except Fault as fault:
            if fault.status != 404:
                raise
            self._book.drop(batch.token)
            self.events.put(Dropped(batch))
            return
        for at in range(0, len(results), _RESULTS):
            self.events.put(Came(batch, ended, results[at : at + _RESULTS]))
        self.events.put(Ended(batch, ended, cancelled))

    def _submit(self, batch: Batch) -> str | None:
        """Return the provider's id of a batch, which is created if need be; None where it has to be made anew."""
        self._check_stop()
        known = self._book.read(batch.token)
        if known is None:
            return None
        batch.sent = known.sent
        if known.remote is not None:
            return known.remote
        if batch.lines is not None:
            remote: str | None = self._create(batch, batch.lines)
        elif known.sent is not None:
            remote = self._find(batch, known.file or NO_FILE, known.sent)
            if remote is None and known.file:
                with contextlib.suppress(Fault):
                    self._api.discard(known.file)
        else:
            remote = None
        if remote is None:
            self._book.drop(batch.token)
        else:
            self._book.note_created(batch.token, remote)
        return remote

    def _create(self, batch: Batch, lines: list[bytes]) -> str:
        try:
            file = self._persist(lambda: self._api.upload(lines))
        except Fault:
            self._book.drop(batch.token)
            raise
        for tries in range(self._options.max_retries + 1):
            self._check_stop()
            batch.sent = time.time()
            self._book.note_sending(batch.token, file or NO_FILE)
            try:
                return self._api.create(file, lines, batch.token)
            except Fault as fault:
                # Whoever created it may not have been able to say so.
                if fault.unsure or fault.status >= 500:
                    found = self._find(batch, file, batch.sent)
                    if found is not None:
                        return found
                if not fault.passes or tries == self._options.max_retries:
                    self._book.drop(batch.token)
                    raise
                self._pause(tries, fault)
        raise AssertionError("the last try returns or raises")

    def _find(self, batch: Batch, file: str, sent: float) -> str | None:
        """Look for a batch that may have been created, until the provider must have done so."""
        while True:
            found = self._persist(lambda: self._api.find(batch.token, file, sent, frozenset(batch.requests)))
            left = sent + self._options.poll_interval - time.time()
            if found is not None or left <= 0:
                return found
            self._wait(min(left, _FIRST_LOOK_S))

    def _await_end(self, batch: Batch, remote: str) -> tuple[Look | None, bool]:
        """Look at a batch until it has ended, and whether it was cancelled; None where nobody waits for it."""
        pause, cancelled = min(_FIRST_LOOK_S, self._options.poll_interval), False
        while True:
            due = self._book.due
            if due is not None and time.time() >= due and not cancelled:
                self._persist(lambda: self._api.cancel(remote), for_ever=True)
                pause, cancelled = min(_FIRST_LOOK_S, self._options.poll_interval), True
            look = self._persist(lambda: self._api.look(remote), for_ever=True)
            self._book.note_look(batch.token, look.status, look.done, look.ended)
            if look.ended is not None or (self._book.detached and not cancelled):
                return (None if look.ended is None else look), cancelled
            self._wait(pause if due is None or cancelled else min(pause, max(0.0, due - time.time())))
            pause = min(2 * pause, self._options.poll_interval)

    def _persist(self, call: Callable[[], T], *, for_ever: bool = False) -> T:
        """Call until there is a reply, as often as the options say, or for ever: a batch is paid for."""
        tries = 0
        while True:
            self._check_stop()
            try:
                return call()
            except Fault as fault:
                if not fault.passes or (tries >= self._options.max_retries and not for_ever):
                    raise
                self._pause(tries, fault)
                tries += 1

    def _pause(self, tries: int, fault: Fault) -> None:
        backoff = min(_FIRST_PAUSE_S * 2 ** min(tries, 10), _LONGEST_PAUSE_S)
        self._wait((backoff if fault.wait_s is None else fault.wait_s) * random.uniform(1, 1.25))

    def _wait(self, seconds: float) -> None:
        if self._stop.wait(seconds):
            raise _StoppedError

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise _StoppedError
