"""The requests of one run, in batches of its provider.

They are submitted as they are handed out, in batches as large as may be. Lines of batches that an earlier run of the
same command left open are collected instead of being submitted again.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import pyarrow as pa

from leeroo.engine.backends.api.batches.attend import Attendant, Batch, Came, Dropped, Ended, Event, Failed
from leeroo.engine.backends.api.batches.provider import BatchAPI
from leeroo.engine.backends.api.batches.results import Results
from leeroo.engine.backends.api.checks import check_request
from leeroo.engine.backends.api.dialect import body
from leeroo.engine.backends.api.faults import Fault
from leeroo.engine.backends.completions import Request, completion_batch, requests_of
from leeroo.engine.backends.options import OpenAIOptions
from leeroo.engine.backends.protocol import BatchBook
from leeroo.engine.errors import ExpertUnavailable

# Seconds between two signs of life to the caller.
_WAIT_S = 0.2
# How long threads may take to end when the run does, in seconds.
_GRACE_S = 2.0

Rows = list[dict[str, Any]]


class _Asked(NamedTuple):
    """A request, and the number of batches that it has been in."""

    request: Request
    tries: int


class BatchRun:
    """The requests of one run over one connection; it generates once."""

    def __init__(self, api: BatchAPI, options: OpenAIOptions, book: BatchBook, results: Results) -> None:
        self._api, self._options, self._book, self._results = api, options, book, results
        self._attendant = Attendant(api, options, book)
        # An earlier process may have known of no refusals.
        self._dialect = replace(results.dialect, refused=frozenset())
        self._attended = 0  # batches that are attended now
        self._waiting: list[_Asked] = []  # to be submitted
        self._adopted: dict[str, list[_Asked]] = {}  # by token: lines of batches that are open already
        self._not_before = 0.0  # when more may be submitted, on the monotonic clock
        self._failed: str | None = None  # why a batch could not be submitted or collected

    @property
    def room(self) -> int:
        """How many more requests may wait here: a whole batch."""
        return self._api.most_lines

    def generate(self, requests: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
        """Submit all requests in batches and collect them; those of batches that are left open do not come back.

        More is submitted when a whole batch has come back, and not a few requests at a time.
        """
        more = turn = True
        try:
            while more or self._waiting or self._attended:
                if self._why_ended() is not None:
                    more, self._waiting = False, []
                if turn and more:
                    more = yield from self._pull(requests)
                if turn and time.monotonic() >= self._not_before:
                    turn = more and len(self._waiting) >= self.room  # there may be more to submit at once
                    yield completion_batch(self._submit(only_whole=turn))
                event = self._next_event() if self._attended or self._waiting else None
                yield completion_batch([] if event is None else self._handle(event))
                turn = turn or isinstance(event, Ended | Dropped) or not self._attended
            if (why := self._why_ended()) is not None:
                raise ExpertUnavailable(why)
        finally:
            self._attendant.end(_GRACE_S)

    def close(self) -> None:
        """Leave the connection to other runs."""

    def _why_ended(self) -> str | None:
        return self._results.given_up or self._failed

    def _pull(self, requests: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch, None, bool]:
        """Take in a whole batch, or all requests that are to be had now; return whether there may be more later."""
        while len(self._waiting) < self.room:
            batch = next(requests, None)
            if batch is None or not batch.num_rows:
                # A run that does not wait for its batches gets no more room in its budget.
                return batch is not None and not self._book.detached
            yield completion_batch(self._take(requests_of(batch)))
        return True

    def _take(self, requests: list[Request]) -> Rows:
        """Take in requests; return the completions of those that cannot be sent."""
        lines, failed = self._book.find_lines([request.id for request in requests]), []
        for request in requests:
            if (line := lines.get(request.id)) is not None:
                self._adopted.setdefault(line.token, []).append(_Asked(request, line.tries))
                continue
            try:
                check_request(request)
                self._write(request)
                self._waiting.append(_Asked(request, 0))
            except Fault as fault:
                failed.append(self._results.fail(request, fault))
        return failed

    def _submit(self, *, only_whole: bool) -> Rows:
        """Begin batches of all that waits, or of as much as fills some, and attend those that are open already."""
        for token, asked in self._adopted.items():
            self._attend(token, asked, None)
        self._adopted = {}
        n = len(self._waiting) // self.room * self.room if only_whole else len(self._waiting)
        waiting, self._waiting = self._waiting[:n], self._waiting[n:]
        if self._book.due is not None and time.time() >= self._book.due:
            return [self._results.fail(each.request, _too_late()) for each in waiting]
        for asked, lines in self._in_batches(waiting):
            asked = [_Asked(each.request, each.tries + 1) for each in asked]
            token = self._book.begin({each.request.id: each.tries for each in asked})
            self._attend(token, asked, lines)
        return []

    def _in_batches(self, waiting: Iterable[_Asked]) -> Iterator[tuple[list[_Asked], list[bytes]]]:
        """Split requests by the provider's limits, and yield them with their lines."""
        asked: list[_Asked] = []
        lines: list[bytes] = []
        size = 0
        for each in waiting:
            text = self._write(each.request)
            if asked and (len(asked) == self._api.most_lines or size + len(text) > self._api.most_bytes):
                yield asked, lines
                asked, lines, size = [], [], 0
            asked.append(each)
            lines.append(text)
            size += len(text) + 1
        if asked:
            yield asked, lines

    def _write(self, request: Request) -> bytes:
        """Return a request as a line; raise `Fault` where it cannot be one."""
        sent = {**body(request, self._results.dialect), **self._options.extra_body}
        return self._api.write(self._book.name_of(request.id), sent)

    def _attend(self, token: str, asked: list[_Asked], lines: list[bytes] | None) -> None:
        requests = {self._book.name_of(each.request.id): each.request for each in asked}
        dialect = self._results.dialect if lines is not None else self._dialect
        batch = Batch(token, requests, {each.request.id: each.tries for each in asked}, dialect, lines)
        self._attendant.attend(batch)
        self._attended += 1

    def _next_event(self) -> Event | None:
        try:
            return self._attendant.events.get(timeout=_WAIT_S)
        except queue.Empty:
            return None

    def _handle(self, event: Event) -> Rows:
        """Return the completions that an event brings."""
        if isinstance(event, Came):
            took_s = (event.look.ended or 0.0) - (event.batch.sent or 0.0)
            return self._resolve(event, max(took_s, 0.0) * 1e3)
        self._attended -= 1
        left = [_Asked(request, event.batch.tries[request.id]) for request in event.batch.requests.values()]
        if isinstance(event, Dropped):
            self._waiting += [_Asked(request, tries - 1) for request, tries in left]
        elif isinstance(event, Failed):
            if not isinstance(event.error, Fault):
                raise event.error
            self._failed = event.error.message
        elif isinstance(event, Ended):
            return self._end(event, left)
        return []

    def _resolve(self, came: Came, latency_ms: float) -> Rows:
        rows = []
        for result in came.results:
            request = came.batch.requests.pop(result.name, None)
            if request is None:  # another run's
                continue
            row = self._results.resolve(came.batch, request, result, latency_ms)
            if row is None:
                self._waiting.append(_Asked(request, came.batch.tries[request.id]))
            else:
                rows.append(row)
        return rows

    def _end(self, ended: Ended, left: list[_Asked]) -> Rows:
        """Return the completions of requests that a batch has left without a result; others go into another batch."""
        fault = ended.look.failure or Fault("the batch ended without an answer", passes=True, blames="nobody")
        if ended.look.failure is not None and fault.passes:
            self._not_before = time.monotonic() + self._options.poll_interval
        rows = []
        for each in left:
            if ended.cancelled:
                rows.append(self._results.fail(each.request, _too_late()))
            elif self._results.may_ask_again(ended.batch, each.request, fault):
                self._waiting.append(each)
            else:
                rows.append(self._results.fail(each.request, fault))
        return rows


def _too_late() -> Fault:
    return Fault("the batch had no answer by the deadline", blames="nobody")
