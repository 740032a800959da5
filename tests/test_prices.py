"""List prices: what genai-prices computes, at the provider that answers, at the hour and for the length of the prompt."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pytest
from genai_prices.data_snapshot import get_snapshot

from leeroo.engine.batch.price import Prices
from leeroo.engine.pool import Expert
from leeroo.engine.pool_prices import NoPrice, provider_of, with_prices
from leeroo.engine.prices import CallTokens, ListPrice, cheapest_price, in_batches, list_price

OFF_PEAK = datetime.datetime(2026, 11, 30, 12, tzinfo=datetime.UTC)
PEAK = datetime.datetime(2026, 11, 30, 2, tzinfo=datetime.UTC)


def _price(model: str, provider: str) -> ListPrice:
    found = list_price(model, provider)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("model", "provider", "tokens", "usd"),
    [
        # 100 tokens at $2.50, 900 from the cache at $1.25, 50 out at $10.
        ("gpt-4o", "openai", CallTokens(1000, 50, cached_input=900), 1875e-6),
        # 500 at $1, 3,000 read at $0.10, 1,500 written at $1.25, 100 out at $5.
        ("claude-haiku-4-5", "anthropic", CallTokens(5000, 100, cached_input=3000, cache_write=1500), 3175e-6),
        # Up to 200,000 tokens $1.25 and $10, beyond that $2.50 and $15 for all of them.
        ("gemini-2.5-pro", "google", CallTokens(200_000, 1000), 0.26),
        ("gemini-2.5-pro", "google", CallTokens(200_001, 1000), 0.5150025),
        # 100 at $0.66, 900 from the cache at $0.022, 50 out at $1.98.
        ("deepseek-v4-pro", "deepseek", CallTokens(1000, 50, cached_input=900), 184.8e-6),
        # The same model elsewhere: $1.416, $0.118 and $2.832.
        ("deepseek/deepseek-v4-pro", "openrouter", CallTokens(1000, 50, cached_input=900), 389.4e-6),
        # Reasoning has a price of its own: 100 in at $2, 40 out at $8, 60 of reasoning at $3.
        ("sonar-deep-research", "perplexity", CallTokens(100, 100, reasoning=60), 700e-6),
        # 90 tokens of text at $0.30, 10 of audio at $1, 50 out at $2.50.
        ("gemini-2.5-flash", "google", CallTokens(100, 50, input_audio=10), 162e-6),
    ],
)
def test_a_call_costs_what_its_provider_lists(model: str, provider: str, tokens: CallTokens, usd: float) -> None:
    """Cached input, cache writes, long prompts, reasoning and audio have their prices."""
    assert _price(model, provider).usd(tokens, OFF_PEAK) == pytest.approx(usd, rel=1e-12)


def test_prices_follow_the_hour() -> None:
    """DeepSeek charges twice as much at its peak, and a bound counts with that at any hour."""
    price = _price("deepseek-v4-pro", "deepseek")
    tokens = CallTokens(1000, 50)
    assert price.usd(tokens, PEAK) == pytest.approx(2 * price.usd(tokens, OFF_PEAK))
    assert price.rates(OFF_PEAK)[0].output == pytest.approx(1.98)
    assert price.highest_rates() == price.rates(PEAK)


def test_a_reply_names_its_class_of_service() -> None:
    """The class that a reply names counts, where the list has prices for it."""
    price, tokens = _price("gpt-5", "openai"), CallTokens(1000, 100)
    assert price.usd(tokens, OFF_PEAK) == pytest.approx(2250e-6)
    assert price.usd(tokens, OFF_PEAK, "flex") == pytest.approx(1125e-6)
    assert price.usd(tokens, OFF_PEAK, "on_demand") == pytest.approx(2250e-6)


@pytest.mark.parametrize(
    ("model", "provider", "usd"),
    [
        ("gpt-4o", "openai", 1000 * 1.25e-6 + 100 * 5e-6),  # listed
        ("mistral-large-latest", "mistral", (1000 * 2e-6 + 100 * 6e-6) / 2),  # the provider halves all prices
        ("deepseek-v4-pro", "deepseek", 1000 * 0.66e-6 + 100 * 1.98e-6),  # has no batches
    ],
)
def test_batches_have_their_price(model: str, provider: str, usd: float) -> None:
    """Batches cost what is listed for them, else half where the provider publishes that, else the usual price."""
    price = in_batches(_price(model, provider))
    assert price.usd(CallTokens(1000, 100), OFF_PEAK) == pytest.approx(usd)
    assert price.rates(OFF_PEAK)[0].input * 1000 + price.rates(OFF_PEAK)[0].output * 100 == pytest.approx(usd * 1e6)
    assert ("batch" in price.source) == (provider != "deepseek")


def test_the_table_of_prices_agrees_with_the_calculation() -> None:
    """For every model of every provider, prices by length of the prompt are those of genai-prices' calculation."""
    rng, compared = np.random.default_rng(0), 0
    for provider in get_snapshot().providers:
        for entry in provider.models:
            price = list_price(entry.id, provider.id)
            if price is None or entry.get_prices(OFF_PEAK).requests_kcount is not None:
                continue
            table = Prices([price.rates(OFF_PEAK)])
            for prompt in (int(rng.integers(1, 10**6)), *(rates.above + 1 for rates in price.rates(OFF_PEAK)[1:])):
                read = int(rng.integers(0, prompt + 1))
                written = int(rng.integers(0, prompt - read + 1))
                tokens = np.array([prompt - read - written, 500, read, written])
                usd = float((table.of(0, np.array([prompt]))[0] * tokens).sum() / 1e6)
                exact = price.usd(CallTokens(prompt, 500, read, written), OFF_PEAK)
                assert usd == pytest.approx(exact, rel=1e-9), (provider.id, entry.id)
                compared += 1
    assert compared > 2000


def test_tokens_that_do_not_add_up_are_priced_all_the_same() -> None:
    """More cached tokens than there are tokens are a provider's error, and the call costs its input and output."""
    price = _price("gpt-4o", "openai")
    assert price.usd(CallTokens(100, 10, cached_input=101)) == price.usd(CallTokens(100, 10))


@pytest.mark.parametrize(
    ("entry", "provider"),
    [
        ({"backend": "openai"}, "openai"),
        ({"backend": "openai", "base_url": "https://api.openai.com/v1/"}, "openai"),
        ({"backend": "openai", "base_url": "https://api.anthropic.com/v1"}, "anthropic"),
        ({"backend": "openai", "base_url": "https://API.groq.com/openai/v1"}, "groq"),
        ({"backend": "openai", "base_url": "https://api.together.xyz/v1"}, "together"),
        ({"backend": "openai", "base_url": "https://openrouter.ai/api/v1"}, "openrouter"),
        ({"backend": "openai", "base_url": "https://api.deepseek.com"}, "deepseek"),
        ({"backend": "openai", "base_url": "https://api.mistral.ai/v1"}, "mistral"),
        ({"backend": "openai", "base_url": "https://api.fireworks.ai/inference/v1"}, "fireworks"),
        ({"backend": "openai", "base_url": "https://generativelanguage.googleapis.com/v1beta/openai"}, "google"),
        ({"backend": "openai", "base_url": "https://us-east5-aiplatform.googleapis.com/v1/projects/p"}, "google"),
        ({"backend": "openai", "base_url": "https://mine.openai.azure.com/openai/v1"}, "azure"),
        ({"backend": "openai", "base_url": "https://bedrock-runtime.us-west-2.amazonaws.com/openai/v1"}, "aws"),
        ({"backend": "openai", "base_url": "http://127.0.0.1:8000/v1"}, None),
        (
            {"backend": "openai", "base_url": "http://127.0.0.1:8000/v1", "engine": {"provider": "anthropic"}},
            "anthropic",
        ),
        *(
            ({"backend": "openai", "engine": {"provider": name}}, provider)
            for name, provider in {
                "anthropic": "anthropic",
                "gemini": "google",
                "vertexai": "google",
                "vertexaianthropic": "google",
                "bedrock": "aws",
                "azure": "azure",
                "azureopenai": "azure",
                "mistral": "mistral",
                "xai": "x-ai",
                "openrouter": "openrouter",
                "ollama": None,
                "lmstudio": None,
            }.items()
        ),
        ({"backend": "vllm", "base_url": "https://api.openai.com/v1"}, None),
        ({}, None),
        ({"backend": "openai", "base_url": 7, "engine": "odd"}, None),
    ],
)
def test_the_provider_is_that_of_the_endpoint(entry: dict[str, Any], provider: str | None) -> None:
    """The address names the provider, else the name that any-llm-sdk has for it."""
    assert provider_of(entry) == provider


def test_a_model_that_runs_here_has_the_lowest_price() -> None:
    """An open model is priced at the cheapest of all its providers, and the source says so."""
    model = "meta-llama/Llama-3.3-70B-Instruct"
    local = Expert.model_validate(with_prices({"name": "a", "model": model}))
    others = [price for each in get_snapshot().providers if (price := list_price(model, each.id)) is not None]
    assert len(others) > 5
    assert sum(local.rates[0][1:3]) == min(each.usd_per_m_input + each.usd_per_m_output for each in others)
    assert f"cheapest of {len(others)} listed), genai-prices " in local.price_source
    unknown = with_prices({"name": "a", "model": model, "backend": "openai", "base_url": "http://127.0.0.1/v1"})
    assert "unknown endpoint" in Expert.model_validate(unknown).price_source
    assert Expert.model_validate(unknown).rates == local.rates


def test_a_known_provider_sets_the_price() -> None:
    """A model at an API costs what that API lists, though others are cheaper; a model it does not list is refused."""
    entry = {"name": "a", "model": "meta-llama/llama-3.3-70b-instruct", "backend": "openai"}
    routed = Expert.model_validate(with_prices({**entry, "base_url": "https://openrouter.ai/api/v1"}))
    cheapest = cheapest_price(entry["model"])
    assert cheapest is not None
    assert routed.usd_per_m_input > cheapest.usd_per_m_input
    assert routed.price_source.startswith("openrouter, genai-prices ")
    with pytest.raises(NoPrice, match="openai lists no price for 'meta-llama/llama-3.3-70b-instruct'; give usd_per_m"):
        with_prices(entry)


@pytest.mark.parametrize(
    ("more", "rates", "source"),
    [
        ({}, (1.0, 3.0), "mistral (batch at 0.5), genai-prices"),
        ({"batch_discount": 0.8}, (1.6, 4.8), "mistral (batch at 0.8), genai-prices"),
        ({"usd_per_m_input": 4, "usd_per_m_output": 8, "batch_discount": 0.5}, (2.0, 4.0), "pool file, batch at 0.5"),
        ({"usd_per_m_input": 4, "usd_per_m_output": 8}, (4.0, 8.0), "pool file"),
    ],
)
def test_batch_experts_pay_part_of_the_price(more: dict[str, Any], rates: tuple[float, float], source: str) -> None:
    """The pool's factor counts, of its own prices too; else a list price is the provider's for batches."""
    entry = {"name": "a", "model": "mistral-large-latest", "backend": "openai", "batch": True, **more}
    expert = Expert.model_validate(with_prices({**entry, "base_url": "https://api.mistral.ai/v1"}))
    assert expert.rates[0][1:3] == pytest.approx(rates)
    assert expert.price_source.startswith(source)


def test_the_list_is_dated() -> None:
    """The source of a price names version and day of the list; the day is none that is still to come."""
    day = _price("gpt-4o", "openai").source.rpartition(" of ")[2]
    assert datetime.date(2025, 1, 1) < datetime.date.fromisoformat(day) <= datetime.datetime.now(datetime.UTC).date()
