"""List prices: USD per million tokens of models, as the genai-prices package lists and computes them.

Where the provider of an expert is known, its price counts. A model that runs locally, or behind an address that no
listed provider has, has the price of the cheapest provider, as in the founding paper (Leeroo Orchestrator, arXiv
2401.13979). The prices are those that the installed package carries; nothing is fetched.
"""

from __future__ import annotations

import collections
import contextlib
import datetime
import functools
import importlib.metadata
from collections.abc import Iterable
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict

# Providers whose price lists halve the price of batches; genai-prices knows it of some models only.
_HALVE_BATCHES = frozenset(
    ("openai", "azure", "anthropic", "google", "mistral", "groq", "aws", "together", "fireworks")
)
# Prices that change with the hour are looked at this often, over this long: runs seldom take more than a day.
_HOURS = 24
# This many prices that start on one day were read on that day.
_READ_AGAIN = 5


class Rates(NamedTuple):
    """USD per million tokens, for requests whose prompt has more than `above` tokens."""

    above: int
    input: float
    output: float
    cached_input: float  # read from the provider's cache
    cache_write: float  # written to it


class CallTokens(NamedTuple):
    """The tokens of one call; all but the first two are part of these."""

    input: int
    output: int
    cached_input: int = 0
    cache_write: int = 0
    reasoning: int = 0
    input_audio: int = 0
    output_audio: int = 0


class ListPrice(BaseModel):
    """The price of a model at one provider.

    Attributes:
        provider: Its name in genai-prices.
        model: A name by which the model is found there.
        cheapest_of: How many providers list the model, where this one is only the cheapest of them.
        endpoint_known: Whether it is known who answers; what is unknown is priced at the cheapest provider's, too.
        batch: Whether requests go through the provider's batches, and its list has prices for these.
        service_tier: The class of service that requests name.
        factor: Part of the listed price that is paid.

    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    provider: str
    model: str
    cheapest_of: int | None = None
    endpoint_known: bool = True
    batch: bool = False
    service_tier: str | None = None
    factor: float = 1.0

    @property
    def usd_per_m_input(self) -> float:
        """USD per million input tokens of short prompts, now."""
        return self.rates()[0].input

    @property
    def usd_per_m_output(self) -> float:
        """USD per million output tokens after short prompts, now."""
        return self.rates()[0].output

    @property
    def source(self) -> str:
        """The provider, and version and day of the list."""
        how = [self.service_tier] if self.service_tier else []
        how += [f"cheapest of {self.cheapest_of} listed"] if self.cheapest_of is not None else []
        how += [] if self.endpoint_known else ["unknown endpoint"]
        how += ["batch"] if self.batch else [f"batch at {self.factor:g}"] if self.factor != 1 else []
        remark = f" ({', '.join(how)})" if how else ""
        return f"{self.provider}{remark}, {_date()}"

    def usd(self, tokens: CallTokens, at: datetime.datetime | None = None, service_tier: str | None = None) -> float:
        """Return the cost of one call in USD, by the calculation of genai-prices.

        Args:
            tokens: Those of this call alone, since prices may depend on the length of its prompt.
            at: When it was made; default: now.
            service_tier: The class of service that its reply names.

        """
        provider, entry = _find(self.provider, self.model)
        context = self._context | ({"service_tier": service_tier} if service_tier else {})
        compute = functools.partial(
            entry.calc_price, provider=provider, genai_request_timestamp=at, price_context=context
        )
        try:
            priced = compute(_usage(tokens))
        except ValueError:  # the kinds of tokens do not add up, or of some it is not said how they overlap
            priced = compute(_usage(CallTokens(tokens.input, tokens.output)))
        return float(priced.total_price) * self.factor

    def rates(self, at: datetime.datetime | None = None) -> tuple[Rates, ...]:
        """Return the prices at a time (default: now), from short prompts to long ones."""
        return self._rates([self._prices(at or _now())])

    def highest_rates(self) -> tuple[Rates, ...]:
        """Return the highest prices of the coming day, from short prompts to long ones."""
        now = _now()
        return self._rates([self._prices(now + datetime.timedelta(hours=hour)) for hour in range(_HOURS)])

    @property
    def _context(self) -> dict[str, str]:
        tier = {"service_tier": self.service_tier} if self.service_tier else {}
        return tier | ({"processing": "batch"} if self.batch else {})

    def _prices(self, at: datetime.datetime) -> Any:
        provider, entry = _find(self.provider, self.model)
        # As genai-prices computes it, a model that another provider lists for this one has no special prices.
        own = any(entry is each for each in provider.models)
        return entry.get_prices(at, self._context if own else None)

    def _rates(self, prices: list[Any]) -> tuple[Rates, ...]:
        """Return the highest of some prices, for each length of a prompt from which one of them changes."""
        distinct = [each for i, each in enumerate(prices) if each not in prices[:i]]
        starts = {tier.start for each in distinct for price in vars(each).values() for tier in _tiers(price)}
        by_length = ((above, [_usd_above(each, above) for each in distinct]) for above in sorted({-1, *starts}))
        return tuple(
            Rates(above, *(max(kind) * self.factor for kind in zip(*found, strict=True))) for above, found in by_length
        )


def find_provider(*, url: str | None = None, name: str | None = None) -> str | None:
    """Return the listed provider with an address or a name, None where no provider has it."""
    from genai_prices.data_snapshot import get_snapshot

    try:
        return get_snapshot().find_provider(None, name, url).id
    except LookupError:
        return None


def list_price(model: str, provider: str, *, embeds: bool = False) -> ListPrice | None:
    """Return the price of a model at a provider, None where it lists none; one that embeds sells no output."""
    for name in _names(model):
        with contextlib.suppress(LookupError):
            if _is_sold_by_tokens(_find(provider, name)[1], embeds=embeds):
                return ListPrice(provider=provider, model=name)
    return None


def cheapest_price(model: str, *, embeds: bool = False) -> ListPrice | None:
    """Return the lowest list price (input plus output) of a model over all providers, None when none lists it.

    Args:
        model: A hub id, or an API's name of a model; the owner before the slash need not match.
        embeds: The model embeds, and sells no output.
    """
    from genai_prices.data_snapshot import get_snapshot

    own = [
        next(
            (
                name
                for name in _names(model)
                if (entry := each.find_model(name)) and _is_sold_by_tokens(entry, embeds=embeds)
            ),
            None,
        )
        for each in get_snapshot().providers
    ]
    found = [
        ListPrice(provider=each.id, model=name)
        for each, name in zip(get_snapshot().providers, own, strict=True)
        if name is not None
    ]
    if not found:
        return None
    cheapest = min(found, key=lambda price: price.usd_per_m_input + price.usd_per_m_output)
    return cheapest.model_copy(update={"cheapest_of": len(found)})


def context_tokens(model: str, provider: str) -> int | None:
    """Return how many tokens a model's context holds at a provider, None where its list does not say."""
    for name in _names(model):
        with contextlib.suppress(LookupError):
            size: int | None = _find(provider, name)[1].context_window
            return size
    return None


def in_batches(price: ListPrice) -> ListPrice:
    """Return the price of the same model in its provider's batches: as listed, else half where that is published."""
    _, entry = _find(price.provider, price.model)
    if any(variant.when.get("processing") == "batch" for variant in entry.price_variants or ()):
        return price.model_copy(update={"batch": True})
    return price.model_copy(update={"factor": 0.5 if price.provider in _HALVE_BATCHES else 1.0})


def _names(model: str) -> tuple[str, ...]:
    """Return the names by which a list may know a model."""
    return tuple(dict.fromkeys((model.casefold(), model.rsplit("/", 1)[-1].casefold())))


@functools.cache
def _find(provider: str, model: str) -> tuple[Any, Any]:
    """Return a provider of the price list, and the entry of a model.

    Raises:
        LookupError: there is none.
    """
    from genai_prices.data_snapshot import get_snapshot

    return get_snapshot().find_provider_model(model, None, provider, None)


def _is_sold_by_tokens(entry: Any, *, embeds: bool) -> bool:
    prices = entry.get_prices(_now())
    return prices.input_mtok is not None and (embeds or prices.output_mtok is not None)


def _tiers(price: Any) -> Iterable[Any]:
    return getattr(price, "tiers", ())


def _usd_above(prices: Any, above: int) -> tuple[float, ...]:
    """Return the USD per million tokens of each kind in `Rates`, for prompts of more than `above` tokens."""

    def usd(price: Any) -> float:
        reached = [tier.price for tier in _tiers(price) if tier.start <= above]
        return float(reached[-1] if reached else getattr(price, "base", price))

    whole = prices.input_mtok
    output = 0.0 if prices.output_mtok is None else prices.output_mtok  # there is none of a model that embeds
    kinds = (whole, output, prices.cache_read_mtok, prices.cache_write_mtok)
    return tuple(usd(whole if price is None else price) for price in kinds)


def _usage(tokens: CallTokens) -> Any:
    """Return the tokens of a call as genai-prices takes them; audio only where there is any."""
    from genai_prices import Usage

    audio = {
        name: count
        for name, count in (("input_audio_tokens", tokens.input_audio), ("output_audio_tokens", tokens.output_audio))
        if count
    }
    if audio:  # which part of it was cached is never reported
        audio["cache_audio_read_tokens"] = 0
    return Usage(
        input_tokens=tokens.input,
        output_tokens=tokens.output,
        cache_read_tokens=tokens.cached_input,
        cache_write_tokens=tokens.cache_write,
        output_reasoning_tokens=tokens.reasoning,
        **audio,
    )


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@functools.cache
def _date() -> str:
    """Version and day of the price list.

    The package does not date its list. Prices that are read again get that day as their start, many at a time: the
    newest such day is the list's. Single prices start on days that were announced long before.
    """
    from genai_prices.data_snapshot import get_snapshot

    entries = [entry for provider in get_snapshot().providers for entry in provider.models]
    dated = [each for entry in entries for each in (*_conditional(entry.prices), *(entry.price_variants or ()))]
    days = collections.Counter(
        day for each in dated if (day := getattr(each.constraint, "start_date", None)) and day <= _now().date()
    )
    newest = max((day for day, prices in days.items() if prices >= _READ_AGAIN), default="unknown date")
    return f"genai-prices {importlib.metadata.version('genai-prices')} of {newest}"


def _conditional(prices: Any) -> Iterable[Any]:
    return prices if isinstance(prices, list) else ()
