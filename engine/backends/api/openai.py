"""The OpenAI backend: any server with OpenAI's chat API, many requests at a time.

Every answer is handed on the moment it is there, because it was paid for. A `Sender` sends the requests.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import Any

import openai
import pyarrow as pa

from leeroo.engine.backends.api.calls import Disconnect, through_openai
from leeroo.engine.backends.api.endpoint import Endpoint, endpoint_of, missing_key
from leeroo.engine.backends.api.limits.loop import shared_loop
from leeroo.engine.backends.api.limits.pace import Pace, pace_of
from leeroo.engine.backends.api.providers import through_any_llm
from leeroo.engine.backends.api.sender import Sender
from leeroo.engine.backends.completions import Request, completion_batch, requests_of
from leeroo.engine.backends.options import OpenAIOptions, engine_options
from leeroo.engine.errors import ExpertUnavailable
from leeroo.engine.pool import Expert

_WAIT_S = 0.2
# How often a caller checks whether others have left it some of the concurrency, and how long it waits for that, in
# seconds: requests of others that hang must not hold it up. Then it gets this part of the concurrency beyond theirs.
_SHARED_WAIT_S, _PATIENCE_S, _LEAST_PART = 0.05, 2.0, 8


class OpenAIBackend:
    """A connection to one model of one API.

    Raises:
        ExpertUnavailable: its key is not there, or any-llm-sdk is needed and not installed.
        PoolError: an engine option or the address is wrong.
    """

    def __init__(self, expert: Expert) -> None:
        options = engine_options(expert, OpenAIOptions)
        endpoint = endpoint_of(expert)
        if (why := missing_key(expert)) is not None:
            raise ExpertUnavailable(why)
        pace = pace_of(endpoint, options.provider, expert.model)
        pace.keep_within({"requests": options.requests_per_minute, "tokens": options.tokens_per_minute})
        self._sender, self._disconnect = self._connect(expert, options, endpoint, pace)
        self._loop = shared_loop()
        self._closed = False
        self._sent = 0  # requests in flight, of all callers of this connection
        self._counting = threading.Lock()

    def _connect(
        self, expert: Expert, options: OpenAIOptions, endpoint: Endpoint, pace: Pace
    ) -> tuple[Sender, Disconnect]:
        connect = through_openai if options.provider is None else through_any_llm
        call, disconnect = connect(expert, options, endpoint)
        return Sender(expert, options, endpoint, call, pace), disconnect

    @property
    def room(self) -> int:
        """How many more requests can leave now."""
        return max(self._sender.concurrency.allowed - self._sent, 0)

    def generate(self, requests: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
        """Answer a stream of requests, each yielded when it is there; all callers share the `concurrency`.

        A caller that waits long for its part, where the requests of others hang, gets a small one beyond it.

        When the expert is given up, what is in flight is awaited first, since it is paid for.
        """
        waiting: list[Request] = []
        in_flight: set[Future[list[dict[str, Any]]]] = set()
        more, had_room = True, time.monotonic()
        try:
            while more or waiting or in_flight:
                had_room = time.monotonic() if self.room else had_room
                # When others hold all of the concurrency for long, this caller may have a few in flight all the same.
                hindered = time.monotonic() - had_room > _PATIENCE_S
                least = max(self._sender.concurrency.allowed // _LEAST_PART, 1) if hindered else 0
                while waiting or (more and (self.room or len(in_flight) < least)):
                    if not waiting:
                        batch = next(requests, None)
                        more = batch is not None
                        if batch is None or batch.num_rows == 0:
                            break  # the end, or nothing more until something comes back
                        waiting += requests_of(batch)
                    if not self._may_start(beyond=len(in_flight) < least):
                        break
                    in_flight.add(self._start(waiting))
                if in_flight:
                    done, in_flight = wait(in_flight, timeout=_WAIT_S, return_when=FIRST_COMPLETED)
                    self._count_back(len(done))
                    yield completion_batch(row for future in done for row in future.result())
                elif more or waiting:  # other callers have all of the concurrency
                    time.sleep(_SHARED_WAIT_S)
                    yield completion_batch(())
                if self._sender.given_up is not None:
                    more, waiting = False, []
            if (why := self._sender.given_up or self._sender.refusal) is not None:
                raise ExpertUnavailable(why)
        finally:
            self._count_back(len(in_flight))
            for future in in_flight:
                future.cancel()

    def _start(self, waiting: list[Request]) -> Future[list[dict[str, Any]]]:
        """Take the next of the waiting requests, and send it."""
        request = waiting.pop(0)

        async def complete() -> list[dict[str, Any]]:
            return [await self._sender.complete(request)]

        return asyncio.run_coroutine_threadsafe(complete(), self._loop)

    def _may_start(self, *, beyond: bool) -> bool:
        """Count one more request in flight, where the concurrency allows it, or `beyond` it."""
        with self._counting:
            free = beyond or self._sent < self._sender.concurrency.allowed
            self._sent += free
            return free

    def _count_back(self, requests: int) -> None:
        """Count requests that came back, or were left in flight."""
        with self._counting:
            self._sent -= requests

    def close(self) -> None:
        """End the connections; a second call does nothing."""
        if not self._closed:
            self._closed = True
            # Connections that are collected while open print errors.
            with contextlib.suppress(TimeoutError, openai.OpenAIError):
                asyncio.run_coroutine_threadsafe(self._disconnect(), self._loop).result(timeout=5)
