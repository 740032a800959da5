"""A provider that refuses for too many requests slows its expert down, and costs no row and no retry."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from leeroo.engine.backends.api import sender
from leeroo.engine.backends.select import open_backend
from leeroo.engine.errors import ExpertUnavailable
from leeroo.engine.pool import Expert
from tests.provider import Call, Provider, Reply, _answer
from tests.rate_limits import RateLimit, Says

if TYPE_CHECKING:
    from tests.backends.conftest import Ask, Requests


@pytest.mark.parametrize("behaviour", ["429_seconds", "429_date", "error_429_in_200", 429])
def test_a_refused_row_is_answered(api: Provider, ask: Ask, behaviour: str | int) -> None:
    """However often it is refused, a row is answered in the end, though it has no retries."""
    refusals = 1 if behaviour in ("429_seconds", "429_date") else 5
    api.faults = {"hi": [behaviour] * refusals}
    (row,) = ask("hi", options={"max_retries": 0})
    assert row["answer"] == "echo: hi"
    assert api.asked["hi"] == refusals + 1
    assert (row["prompt_tokens"], row["completion_tokens"]) == (12, 3)


def test_refusals_never_end_an_expert(api: Provider, ask: Ask) -> None:
    """Every row is refused before it is answered, from the first on."""
    api.faults = {f"q{i}.": [429, 429] for i in range(30)}
    rows = ask(*(f"q{i}." for i in range(30)), options={"max_retries": 0})
    assert [row["answer"] for row in rows] == [f"echo: q{i}." for i in range(30)]
    assert sum(api.asked.values()) == 90


def test_one_refusal_stops_the_whole_expert(api: Provider, ask: Ask) -> None:
    """While the server wants us to wait, no row is sent at all, and the rows that follow are not refused."""
    api.faults = {"busy": ["429_seconds"]}
    rows = ask("busy", *(f"q{i}" for i in range(20)))
    assert all(row["error"] is None for row in rows)
    assert sum(api.asked.values()) == 22
    first, second, *_ = (call.at for call in api.calls)
    assert second - first >= 1


def test_a_refusal_stops_every_expert_of_its_model(
    api: Provider, expert: Callable[..., Expert], requests: Requests
) -> None:
    """Two experts that ask one model in different words have one limit: when one is refused, both wait."""
    plain = expert()
    brief = plain.model_copy(update={"name": "brief", "system": "Be brief.", "max_tokens": 5})
    one, two = open_backend(plain), open_backend(brief)
    api.faults = {"busy": ["429_seconds"]}
    answers: list[Any] = []
    waiting = threading.Thread(target=lambda: answers.extend(one.generate(iter([requests("busy")]))))
    waiting.start()
    while not api.calls:
        waiting.join(0.01)
    waiting.join(0.2)
    answers.extend(two.generate(iter([requests("hi")])))
    waiting.join()
    one.close()
    two.close()
    assert {row["answer"] for batch in answers for row in batch.to_pylist()} == {"echo: busy", "echo: hi"}
    assert min(call.at for call in api.calls[1:]) - api.calls[0].at >= 1


@pytest.mark.parametrize("says", ["openai", "anthropic"])
def test_replies_that_say_what_is_left_prevent_refusals(api: Provider, ask: Ask, says: Says) -> None:
    """A provider with headers of what is left refuses hardly anything, as the expert waits before.

    Without them dozens are, as refused requests come again. Anthropic's times are whole seconds, half of a minute here: where this
    machine is busy, a request may come too early.
    """
    api.limit = RateLimit(5, 10_000, minute_s=2.0, says=says)
    rows = ask(*(f"q{i}" for i in range(12)))
    assert all(row["error"] is None for row in rows)
    assert api.limit.refused <= 1


def test_a_request_that_is_too_large_goes_to_others(api: Provider, ask: Ask) -> None:
    """No wait helps a request that is larger than a minute's limit: its row may go to another expert, at once."""
    api.does = {"large": "429_too_large"}
    rows = ask("large", "small")
    assert [row["bounced"] for row in rows] == [True, False]
    assert api.asked == {"large": 1, "small": 1}


def test_a_row_that_is_always_refused_goes_to_others(api: Provider, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that is refused for many minutes, while others are answered, is given up with the reason."""
    monkeypatch.setattr(sender, "_REFUSED_S", 0.3)
    api.faults, api.repeat, api.delay_s = {"never": [429]}, True, 0.05
    rows = ask("first", "never", *(f"q{i}" for i in range(60)), options={"max_retries": 0, "concurrency": 2})
    assert [row["id"] for row in rows if row["error"] is not None] == [1]
    assert "the request was not let through for" in rows[1]["error"]
    assert "429 Too Many Requests: fault 429" in rows[1]["error"]
    assert rows[1]["bounced"]


def test_an_expert_that_only_refuses_ends_after_long(
    api: Provider, expert: Callable[..., Expert], requests: Requests, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When no request was let through for many minutes, the rows go to other experts, with one line that says so."""
    monkeypatch.setattr(sender, "_REFUSED_S", 0.5)
    api.faults, api.repeat = {"q": [429]}, True
    backend = open_backend(expert())
    with pytest.raises(ExpertUnavailable, match="no request was let through for .* minutes: 429 Too Many Requests"):
        list(backend.generate(iter([requests(*(f"q{i}" for i in range(40)))])))
    backend.close()
    assert sum(api.asked.values()) < 100


def test_overload_lowers_the_concurrency(api: Provider, expert: Callable[..., Expert], requests: Requests) -> None:
    """A server that takes four requests at a time is sent about as many, and every row is answered."""

    def behave(call: Call) -> Reply:
        return Reply({"error": {"message": "overloaded"}}, 503) if api.at_once > 4 else _answer(call)

    api.replies, api.delay_s = behave, 0.05
    backend = open_backend(expert(max_retries=6))
    assert backend.room == 16
    batches = list(backend.generate(iter([requests(*(f"q{i}" for i in range(100)))])))
    assert all(row["error"] is None for batch in batches for row in batch.to_pylist())
    assert backend.room <= 8
    backend.close()
