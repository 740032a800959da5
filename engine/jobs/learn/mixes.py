"""Mixes: which two experts a batch is best shared between, when nothing is known of single questions."""

from __future__ import annotations

import itertools

import numpy as np

from leeroo.engine.arrays import Float64s

# A standard normal distribution as a few values and their weights.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(21)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()


def best_mixes(shares_right: Float64s, costs: Float64s, usd: float) -> tuple[Float64s, Float64s]:
    """Return the best mix of one or two experts for each draw of what is possible.

    Args:
        shares_right: [d, e], of each expert's answers.
        costs: [e], mean USD of an answer; infinite for an expert that may not be used.
        usd: What an answer may cost on average.

    Returns:
        The share of right answers [d], and the shares of the questions that go to each expert [d, e]. Where not even
        the cheapest expert fits, as many questions as the money reaches go to one expert.

    """
    mixes = _mixes(costs, usd)
    value = shares_right @ mixes.T  # [d, mixes]
    best = value.argmax(axis=1)
    return value[np.arange(len(best)), best], mixes[best]


def _mixes(costs: Float64s, usd: float) -> Float64s:
    """Return every mix of one or two experts that spends `usd`, as shares of the questions [mixes, e]."""
    usable = np.flatnonzero(np.isfinite(costs))
    below, above = usable[costs[usable] <= usd], usable[costs[usable] > usd]
    nobody = np.zeros((1, len(costs)))
    reached = usd / np.maximum(costs[above], 1e-300)
    found = [nobody, np.eye(len(costs))[below], np.eye(len(costs))[above] * reached[:, None]]
    for i, j in itertools.product(below.tolist(), above.tolist()):
        x = (usd - costs[i]) / (costs[j] - costs[i])
        shares = np.zeros((1, len(costs)))
        shares[0, [i, j]] = 1 - x, x
        found.append(shares)
    return np.concatenate(found)


def value_of_knowing(shares_right: Float64s, costs: Float64s, usd: float) -> float:
    """Return how many more answers would be right, as a part of all, if the best mix were known for sure."""
    value = _mixes(costs, usd) @ shares_right.T  # [mixes, d]
    return float(value.max(axis=0).mean() - value.mean(axis=1).max())


def values_of_each(shares_right: Float64s, costs: Float64s, usd: float) -> Float64s:
    """Return how many more answers would be right, as a part of all, if one expert's share were known for sure [e].

    That is the expected value of partial perfect information, of a normal distribution with the draws' variance.
    """
    mixes = _mixes(costs, usd)
    expected = mixes @ shares_right.mean(axis=0)
    known = expected[:, None, None] + (mixes * shares_right.std(axis=0))[:, :, None] * _NODES  # [mixes, e, nodes]
    return np.asarray(known.max(axis=0) @ _WEIGHTS - expected.max())


def value_of_money(shares_right: Float64s, costs: Float64s, usd: float) -> float:
    """Return how many more answers would be right for one more USD, near a budget of `usd` an answer."""
    mean = shares_right.mean(axis=0)[None]
    more, less = (float(best_mixes(mean, costs, usd * part)[0][0]) for part in (1.05, 0.95))
    return max(0.0, (more - less) / max(0.1 * usd, 1e-12))
