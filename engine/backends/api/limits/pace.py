"""Pace: when the next request to one model of one account may leave.

Limits are those of an account and a model: experts that ask the same model with the same key wait in one line. What the
pool file allows is kept by leaky buckets, what a provider says is left by a model of its own bucket, and a refusal
stops all of them until it is over.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from weakref import WeakValueDictionary

from aiolimiter import AsyncLimiter

from leeroo.engine.backends.api.endpoint import Endpoint
from leeroo.engine.backends.api.limits.allowances import KINDS, LONGEST_WAIT_S, Allowance, Kind, read_allowances
from leeroo.engine.backends.api.limits.loop import shared_loop

_MINUTE_S = 60.0
# The parts of a limit that are spread over each minute, and that may leave at once. Their sum is the most in any
# minute, wherever it begins; the rest is for low estimates of tokens, and requests that are slow to arrive.
_SPREAD, _BURST = 0.97, 0.02
# The longest sleep in line, in seconds: a reply may bring better news meanwhile.
_LOOK_S = 1.0
# Pauses after refusals that name no time: from the first, doubled with each refusal up to the second, in seconds.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.5, 10.0


@dataclass(frozen=True)
class Ticket:
    """A request that has left: when, and what had left of each kind by then, itself included."""

    at: float
    tokens: float
    sent: Mapping[Kind, float]


class _Left:
    """What a provider has left for us of one kind, from its last reply on."""

    def __init__(self, said: Allowance, since: float, refill: float) -> None:
        """Begin with a reply.

        Args:
            said: What it said.
            since: What has left since the request that it answers.
            refill: The amount that comes back in a second, where the reply itself does not show it.

        """
        shows = said.limit is not None and said.limit > said.remaining and said.reset_s > 0
        self.refill = ((said.limit or 0.0) - said.remaining) / said.reset_s if shows else refill
        self._amount, self._at = said.remaining, time.monotonic()
        self._full_at = self._at + min(said.reset_s, LONGEST_WAIT_S)
        self.take(since)

    def take(self, amount: float) -> None:
        """Count what leaves."""
        self._amount -= amount
        self._full_at += amount / self.refill if self.refill else 0.0

    def wait_s(self, amount: float) -> float:
        """Return the seconds until this amount is there, or until all of the limit is."""
        now = time.monotonic()
        lacking = amount - (self._amount + self.refill * (now - self._at))
        if lacking <= 0 or now >= self._full_at:
            return 0.0
        until_full = self._full_at - now
        return min(lacking / self.refill, until_full) if self.refill else until_full


class Pace:
    """The line in which requests to one model of one account wait; all of it runs in the loop of the APIs."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self.per_minute: dict[Kind, int] = {}
        self._limiters: dict[Kind, AsyncLimiter] = {}
        self._credit = 0.0  # tokens that were reserved and not used, less those used and not reserved
        self._sent: dict[Kind, float] = dict.fromkeys(KINDS, 0.0)
        self._left: dict[Kind, _Left] = {}
        self._heard = 0.0  # of the newest request whose reply said what is left, its number
        self._open_at = 0.0  # nothing leaves before
        self._refusals, self._refused_at = 0, 0.0  # refusals without an answer between, and the last one's time
        self.refused_since: float | None = None  # the first refusal after the last answer

    @property
    def busy(self) -> bool:
        """Whether requests wait in line."""
        return self._turn.locked()

    def keep_within(self, per_minute: Mapping[Kind, int | None]) -> None:
        """Keep within these limits too; of several experts' limits the least counts."""
        for kind, most in per_minute.items():
            if most is not None and most < self.per_minute.get(kind, most + 1):
                self.per_minute[kind], self._limiters[kind] = most, _limiter(most)

    async def enter(self, tokens: float) -> Ticket:
        """Wait in line until a request of about this many tokens may leave."""
        amounts: dict[Kind, float] = {"requests": 1.0, "tokens": tokens}
        async with self._turn:
            await self._acquire("requests", 1.0)
            await self._acquire("tokens", self._without_credit(tokens))
            while (wait_s := self._wait_s(amounts)) > 0:
                await asyncio.sleep(min(wait_s, _LOOK_S))
            for kind, amount in amounts.items():
                self._sent[kind] += amount
                if kind in self._left:
                    self._left[kind].take(amount)
            return Ticket(time.monotonic(), tokens, dict(self._sent))

    def _without_credit(self, tokens: float) -> float:
        """Return the tokens to acquire for a request: less what earlier ones gave back, or more for what they took."""
        needed = max(tokens - self._credit, 0.0)
        self._credit -= tokens - needed
        return needed

    async def _acquire(self, kind: Kind, amount: float) -> None:
        """Acquire an amount from a limiter, if there is one, in parts that it can hold."""
        limiter = self._limiters.get(kind)
        while limiter is not None and amount > 0:
            part = min(amount, limiter.max_rate)
            await limiter.acquire(part)
            amount -= part

    def _wait_s(self, amounts: Mapping[Kind, float]) -> float:
        """Return the seconds that the provider makes a request of these amounts wait."""
        refills = [left.wait_s(amounts[kind]) for kind, left in self._left.items()]
        return max(self._open_at - time.monotonic(), *refills, 0.0)

    def hear(self, ticket: Ticket, headers: Mapping[str, str]) -> None:
        """Note what the reply to a request says is left; a reply to an older one is no news."""
        if ticket.sent["requests"] < self._heard:
            return
        self._heard = ticket.sent["requests"]
        for kind, said in read_allowances(headers).items():
            before = self._left.get(kind)
            since = self._sent[kind] - ticket.sent[kind]
            self._left[kind] = _Left(said, since, before.refill if before else 0.0)

    def correct(self, ticket: Ticket, used: float) -> None:
        """Give back the tokens that a request had reserved and did not use, or take those that it used beyond."""
        if "tokens" in self._limiters:
            self._credit += ticket.tokens - used

    def succeed(self) -> None:
        """Note that a request was let through."""
        self._refusals, self.refused_since = 0, None

    def refuse(self, ticket: Ticket, wait_s: float | None) -> None:
        """Stop the line after a refusal: as long as the server demands, else longer with each refusal in a row.

        Requests that left before the last refusal do not count: they could not know.
        """
        now = time.monotonic()
        self.refused_since = now if self.refused_since is None else self.refused_since
        if ticket.at > self._refused_at:
            self._refusals, self._refused_at = self._refusals + 1, now
            backoff = min(_FIRST_PAUSE_S * 2 ** (self._refusals - 1), _LONGEST_PAUSE_S)
            wait_s = backoff * random.uniform(1, 1.25) if wait_s is None else wait_s
        self._open_at = max(self._open_at, now + (wait_s or 0.0))


def _limiter(per_minute: int) -> AsyncLimiter:
    burst = max(per_minute * _BURST, 1.0)
    return AsyncLimiter(burst, burst / (per_minute * _SPREAD) * _MINUTE_S)


# By loop, address, key, headers and model. A process may use an account twice, as long as any expert of it is open.
_paces: WeakValueDictionary[tuple[object, ...], Pace] = WeakValueDictionary()
_opening = threading.Lock()


def pace_of(endpoint: Endpoint, provider: str | None, model: str) -> Pace:
    """Return the pace that all experts of this account and model share."""
    account = (shared_loop(), endpoint.url, provider, endpoint.key, frozenset(endpoint.headers.items()), model)
    with _opening:
        pace = _paces.get(account) or Pace()
        _paces[account] = pace
        return pace
