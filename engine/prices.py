"""List prices of models whose pool entry gives none: the cheapest provider's, from the genai-prices package.

Taking the minimum over all providers follows the founding paper (Leeroo Orchestrator, arXiv 2401.13979). The
prices are those that the installed package carries; nothing is fetched.
"""

from __future__ import annotations

import datetime
import functools
import importlib.metadata
import importlib.resources
import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Price:
    """USD per million tokens, the provider with that price, and the price list."""

    usd_per_m_input: float
    usd_per_m_output: float
    usd_per_m_cached: float | None  # of input tokens that the provider has cached; None where it has no such price
    source: str


def cheapest_price(model: str) -> Price | None:
    """Return the lowest list price (input plus output) of a model over all providers, None when none lists it.

    Args:
        model: A hub id, or an API's name of a model; the owner before the slash need not match.
    """
    from genai_prices.data_snapshot import get_snapshot

    names = {model.casefold(), model.rsplit("/", 1)[-1].casefold()}
    found = [
        (price, provider.id)
        for provider in get_snapshot().providers
        for entry in provider.models
        if any(name == entry.id.casefold() or entry.match.is_match(name) for name in names)
        and (price := _base_price(entry)) is not None
    ]
    if not found:
        return None
    (usd_in, usd_out, cached), provider = min(found, key=lambda item: sum(item[0][:2]))
    return Price(usd_in, usd_out, cached, f"{provider}, {_date()}")


def _base_price(entry: Any) -> tuple[float, float, float | None] | None:
    """Return the input, output and cached price of the first tier today, None for a model not sold by the token."""
    prices = entry.get_prices(datetime.datetime.now(datetime.UTC))
    usd_in, usd_out = _first_tier(prices.input_mtok), _first_tier(prices.output_mtok)
    return None if usd_in is None or usd_out is None else (usd_in, usd_out, _first_tier(prices.cache_read_mtok))


def _first_tier(price: Any) -> float | None:
    return None if price is None else float(getattr(price, "base", price))


@functools.cache
def _date() -> str:
    """Version and day of the price list.

    The package does not date its list; the newest day that its remarks mention is the last one on which
    something in it was checked.
    """
    version = importlib.metadata.version("genai-prices")
    text = (importlib.resources.files("genai_prices") / "data.py").read_text(encoding="utf-8")
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    checked = max((day for day in re.findall(r"20\d\d-\d\d-\d\d", text) if day <= today), default="unknown date")
    return f"genai-prices {version} of {checked}"
