"""The prior of a pool that has no router: the shipped one that knows most of its models, fitted to its experts.

It is a prior: the outcomes it was learned from are those of other people's questions.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from leeroo.engine.arrays import Float32s
from leeroo.engine.orchestrator.heads import Heads
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.shipped.catalogue import EMBEDDED, About, KnownModel, folder_of, match, shipped
from leeroo.engine.orchestrator.summary import Summary
from leeroo.engine.pool import Expert, Pool
from leeroo.engine.weights import is_here

# With fewer known models there is nothing to choose.
_LEAST_KNOWN = 2
# Tokens of a prompt for each one of the answer: the mixture in which prices are compared.
_PROMPT_SHARE = 3
# The price per million tokens, in USD, that what is free counts as.
_LEAST_USD = 0.01


@dataclass(frozen=True)
class Prior:
    """A shipped router, fitted to the experts of a pool.

    Attributes:
        name: The name of the shipped router.
        router: Predicts every expert of the pool under its name there; those not in `known` by their prices.
        known: The experts whose models the shipped router knows, with their names in it.
    """

    name: str
    router: Router
    known: Mapping[str, str]

    @property
    def learned(self) -> Router:
        """The router for the known experts alone: what learning may start from."""
        return self.router.only([name for name in self.router.experts if name in self.known])

    @property
    def remark(self) -> str:
        """One line for people: which router chooses, what it knows, and how to do without it."""
        total = len(self.router.experts)
        rest = "" if len(self.known) == total else ", and expects the others to do as their prices say"
        return (
            f"no router is given: the shipped router {self.name!r} chooses, which knows {len(self.known)} of {total} "
            f"experts from multiple-choice questions{rest}; the router 'none' leaves all rows to the pool's default"
        )


def prior_for(pool: Pool) -> Prior | None:
    """Return the shipped router that knows most models of a pool, fitted to it; None if none knows at least two.

    In a tie one of whole answers is taken before one of single letters, then the one learned from more questions. None
    too where its encoder is not on this machine: nothing is fetched for a prior.

    Raises:
        RouterError: a shipped router is damaged.
    """
    found = [(name, about, match(pool.experts, about)) for name, about in shipped().items() if name != EMBEDDED]
    name, about, known = max(found, key=lambda each: (_count(each[2]), each[1].whole_answers, each[1].questions))
    if _count(known) < _LEAST_KNOWN:
        return None
    router = Router.load(folder_of(name))
    if importlib.util.find_spec("sentence_transformers") is None or not all(map(is_here, router.encoders)):
        return None
    return Prior(name, fit_to(router, about, pool.experts, known), known)


def _count(known: Mapping[str, str]) -> int:
    """Return how many models are known: one that is asked in two ways counts once."""
    return len(set(known.values()))


def fit_to(router: Router, about: About, experts: Sequence[Expert], known: Mapping[str, str]) -> Router:
    """Return a router for the experts of a pool: known ones as they were learned, the others by their prices.

    Args:
        router: A shipped router.
        about: Its models and their prices.
        experts: The experts of the pool.
        known: Those of them that the router knows, with their names in it.
    """
    by_price = LineOfPrices.through(about)
    parts = []
    for expert in experts:
        slug = known.get(expert.name) or by_price.nearest(expert)
        heads = router.heads.only([router.experts.index(slug)])
        if not about.whole_answers and expert.backend != "replay":  # a replayed answer is as long as the recorded one
            heads = replace(heads, length_bias=np.full_like(heads.length_bias, np.nan))
        parts.append(heads if expert.name in known else by_price.heads(router.heads, heads, expert))
    summaries = {name: router.summary.experts[slug] for name, slug in known.items()}
    return replace(
        router,
        experts=tuple(expert.name for expert in experts),
        heads=functools.reduce(Heads.with_experts, parts),
        summary=Summary.of(summaries, router.summary.questions, router.summary.seed),
    )


@dataclass(frozen=True)
class LineOfPrices:
    """The line through the prices and mean scores of a router's experts, on which others are expected.

    On pools of which half is unknown that loses 1 to 4 points against knowing all; expecting them to do as the most
    similar known expert loses 6 to 10 (bench/routing/prior.py).

    Attributes:
        prices: The logarithm of each expert's price, by name.
        slope, start: Of the line of mean scores, in log-odds.
        mean: Mean log-odds of the experts.
    """

    prices: Mapping[str, float]
    slope: float
    start: float
    mean: float

    @classmethod
    def through(cls, about: About) -> LineOfPrices:
        """Fit the line to the experts of a router."""
        prices = {name: _log_price(each) for name, each in about.experts.items()}
        at = np.array(list(prices.values()))
        rates = np.array([_log_odds(each.mean_score) for each in about.experts.values()])
        slope, start = np.polyfit(at, rates, 1)
        return cls(prices, float(slope), float(start), float(rates.mean()))

    def nearest(self, expert: Expert) -> str:
        """Return the router's expert whose price is nearest."""
        return min(self.prices, key=lambda name: abs(self.prices[name] - _log_price(expert)))

    def heads(self, every: Heads, nearest: Heads, expert: Expert) -> Heads:
        """Return heads for an expert of which only the price is known, with the lengths of the nearest one.

        Its log-odds are the mean of all experts', which says how hard a question is, moved onto the line. Beyond the
        prices of the known ones the line is level.
        """
        price = np.clip(_log_price(expert), min(self.prices.values()), max(self.prices.values()))
        shift = np.float32(self.start + self.slope * price - self.mean)
        return replace(
            nearest,
            score_weight=_mean(every.score_weight),
            score_bias=_mean(every.score_bias) + shift,
            context_weight=_mean(every.context_weight),
            context_bias=_mean(every.context_bias) + shift,
        )


def _mean(array: Float32s) -> Float32s:
    """Return the mean over the experts, the last axis, which stays."""
    return np.asarray(array.mean(axis=-1, keepdims=True, dtype=np.float64), np.float32)


def _log_price(priced: Expert | KnownModel) -> float:
    mixed = (_PROMPT_SHARE * priced.usd_per_m_input + priced.usd_per_m_output) / (_PROMPT_SHARE + 1)
    return math.log(max(mixed, _LEAST_USD))


def _log_odds(share: float) -> float:
    return math.log(share / (1 - share))
