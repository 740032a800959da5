"""The OpenAI backend: any server with OpenAI's chat API, many requests at a time.

Every answer is handed on the moment it is there, because it was paid for. Calls are made in `calls`, in the dialect
that the server has been found to accept; `replies` reads the replies, and `faults` the errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import openai
import pyarrow as pa

from leeroo.engine.backends.api.bills import Bill
from leeroo.engine.backends.api.calls import through_openai
from leeroo.engine.backends.api.checks import check_request
from leeroo.engine.backends.api.dialect import Dialect, body, learn_refused, own_settings
from leeroo.engine.backends.api.effort import effort_form
from leeroo.engine.backends.api.endpoint import endpoint_of, missing_key
from leeroo.engine.backends.api.faults import Fault
from leeroo.engine.backends.api.providers import through_any_llm
from leeroo.engine.backends.api.replies import completion
from leeroo.engine.backends.completions import Request, completion_batch, failed_completion, requests_of
from leeroo.engine.backends.options import OpenAIOptions, engine_options
from leeroo.engine.errors import ExpertUnavailable
from leeroo.engine.pool import Expert

# The expert is given up after this many requests in a row that it is to blame for: the rest would fare no better.
_GIVE_UP_AFTER = 8
# From a server that has answered before, these statuses concern what one row sends.
_ROW_STATUSES = (400, 422)
_WAIT_S = 0.2
# How often a caller checks whether others have left it some of the concurrency, and how long it waits for that, in
# seconds: requests of others that hang must not hold it up. Then it gets this part of the concurrency beyond theirs.
_SHARED_WAIT_S, _PATIENCE_S, _LEAST_PART = 0.05, 2.0, 8
# The first request of a kind goes alone for this long, in seconds: what the server refuses is then found out once.
_HEAD_START_S = 1.0
# The most times that a call is repeated which may have been billed though nothing came back: the budget held one.
_MOST_UNSURE = 2
# Backoff doubles from the first to the second, in seconds, plus up to a quarter by chance.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0


# A completion, and the fault behind it, None where the API answered.
ApiOutcome = tuple[dict[str, Any], Fault | None]


class OpenAIBackend:
    """A connection to one model of one API.

    Raises:
        ExpertUnavailable: its key is not there, or any-llm-sdk is needed and not installed.
        PoolError: an engine option or the address is wrong.
    """

    def __init__(self, expert: Expert) -> None:
        self._expert = expert
        self._options = engine_options(expert, OpenAIOptions)
        self._endpoint = endpoint_of(expert)
        if (why := missing_key(expert)) is not None:
            raise ExpertUnavailable(why)
        self._sent = 0  # requests in flight, of all callers of this connection
        self._counting = threading.Lock()
        self._given_up: str | None = None  # why nothing more can be answered
        self._failures = 0  # in a row
        self._last = Fault("")  # the last of these
        self._answered = False  # whether any request was
        self._dialect = Dialect(effort_form(urlsplit(self._endpoint.url).hostname, self._options.provider))
        self._untaken: dict[str, Fault] = {}  # settings of rows that the server does not take, and its refusals
        self._first_sent: dict[frozenset[str], asyncio.Event] = {}  # by the parameters of a request
        connect = through_openai if self._options.provider is None else through_any_llm
        self._call, self._disconnect = connect(expert, self._options, self._endpoint)
        # A thread of its own: the caller may run an event loop already, as a notebook does.
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()  # nothing is sent again
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"leeroo-{expert.name}", daemon=True)
        self._thread.start()

    @property
    def room(self) -> int:
        """How many more requests can leave now."""
        return max(self._options.concurrency - self._sent, 0)

    def generate(self, requests: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
        """Answer a stream of requests, each yielded when it is there; all callers share the `concurrency`.

        A caller that waits long for its part, where the requests of others hang, gets a small one beyond it.

        When the expert is given up, what is in flight is awaited first, since it is paid for.
        """
        waiting: list[Request] = []
        in_flight: set[Future[ApiOutcome]] = set()
        more, had_room = True, time.monotonic()
        try:
            while more or waiting or in_flight:
                had_room = time.monotonic() if self.room else had_room
                # When others hold all of the concurrency for long, this caller may have a few in flight all the same.
                hindered = time.monotonic() - had_room > _PATIENCE_S
                least = max(self._options.concurrency // _LEAST_PART, 1) if hindered else 0
                while waiting or (more and (self.room or len(in_flight) < least)):
                    if not waiting:
                        batch = next(requests, None)
                        more = batch is not None
                        if batch is None or batch.num_rows == 0:
                            break  # the end, or nothing more until something comes back
                        waiting += requests_of(batch)
                    if not self._may_start(beyond=len(in_flight) < least):
                        break
                    in_flight.add(asyncio.run_coroutine_threadsafe(self._complete(waiting.pop(0)), self._loop))
                if in_flight:
                    done, in_flight = wait(in_flight, timeout=_WAIT_S, return_when=FIRST_COMPLETED)
                    outcomes = [future.result() for future in done]
                    self._count(outcomes)
                    yield completion_batch(row for row, _ in outcomes)
                elif more or waiting:  # other callers have all of the concurrency
                    time.sleep(_SHARED_WAIT_S)
                    yield completion_batch(())
                if self._given_up is not None:
                    more, waiting = False, []
            # It refused every request because of the key or the model.
            refused = not self._answered and self._last.status in (401, 403, 404)
            if (why := self._given_up or (self._last.message if refused else None)) is not None:
                raise ExpertUnavailable(why)
        finally:
            self._count([], len(in_flight))
            for future in in_flight:
                future.cancel()

    def _may_start(self, *, beyond: bool) -> bool:
        """Count one more request in flight, where the concurrency allows it, or `beyond` it."""
        with self._counting:
            free = beyond or self._sent < self._options.concurrency
            self._sent += free
            return free

    def _count(self, back: list[ApiOutcome], left: int = 0) -> None:
        """Count requests that came back, or were left in flight; give the expert up where it answers no more."""
        with self._counting:
            self._sent -= len(back) + left
            for _, fault in back:
                self._given_up = self._given_up or self._why_give_up(fault)
        if self._given_up is not None:
            self._loop.call_soon_threadsafe(self._stopping.set)

    def close(self) -> None:
        """End the connections and their thread."""
        if self._thread.is_alive():
            # Connections that outlive their loop print errors when they are collected.
            with contextlib.suppress(TimeoutError, openai.OpenAIError):
                asyncio.run_coroutine_threadsafe(self._disconnect(), self._loop).result(timeout=5)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=5)
        if not self._thread.is_alive():
            self._loop.close()

    def _why_give_up(self, fault: Fault | None) -> str | None:
        """Return why the expert is given up after this fault, None while it is not."""
        if fault is None or fault.blames == "row":
            self._answered, self._failures = True, 0
        elif fault.blames == "expert" and not (self._answered and fault.status in _ROW_STATUSES):
            self._last, self._failures = fault, self._failures + 1
        if fault is not None and fault.ends:
            return fault.message
        many = self._failures >= _GIVE_UP_AFTER
        return f"{self._failures} requests in a row failed, the last one so: {self._last.message}" if many else None

    async def _complete(self, request: Request) -> ApiOutcome:
        """Send a request until there is an answer, or a fault that does not pass; all calls are on the row's bill."""
        bill, tries, unsure = Bill(self._expert.list_price), 0, 0
        while True:
            began = time.perf_counter()
            try:
                row = await self._request(request, bill)
            except Fault as fault:
                bill.add_fault(fault, request)
                unsure += fault.unsure
                if not fault.passes or tries >= self._options.max_retries or unsure > _MOST_UNSURE:
                    return self._fail(request, fault, bill), fault
                await self._pause(tries, fault)
                tries += 1
                if self._stopping.is_set():
                    return self._fail(request, fault, bill), fault
            else:
                return {**row, **bill.columns, "latency_ms": (time.perf_counter() - began) * 1e3}, None

    def _fail(self, request: Request, fault: Fault, bill: Bill) -> dict[str, Any]:
        fault.message = self._endpoint.redact(fault.message)
        return {**failed_completion(request, fault.message, bounced=fault.blames != "row"), **bill.columns}

    async def _pause(self, tries: int, fault: Fault) -> None:
        """Wait before the next try, as long as the server demands, and no longer than the expert is in use."""
        backoff = min(_FIRST_PAUSE_S * 2**tries, _LONGEST_PAUSE_S) if fault.wait_s is None else fault.wait_s
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), backoff * random.uniform(1, 1.25))

    async def _request(self, request: Request, bill: Bill) -> dict[str, Any]:
        """Send a request once, and again only without parameters that the server refuses."""
        check_request(request)
        return completion(request, await self._send_first_ahead(request), bill)

    async def _send_first_ahead(self, request: Request) -> dict[str, Any]:
        """Send a request; the first with these parameters goes ahead of the others."""
        roles = {message["role"] for message in request.messages}
        names = frozenset(roles).union(body(request, Dialect(self._dialect.effort)))
        ahead = self._first_sent.get(names)
        if ahead is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ahead.wait(), _HEAD_START_S)
            ahead.set()  # the head start of the first is over, though it may hang
            return await self._send(request)
        self._first_sent[names] = ahead = asyncio.Event()
        try:
            return await self._send(request)
        finally:
            ahead.set()

    async def _send(self, request: Request) -> dict[str, Any]:
        """Send a request in the server's dialect, and learn from its refusals; what helped is kept."""
        dialect, settings = self._dialect, own_settings(request)
        if settings in self._untaken:
            raise replace(self._untaken[settings])
        while True:
            try:
                reply = await self._call({"model": self._expert.model, **body(request, dialect)})
            except Fault as fault:
                try:
                    refused_now = learn_refused(fault, request, dialect)
                except Fault as untaken:
                    self._untaken[settings] = replace(untaken)
                    raise
                if not refused_now:
                    raise
                dialect = dialect.without(refused_now)
            else:
                self._dialect = self._dialect.without(dialect.refused)
                return reply
