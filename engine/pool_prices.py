"""Prices of pool entries: those that the file gives, else the list price of the provider that answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leeroo.engine.prices import ListPrice, cheapest_price, find_provider, in_batches, list_price

_BOTH = ("usd_per_m_input", "usd_per_m_output")
_PRICES = (*_BOTH, "usd_per_m_cached_input", "usd_per_m_cache_write")
# The keys that are filled in from the price list.
LISTED = {*_PRICES, "list_price"}
# Names of any-llm-sdk that the price list would take for another provider.
_SOLD_BY = {"azureopenai": "azure", "azureanthropic": "azure", "vertexaianthropic": "google"}
# Characters of a model's name that an error quotes.
_SHOWN = 200
# Where prices stand that the pool file gives.
OF_FILE = "pool file"
# The address of an expert whose entry gives none.
_OPENAI = "https://api.openai.com/v1"


class NoPrice(ValueError):
    """An entry has no price, or prices that do not go together; a sentence that says how to mend it."""


def with_prices(entry: dict[str, Any]) -> dict[str, Any]:
    """Return a pool entry with the list price where it gives no prices; that of batches, where it answers in these.

    Raises:
        NoPrice: nobody lists a price, or the keys do not go together.

    """
    if entry.get("kind") == "embed":
        return _with_input_price(entry)
    given = [key for key in _PRICES if key in entry]
    if given and not {*_BOTH} <= {*given}:
        raise NoPrice(f"{given[0]} stands alone; give both usd_per_m_input and usd_per_m_output, or no prices at all")
    if given or not isinstance(entry["model"], str):
        return entry
    usual = price = _listed(entry)
    if isinstance(discount := entry.get("batch_discount"), int | float):
        price = price.model_copy(update={"factor": float(discount)})
    elif entry.get("batch") and price.endpoint_known:
        price = in_batches(price)
    # The prices of short prompts, as they would stand in a pool file.
    return {**entry, **dict(zip(_PRICES, usual.rates()[0][1:], strict=True)), "list_price": price}


def _with_input_price(entry: dict[str, Any]) -> dict[str, Any]:
    """Return the entry of an expert that embeds: its output is free, and so is what runs here unless it says more."""
    if "usd_per_m_input" in entry or not _is_api(entry) or not isinstance(entry["model"], str):
        return {"usd_per_m_input": 0.0, "usd_per_m_output": 0.0, **entry}
    try:
        price = _listed(entry)
    except NoPrice as error:
        raise NoPrice(str(error).replace("usd_per_m_input and usd_per_m_output", "usd_per_m_input")) from None
    return {**entry, **dict(zip(_PRICES, price.rates()[0][1:], strict=True)), "list_price": price}


def describe_prices(sources: Mapping[str, str]) -> str | None:
    """Return whose prices experts have, and of which day; None where the pool file gives them all.

    Args:
        sources: By expert, `Expert.price_source`.

    """
    other = [f"{name}: {source}" for name, source in sources.items() if source != OF_FILE]
    return f"prices: {'; '.join(other)}" if other else None


def provider_of(entry: Mapping[str, Any]) -> str | None:
    """Return the listed provider that an entry's requests go to, None where it is unknown or they stay here."""
    if not _is_api(entry):
        return None
    name, url = _option(entry, "provider"), entry.get("base_url")
    if url is None and name is None:
        url = _OPENAI
    found = find_provider(url=url.casefold()) if isinstance(url, str) else None
    return find_provider(name=_SOLD_BY.get(name, name)) if found is None and isinstance(name, str) else found


def _listed(entry: Mapping[str, Any]) -> ListPrice:
    """Return the list price of a model: its provider's, else the cheapest one."""
    model, provider = entry["model"], provider_of(entry)
    embeds = entry.get("kind") == "embed"
    price = cheapest_price(model, embeds=embeds) if provider is None else list_price(model, provider, embeds=embeds)
    if price is None:
        quoted = repr(model) if len(model) <= _SHOWN else f"{model[:_SHOWN]!r}..."
        raise NoPrice(
            f"{'no provider lists a' if provider is None else f'{provider} lists no'} price for {quoted};"
            " give usd_per_m_input and usd_per_m_output (0 if it costs nothing)"
        )
    body = _option(entry, "extra_body")
    tier = body.get("service_tier") if isinstance(body, dict) else None
    known = provider is not None or not _is_api(entry)
    return price.model_copy(update={"endpoint_known": known, "service_tier": tier if isinstance(tier, str) else None})


def _is_api(entry: Mapping[str, Any]) -> bool:
    return entry.get("backend") in ("openai", "batch")


def _option(entry: Mapping[str, Any], name: str) -> Any:
    options = entry.get("engine")
    return options.get(name) if isinstance(options, dict) else None
