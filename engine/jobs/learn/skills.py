"""Skills of experts: what prices say beforehand, what their answers say, and how sure that is."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from leeroo.engine.arrays import Float64s, Int64s
from leeroo.engine.jobs.learn.truth import NONE, Evidence, Prior, fit, rates

# The skill of the most expensive expert in logits, what a tenth of its price costs, and how far experts of one price
# differ: on recorded outcomes of 28 models, where lines through price explain half of the differences.
_TOP, _PER_DECADE, _SPREAD = 1.2, 0.8, 0.5
# Agreement of few experts tells skill from luck less: their prices are believed more.
_SPREAD_OF_FEW, _LEVEL_OF_FEW = 0.35, 0.25
# Standard deviations of the level of all skills, which agreement hardly shows, and of what a tenth of the price costs.
# However good the cheap ones look, more expensive experts are expected to be better by this for ten times the price.
_LEVEL, _SLOPE_SPREAD, _LEAST_SLOPE = 0.35, 0.5, 0.2
# A free expert counts as one of this part of the highest price.
_CHEAPEST = 1e-3
# How far an expert's skill on a new table is from what a router that knows it expects.
_KNOWN_SPREAD = 0.3
# How much of what a router expects of single questions is believed, and the furthest from an expert's mean.
_BELIEVED, _FURTHEST = 0.7, 3.0
# Scores are kept within these.
_SURE = (0.02, 0.98)
# Draws from what is known of the skills. Agreement has errors of its own, which more questions do not mend: their
# standard deviation, in logits.
_DRAWS, _BIAS = 64, 0.1
# The least families with which their errors can be distinguished from the truth.
_LEAST_FAMILIES = 4
_GRID = np.linspace(-8, 8, 1601)


@dataclass(frozen=True)
class Skills:
    """What is known of e experts.

    Attributes:
        likely: [e], the most probable skills.
        draws: [d, e], skills that are possible.
    """

    likely: Float64s
    draws: Float64s

    @property
    def rates(self) -> Float64s:
        """The share of right answers of each expert, for each draw [d, e]."""
        return rates(self.draws)


def price_prior(costs: Float64s, n: int) -> Prior:
    """Return what the mean costs of an answer [e] say about skills, for n questions."""
    floor = max(float(costs.max()) * _CHEAPEST, np.finfo(float).tiny)
    decades = np.log10(np.maximum(costs, floor) / max(float(costs.max()), floor))
    mean = _TOP + _PER_DECADE * decades
    few = len(costs) < _LEAST_FAMILIES
    spread, level = (_SPREAD_OF_FEW, _LEVEL_OF_FEW) if few else (_SPREAD, _LEVEL)
    common = np.column_stack([np.full(len(costs), level), _SLOPE_SPREAD * (decades - decades.mean())])
    least = np.array([-np.inf, (_LEAST_SLOPE - _PER_DECADE) / _SLOPE_SPREAD])
    return Prior(mean, np.full(len(costs), spread), common, least, np.zeros((n, len(costs))))


def router_prior(prices: Prior, scores: Float64s) -> Prior:
    """Return a prior with what a router expects: scores [n, e], NaN for an expert that it does not know."""
    known = np.isfinite(scores).all(axis=0)
    mean, sd, common = prices.mean.copy(), prices.sd.copy(), prices.common.copy()
    mean[known] = skill_of_rate(scores[:, known].clip(*_SURE).mean(axis=0))
    sd[known], common[known, 1:] = _KNOWN_SPREAD, 0.0
    if known.any():
        mean[~known] += (mean[known] - prices.mean[known]).mean()
    return Prior(mean, sd, common, prices.least, prices.offset + deviations(scores))


def deviations(scores: Float64s) -> Float64s:
    """Return by how much experts are better than usual on each question, in logits, as a router expects [n, e].

    A question that is hard for the known experts is hard for the others, whose scores are NaN.
    """
    known = np.isfinite(scores).all(axis=0)
    found = np.zeros(scores.shape)
    if known.any():
        sure = scores[:, known].clip(*_SURE)
        odds = np.log(sure / (1 - sure))
        found[:, known] = np.clip(_BELIEVED * (odds - odds.mean(axis=0)), -_FURTHEST, _FURTHEST)
        found[:, ~known] = found[:, known].mean(axis=1, keepdims=True)
    return found


def skill_of_rate(rate: Float64s) -> Float64s:
    """Return the skills of experts with these shares of right answers."""
    return np.asarray(np.interp(rate, rates(_GRID), _GRID))


def learn_skills(evidence: Evidence, prior: Prior, rng: np.random.Generator, start: Float64s | None = None) -> Skills:
    """Return what the answers say: a fit to all questions, and fits to bootstrap draws of questions and priors.

    The draws are those of "randomize, then optimise" (Bardsley et al., SIAM Journal on Scientific Computing, 2014).
    """
    n, e = evidence.answers.shape
    if n == 0:
        unknown = np.maximum(rng.normal(0, 1, (_DRAWS, prior.common.shape[1])), prior.least)
        drawn = prior.mean + rng.normal(0, prior.sd, (_DRAWS, e)) + unknown @ prior.common.T
        return Skills(prior.mean, drawn)
    likely = fit(evidence, prior, start)
    unlabelled = float((evidence.gold == NONE).mean())
    draws = []
    for _ in range(_DRAWS):
        mean = prior.mean + rng.normal(0, prior.sd) + prior.common @ rng.normal(0, 1, prior.common.shape[1])
        drawn = fit(evidence.take(np.asarray(rng.integers(0, n, n))), replace(prior, mean=mean), likely)
        draws.append(drawn + rng.normal(0, _BIAS * unlabelled, e))
    return Skills(likely, np.array(draws))


def families(models: Sequence[str]) -> Int64s:
    """Return a number for the family of each model: that of the first letters of its name.

    With fewer than four families, each is one of its own: there are too few others to judge a family by.
    """
    first = [found[0] if (found := re.match("[a-z]+", name.lower())) else name for name in models]
    number = {name: i for i, name in enumerate(dict.fromkeys(first))}
    if len(number) < _LEAST_FAMILIES:
        return np.arange(len(models))
    return np.array([number[name] for name in first])
