"""Sending: a request is sent until it is answered, or fails for good, and what that says of the expert.

All of it runs in the loop of the APIs. Requests leave in the dialect that the server has been found to accept, at the
pace of their account; `replies` reads the replies, and `faults` the errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import random
import time
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from leeroo.engine.backends.api.bills import Bill, estimate_prompt_tokens, read_usage
from leeroo.engine.backends.api.caching import SharedBeginnings, mark_beginning
from leeroo.engine.backends.api.calls import Call
from leeroo.engine.backends.api.checks import check_request
from leeroo.engine.backends.api.dialect import Dialect, body, learn_refused, own_settings
from leeroo.engine.backends.api.effort import effort_form
from leeroo.engine.backends.api.endpoint import Endpoint
from leeroo.engine.backends.api.faults import Fault
from leeroo.engine.backends.api.limits.concurrency import Concurrency
from leeroo.engine.backends.api.limits.pace import Pace, Ticket
from leeroo.engine.backends.api.replies import completion
from leeroo.engine.backends.completions import Request, failed_completion
from leeroo.engine.backends.images.limits import limits_of, with_image_tokens
from leeroo.engine.backends.options import OpenAIOptions
from leeroo.engine.pool import Expert

# The expert is given up after this many requests in a row that it is to blame for: the rest would fare no better.
_GIVE_UP_AFTER = 8
# While nothing was answered, these refusals in a row are enough: of the key; of the model, or for another reason,
# which gateways may have for a single row.
_REFUSALS = {401: 1, 403: 2, 404: 2}
# From a server that has answered before, these statuses concern what one row sends.
_ROW_STATUSES = (400, 422)
# The first request of a kind goes alone for this long, in seconds: what the server refuses is then found out once.
_HEAD_START_S = 1.0
# The most times that a call is repeated which may have been billed though nothing came back: the budget held one.
_MOST_UNSURE = 2
# Backoff doubles from the first to the second, in seconds, plus up to a quarter by chance.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 8.0
# How long a row waits while each of its tries is refused for too many requests, in seconds: limits are by the minute.
# While others are let through, it has this number of tries at least.
_REFUSED_S, _LEAST_REFUSALS = 600.0, 20
# Answers over which the mean length is taken.
_LENGTHS = 50


@dataclass
class Tries:
    """The tries of one row that brought no answer.

    Attributes:
        failed: Those that count; one that was refused for too many requests does not.
        unsure: Those that may have been billed.
        refused: Those that were refused for too many requests.
        refused_at: When the first of these was.

    """

    failed: int = 0
    unsure: int = 0
    refused: int = 0
    refused_at: float = 0.0


class Sender:
    """Sends the requests of one expert.

    Attributes:
        concurrency: How many may be in flight.
        given_up: Why nothing more can be answered, None while something can.
        refusal: Why the key or the model was refused the last time, None where anything was answered.
        stopped: Set when the expert is given up: nothing is sent again.

    """

    def __init__(self, expert: Expert, options: OpenAIOptions, endpoint: Endpoint, call: Call, pace: Pace) -> None:
        self.concurrency = Concurrency(options.concurrency)
        self.given_up: str | None = None
        self.refusal: str | None = None
        self.stopped = asyncio.Event()
        self._model, self._max_retries, self._endpoint = expert.model, options.max_retries, endpoint
        self._call, self._pace, self._list_price = call, pace, expert.list_price
        self._failures = 0  # in a row
        self._answered = False  # whether any request was
        self._images = limits_of(expert)
        form = effort_form(urlsplit(endpoint.url).hostname, options.provider)
        self._dialect = Dialect(form, longest=self._images.longest)
        self._untaken: dict[str, Fault] = {}  # settings of rows that the server does not take, and its refusals
        self._ahead: dict[frozenset[str], asyncio.Event] = {}  # by kind of request, set when the one ahead is back
        self._taken: set[frozenset[str]] = set()  # kinds of which one was answered, or the one ahead hangs
        self._turns: set[asyncio.Timeout] = set()  # of requests that wait for their turn
        self._beginnings = SharedBeginnings()
        self._answers, self._mean_tokens = 0, 0.0  # of the last answers, how many and how long

    async def complete(self, request: Request) -> dict[str, Any]:
        """Send a request until there is an answer, or a fault that does not pass; return its completion."""
        bill, tries = Bill(self._list_price), Tries()
        request = with_image_tokens(request, self._images)
        while True:
            try:
                row = await self._request(request, bill)
            except Fault as fault:
                bill.add_fault(fault, request)
                last = await self._before_next_try(fault, tries)
                if last is not None:
                    return self._fail(request, last, bill)
            else:
                self._judge(None)
                return {**row, **bill.columns}

    def _fail(self, request: Request, fault: Fault, bill: Bill) -> dict[str, Any]:
        fault.message = self._endpoint.redact(fault.message)
        self._judge(fault)
        return {**failed_completion(request, fault.message, bounced=fault.blames != "row"), **bill.columns}

    async def _before_next_try(self, fault: Fault, tries: Tries) -> Fault | None:
        """Wait as long as the next try has to; return the fault that ends the row where there is none."""
        last = self._last(fault, tries)
        if last is None and fault.status != 429:  # such a one waits in line
            await self._pause(tries.failed, fault)
        return fault if last is None and self.stopped.is_set() else last

    def _last(self, fault: Fault, tries: Tries) -> Fault | None:
        """Count a try that failed; return the fault that ends the row, None where it is tried again."""
        tries.unsure += fault.unsure
        if not fault.passes:
            return fault
        if fault.status == 429:
            return self._last_refusal(fault, tries)
        tries.failed += 1
        return fault if tries.failed > self._max_retries or tries.unsure > _MOST_UNSURE else None

    def _last_refusal(self, fault: Fault, tries: Tries) -> Fault | None:
        """Return the fault of a row that has been refused for too long; the expert ends where all rows have."""
        now = time.monotonic()
        tries.refused_at = tries.refused_at or now
        tries.refused += 1
        everyone = now - (self._pace.refused_since or now) >= _REFUSED_S
        if not everyone and (now - tries.refused_at < _REFUSED_S or tries.refused < _LEAST_REFUSALS):
            return None
        who = "no request was" if everyone else "the request was not"
        return replace(fault, message=f"{who} let through for {_REFUSED_S / 60:.0f} minutes: {fault}", ends=everyone)

    def _judge(self, fault: Fault | None) -> None:
        """Give the expert up where this outcome of a row says that it answers no more."""
        if fault is None or fault.blames == "row":
            self._answered, self._failures, self.refusal = True, 0, None
            return
        if fault.blames == "expert" and not (self._answered and fault.status in _ROW_STATUSES):
            self._failures += 1
        refused = not self._answered and fault.status in _REFUSALS
        self.refusal = fault.message if refused else None
        many = _REFUSALS[fault.status] if refused else _GIVE_UP_AFTER
        if fault.ends or (refused and self._failures >= many):
            self._give_up(fault.message)
        elif self._failures >= many:
            self._give_up(f"{self._failures} requests in a row failed, the last one so: {fault.message}")

    def _give_up(self, why: str) -> None:
        """Send nothing again; requests that wait for their turn come back at once."""
        self.given_up = self.given_up or why
        self.stopped.set()
        for turn in self._turns:
            turn.reschedule(0.0)

    async def _pause(self, tries: int, fault: Fault) -> None:
        """Wait before the next try, as long as the server demands, and no longer than the expert is in use."""
        backoff = min(_FIRST_PAUSE_S * 2 ** (tries - 1), _LONGEST_PAUSE_S) if fault.wait_s is None else fault.wait_s
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.stopped.wait(), backoff * random.uniform(1, 1.25))

    async def _request(self, request: Request, bill: Bill) -> dict[str, Any]:
        """Send a request once, and again only without parameters that the server refuses."""
        check_request(request)
        if request.images:  # other requests of the loop go on meanwhile
            await asyncio.to_thread(body, request, self._dialect)
        async with self._beginnings.one_ahead(request):
            reply, latency_ms = await self._send_first_ahead(request)
        return {**completion(request, reply, bill), "latency_ms": latency_ms}

    async def _send_first_ahead(self, request: Request) -> tuple[dict[str, Any], float]:
        """Send a request; until one with these parameters is answered, they go one by one."""
        roles = {message["role"] for message in request.messages}
        kind = frozenset(roles).union(body(request, self._dialect.with_all()))
        while kind not in self._taken and (ahead := self._ahead.get(kind)) is not None:
            try:
                await asyncio.wait_for(ahead.wait(), _HEAD_START_S)
            except TimeoutError:
                if not self._pace.busy:  # it is not in line any more
                    self._taken.add(kind)
        if kind in self._taken:
            return await self._send(request)
        self._ahead[kind] = back = asyncio.Event()
        try:
            reply = await self._send(request)
            self._taken.add(kind)
            return reply
        finally:
            del self._ahead[kind]
            back.set()

    async def _send(self, request: Request) -> tuple[dict[str, Any], float]:
        """Send a request in the server's dialect, and learn from its refusals; what helped is kept."""
        dialect, settings = self._dialect, own_settings(request)
        if settings in self._untaken:
            raise replace(self._untaken[settings])
        while True:
            try:
                sent = {"model": self._model, **body(request, dialect)}
                sent["messages"] = mark_beginning(sent["messages"], request)
                reply = await self._send_in_turn(request, sent)
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

    async def _send_in_turn(self, request: Request, sent: dict[str, Any]) -> tuple[dict[str, Any], float]:
        """Send a body when it is its turn; return the reply and how long it took, in milliseconds."""
        answer = min(request.max_tokens, self._mean_tokens) if self._answers else request.max_tokens
        ticket = await self._wait_for_turn(estimate_prompt_tokens(request) + answer)
        try:
            reply = await self._call(sent, functools.partial(self._pace.hear, ticket))
        except Fault as fault:
            self._learn_pace(ticket, fault)
            raise
        latency_ms = (time.monotonic() - ticket.at) * 1e3
        usage = read_usage(reply.get("usage"))
        if usage.whole_prompt_tokens and usage.completion_tokens is not None:
            self._pace.correct(ticket, usage.whole_prompt_tokens + usage.completion_tokens)
            self._answers = min(self._answers + 1, _LENGTHS)
            self._mean_tokens += (usage.completion_tokens - self._mean_tokens) / self._answers
        self._pace.succeed()
        self.concurrency.grow()
        return reply, latency_ms

    async def _wait_for_turn(self, tokens: float) -> Ticket:
        """Wait until a request of about this many tokens may leave.

        Raises:
            Fault: the expert was given up before.

        """
        turn = asyncio.timeout(None)
        self._turns.add(turn)
        try:
            async with turn:
                if not self.stopped.is_set():
                    return await self._pace.enter(tokens)
        except TimeoutError:
            pass
        finally:
            self._turns.discard(turn)
        raise Fault(self.given_up or "the expert was given up", blames="nobody")

    def _learn_pace(self, ticket: Ticket, fault: Fault) -> None:
        """Learn from a fault how fast this server may be sent requests."""
        if not fault.unsure:
            self._pace.correct(ticket, 0.0)
        if fault.slows:
            self.concurrency.cut(ticket.at)
        if fault.status == 429 or (fault.slows and fault.wait_s is not None):
            self._pace.refuse(ticket, fault.wait_s)
        elif fault.status and not fault.slows:
            self._pace.succeed()
