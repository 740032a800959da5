"""Requests to one model of one account leave at the pace that the pool file and the provider's replies allow."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace

import pytest

from leeroo.engine.backends.api.endpoint import Endpoint
from leeroo.engine.backends.api.limits import pace as paces
from leeroo.engine.backends.api.limits.pace import Pace, Ticket, pace_of


@pytest.fixture(autouse=True)
def _short_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a minute last a second."""
    monkeypatch.setattr(paces, "_MINUTE_S", 1.0)


def _limited(requests: int | None = None, tokens: int | None = None) -> Pace:
    pace = Pace()
    pace.keep_within({"requests": requests, "tokens": tokens})
    return pace


async def _enter(pace: Pace, *tokens: float) -> list[Ticket]:
    return await asyncio.gather(*(pace.enter(each) for each in tokens))


def _headers(remaining: int, reset: str, limit: int | None = None, kind: str = "requests") -> dict[str, str]:
    said = {f"x-ratelimit-remaining-{kind}": str(remaining), f"x-ratelimit-reset-{kind}": reset}
    return said if limit is None else {**said, f"x-ratelimit-limit-{kind}": str(limit)}


def test_no_minute_has_more_requests_than_the_limit() -> None:
    """Wherever a minute begins, no more than the limit leave in it, and nearly as many do."""
    times = [ticket.at for ticket in asyncio.run(_enter(_limited(requests=100), *[1.0] * 150))]
    assert max(sum(start <= at < start + 1 for at in times) for start in times) <= 100
    assert times[-1] - times[0] >= 1.4


def test_tokens_are_limited_and_large_requests_pass() -> None:
    """A request that is larger than what may leave at once waits for its tokens."""
    first, *_, last = asyncio.run(_enter(_limited(tokens=1000), 500, 500, 500))
    assert last.at - first.at >= 0.9


def test_unused_tokens_are_given_back() -> None:
    """Where answers are short, what was reserved for them is there for the next request."""

    async def run() -> float:
        pace = _limited(tokens=1000)
        ticket = await pace.enter(600)
        pace.correct(ticket, 100)
        return (await pace.enter(500)).at - ticket.at

    assert asyncio.run(run()) < 0.3


def test_tokens_beyond_the_estimate_are_waited_for() -> None:
    """What a request used beyond its estimate delays the next one."""

    async def run() -> float:
        pace = _limited(tokens=1000)
        ticket = await pace.enter(10)
        pace.correct(ticket, 510)
        return (await pace.enter(10)).at - ticket.at

    assert asyncio.run(run()) >= 0.4


@pytest.mark.parametrize("limit", [None, 10])
def test_the_line_waits_when_nothing_is_left(limit: int | None) -> None:
    """Once a reply says that nothing is left, nobody leaves before some is there again."""

    async def run() -> list[float]:
        pace = Pace()
        ticket = await pace.enter(1)
        pace.hear(ticket, _headers(0, "500ms", limit))
        return [each.at - ticket.at for each in await _enter(pace, 1, 1)]

    first, second = asyncio.run(run())
    if limit is None:  # all of it comes back at once
        assert first >= 0.5
    else:  # ten in half a second
        assert first >= 0.05
        assert second >= 0.1


def test_requests_under_way_count_as_gone() -> None:
    """A reply cannot know of what left after its request."""

    async def run() -> float:
        pace = Pace()
        ticket, *_ = await _enter(pace, 1, 1, 1, 1)
        pace.hear(ticket, _headers(3, "500ms"))
        return (await pace.enter(1)).at - ticket.at

    assert asyncio.run(run()) >= 0.5


def test_replies_to_older_requests_are_no_news() -> None:
    """A reply that was under way for long does not change what a later one said."""

    async def run() -> float:
        pace = Pace()
        older, newer = await _enter(pace, 1, 1)
        pace.hear(newer, _headers(100, "1ms"))
        pace.hear(older, _headers(0, "1m0s"))
        return (await pace.enter(1)).at - newer.at

    assert asyncio.run(run()) < 0.5


def test_a_request_waits_for_as_many_tokens_as_it_needs() -> None:
    """Some tokens are left, and not enough: the request would be refused."""

    async def run() -> float:
        pace = Pace()
        ticket = await pace.enter(100)
        pace.hear(ticket, _headers(50, "500ms", kind="tokens"))
        return (await pace.enter(100)).at - ticket.at

    assert asyncio.run(run()) >= 0.5


def test_no_header_stops_the_line_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that always says that nothing is left until tomorrow is asked again after the longest wait."""
    monkeypatch.setattr(paces, "LONGEST_WAIT_S", 0.2)

    async def run() -> float:
        pace = Pace()
        ticket = await pace.enter(1)
        pace.hear(ticket, _headers(0, "24h0m0s"))
        return (await pace.enter(1)).at - ticket.at

    assert 0.2 <= asyncio.run(run()) < 5


def test_a_refusal_stops_everybody_as_long_as_it_says() -> None:
    """The wait that the server demands is everybody's."""

    async def run() -> list[float]:
        pace = Pace()
        ticket = await pace.enter(1)
        pace.refuse(ticket, 0.4)
        return [each.at - ticket.at for each in await _enter(pace, 1, 1, 1)]

    assert min(asyncio.run(run())) >= 0.4


def test_pauses_grow_with_refusals_in_a_row_and_not_within_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refusals of one moment are one; each after a pause doubles it, and an answer begins anew."""
    monkeypatch.setattr(paces, "_FIRST_PAUSE_S", 0.1)
    monkeypatch.setattr(random, "uniform", lambda low, high: low)

    async def pause(pace: Pace, tickets: list[Ticket]) -> float:
        began = time.monotonic()
        for ticket in tickets:
            pace.refuse(ticket, None)
        return (await pace.enter(1)).at - began

    async def run() -> list[float]:
        pace = Pace()
        pauses = [await pause(pace, await _enter(pace, 1, 1, 1, 1)) for _ in range(3)]
        pace.succeed()
        return [*pauses, await pause(pace, await _enter(pace, 1))]

    first, second, third, anew = asyncio.run(run())
    assert first >= 0.1
    assert second >= 0.2
    assert third >= 0.4
    assert anew < 0.4


def test_experts_of_one_account_and_model_share_a_pace() -> None:
    """The same address, key and model have one pace; any other has its own."""
    here = Endpoint("https://one.example/v1", {}, "K", "key", {}, None, {}, ())
    other_key = replace(here, key="another")
    other_organization = replace(here, headers={"OpenAI-Organization": "org"})
    shared = pace_of(here, None, "m")
    assert pace_of(here, None, "m") is shared
    assert pace_of(here, None, "n") is not shared
    assert pace_of(other_key, None, "m") is not shared
    assert pace_of(other_organization, None, "m") is not shared


def test_of_several_limits_the_least_counts() -> None:
    """Experts that share a pace may name other limits of it; all are kept."""
    pace = _limited(requests=100)
    pace.keep_within({"requests": None, "tokens": 500})
    pace.keep_within({"requests": 10, "tokens": 5000})
    assert pace.per_minute == {"requests": 10, "tokens": 500}
