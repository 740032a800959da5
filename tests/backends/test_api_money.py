"""Every call is on its row's bill: failures, retries, hidden reasoning, and what nobody says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from leeroo.engine.backends.select import open_backend
from leeroo.engine.pool import Expert
from leeroo.engine.prices import ListPrice
from tests.provider import BEHAVIOURS, Provider, Reply

if TYPE_CHECKING:
    from tests.backends.conftest import Ask, Requests

AnswerWith = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def answer_with(requests: Requests) -> AnswerWith:
    """Send prompts to an expert, on a connection of its own."""

    def answer(expert: Expert, *prompts: str) -> list[dict[str, Any]]:
        backend = open_backend(expert)
        rows = [row for batch in backend.generate(iter([requests(*prompts)])) for row in batch.to_pylist()]
        backend.close()
        return rows

    return answer


def _usd(rows: list[dict[str, Any]]) -> float:
    """Return the cost of rows at the provider's prices, one and two dollars a million tokens."""
    return sum((row["prompt_tokens"] or 0) + 2 * (row["completion_tokens"] or 0) for row in rows) / 1e6


# These end the expert, need more than a name, take long, are priced elsewhere, or are billed without a word.
_OWN = ("402", "insufficient_quota", "usage_given", "hang", "trickle", "cached", "drop")
# Rows with these are sent again for ten minutes.
_REFUSED = ("429_minute", "429_seconds", "429_date", "error_429_in_200")


@pytest.mark.parametrize("behaviour", [name for name in BEHAVIOURS if name not in _OWN + _REFUSED])
def test_rows_cost_what_the_provider_bills(api: Provider, ask: Ask, behaviour: str) -> None:
    """Where replies report what they used, the rows add up to the provider's account; elsewhere it is an estimate."""
    api.usage = (100, 50)
    api.does = {"odd": behaviour}
    rows = ask("good", "odd one", "odd two", options={"max_retries": 1})
    if api.unreported_usd == 0:
        assert _usd(rows) == pytest.approx(api.account_usd, abs=1e-12)
    else:
        assert all(row["estimated"] for row in rows[1:])
        assert _usd(rows) > 0
    assert all((row["prompt_tokens"] or 0) >= 0 and (row["completion_tokens"] or 0) >= 0 for row in rows)


def test_a_call_without_a_reply_counts_as_the_most_it_can_cost(api: Provider, ask: Ask) -> None:
    """A timeout may have been billed: prompt and all tokens of the limit, each time; it is not tried for ever."""
    api.does = {"slow": "hang"}
    (row,) = ask("slow", options={"timeout": 0.2, "max_retries": 6})
    assert "did not answer in time (0.2 s)" in row["error"]
    assert api.asked["slow"] == 3
    assert (row["completion_tokens"], row["prompt_tokens"], row["estimated"]) == (3 * 12, 3, True)


def test_a_reply_in_drops_is_a_timeout(api: Provider, ask: Ask) -> None:
    """The time is that of the whole call, however often a byte arrives."""
    api.does = {"slow": "trickle"}
    (row,) = ask("slow", options={"timeout": 0.5, "max_retries": 0})
    assert "did not answer in time" in row["error"]


def test_requests_that_were_never_sent_cost_nothing(ask: Ask) -> None:
    """A request to a server that does not listen is not billed."""
    (row,) = ask("hi", options={"base_url": "http://127.0.0.1:9/v1", "max_retries": 0})
    assert (row["prompt_tokens"], row["completion_tokens"], row["estimated"]) == (None, None, None)


def test_a_retry_is_on_the_bill_of_its_row(api: Provider, ask: Ask) -> None:
    """A reply that broke off and the one after it are both paid for."""
    api.usage = (100, 50)
    api.faults = {"hi": ["cut_body"]}
    (row,) = ask("hi")
    assert row["answer"] == "echo: hi"
    assert (row["prompt_tokens"], row["completion_tokens"], row["estimated"]) == (101, 62, True)


@pytest.mark.parametrize(
    ("usage", "counted", "estimated"),
    [
        ({"prompt_tokens": 100, "completion_tokens": 50}, (100, 50), False),
        ({"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 900}, (100, 800), False),
        ({"total_tokens": 40}, (1, 39), True),
        ({"prompt_tokens": 100}, (100, 2), True),
        ({"prompt_tokens": 0, "completion_tokens": 0}, (1, 2), True),
        ({"prompt_tokens": "100", "completion_tokens": 50.0}, (100, 50), False),
        ({"prompt_tokens": -5, "completion_tokens": 50}, (1, 50), True),
        ({"prompt_tokens": 2**40, "completion_tokens": 50}, (2**40, 50), False),
        ({"prompt_tokens": 10**30, "completion_tokens": True}, (1, 2), True),
        ({"prompt_tokens": [1], "completion_tokens": {"a": 1}, "prompt_tokens_details": "no"}, (1, 2), True),
        ("many", (1, 2), True),
        (None, (1, 2), True),
    ],
)
def test_usage_is_read_as_numbers(
    api: Provider, ask: Ask, usage: Any, counted: tuple[int, int], estimated: bool
) -> None:
    """Counts of any type are read, hidden reasoning in the total too; what is missing is estimated from the texts."""
    api.reports = usage
    api.does = {"": "usage_given"}
    (row,) = ask("hi")
    assert (row["prompt_tokens"], row["completion_tokens"], row["estimated"]) == (*counted, estimated)


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens_details": {"cached_tokens": 900}},
        {"prompt_cache_hit_tokens": 900},
        {"cachedContentTokenCount": 900},
        {"cached_tokens": 900},
        {"prompt_tokens_details": {"cached_tokens": 5000}},
    ],
)
def test_cached_tokens_are_counted(api: Provider, ask: Ask, usage: dict[str, Any]) -> None:
    """How much of the prompt was read from a cache comes back, and is never more than the prompt."""
    api.reports = {"prompt_tokens": 1000, "completion_tokens": 50, **usage}
    api.does = {"": "usage_given"}
    (row,) = ask("hi")
    assert row["cached_tokens"] == (1000 if "5000" in str(usage) else 900)


@pytest.mark.parametrize(
    "usage",
    [
        # any-llm-sdk, OpenAI and OpenRouter; LiteLLM; Anthropic itself, and servers that pass on its counts.
        {"prompt_tokens": 5000, "prompt_tokens_details": {"cached_tokens": 3000, "cache_write_tokens": 1500}},
        {"prompt_tokens": 5000, "cache_read_input_tokens": 3000, "cache_creation_input_tokens": 1500},
        {"input_tokens": 500, "cache_read_input_tokens": 3000, "cache_creation_input_tokens": 1500},
        {"prompt_tokens": 500, "cache_read_input_tokens": 3000, "cache_creation_input_tokens": 1500},
    ],
)
def test_cache_reads_and_writes_are_counted_and_priced(
    api: Provider, expert: Callable[..., Expert], answer_with: AnswerWith, usage: dict[str, Any]
) -> None:
    """A Claude model's 500 plain tokens, 3,000 read at a tenth, 1,500 written at 1.25 times, and 100 of the answer."""
    api.reports = {"completion_tokens": 100, **usage}
    api.does = {"": "usage_given"}
    priced = expert().model_copy(update={"list_price": ListPrice(provider="anthropic", model="claude-haiku-4-5")})
    (row,) = answer_with(priced, "hi")
    counts = tuple(row[name] for name in ("prompt_tokens", "cached_tokens", "cache_write_tokens", "completion_tokens"))
    assert counts == (5000, 3000, 1500, 100)
    assert row["list_cost_usd"] == pytest.approx(3175e-6)
    (row,) = answer_with(expert(), "hi")
    assert row["list_cost_usd"] is None  # the pool file gives the price


def test_each_call_has_the_price_of_its_own_length(
    api: Provider, expert: Callable[..., Expert], answer_with: AnswerWith
) -> None:
    """A call that failed and one that answered are 150,000 tokens each, and neither is a long prompt."""
    usage = {"prompt_tokens": 150_000, "completion_tokens": 1000}
    answer = {"choices": [{"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}]}
    error = {"error": {"message": "Provider is down"}}
    api.replies = lambda call: (
        Reply({**answer, "usage": usage}) if call.attempt else Reply({**error, "usage": usage}, 502)
    )
    priced = expert().model_copy(update={"list_price": ListPrice(provider="google", model="gemini-2.5-pro")})
    (row,) = answer_with(priced, "hi")
    assert (row["prompt_tokens"], row["completion_tokens"]) == (300_000, 2000)
    assert row["list_cost_usd"] == pytest.approx(2 * (0.15 * 1.25 + 0.01))


def test_the_class_of_service_of_a_reply_sets_its_price(
    api: Provider, expert: Callable[..., Expert], answer_with: AnswerWith
) -> None:
    """A reply that was served as "flex" costs half."""
    answer = {"choices": [{"message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}]}
    usage = {"prompt_tokens": 1000, "completion_tokens": 100}
    api.replies = lambda _: Reply({**answer, "usage": usage, "service_tier": "flex"})
    priced = expert().model_copy(update={"list_price": ListPrice(provider="openai", model="gpt-5")})
    (row,) = answer_with(priced, "hi")
    assert row["list_cost_usd"] == pytest.approx(1125e-6)
