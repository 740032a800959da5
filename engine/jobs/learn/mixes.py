"""Mixes: which two experts a batch is best shared between, when nothing is known of single questions."""

from __future__ import annotations

import itertools

import numpy as np

from leeroo.engine.arrays import Float64s


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
    d, e = shares_right.shape
    best, shares = np.full(d, -1.0), np.zeros((d, e))
    usable = np.flatnonzero(np.isfinite(costs))

    def offer(value: Float64s, part: dict[int, float]) -> None:
        better = value > best
        best[better] = value[better]
        shares[better] = 0.0
        for expert, share in part.items():
            shares[better, expert] = share

    for i in usable.tolist():
        reached = 1.0 if costs[i] <= usd else float(usd / costs[i])
        offer(reached * shares_right[:, i], {i: reached})
    for i, j in itertools.permutations(usable.tolist(), 2):
        if costs[i] <= usd < costs[j]:
            x = float((usd - costs[i]) / (costs[j] - costs[i]))
            offer((1 - x) * shares_right[:, i] + x * shares_right[:, j], {i: 1 - x, j: x})
    return best, shares


def value_of_knowing(shares_right: Float64s, costs: Float64s, usd: float) -> float:
    """Return how many more answers would be right, as a part of all, if the best mix were known for sure."""
    mixes = np.unique(best_mixes(shares_right, costs, usd)[1].round(6), axis=0)
    value = mixes @ shares_right.T  # [mixes, d]
    return float(value.max(axis=0).mean() - value.mean(axis=1).max())


def value_of_money(shares_right: Float64s, costs: Float64s, usd: float) -> float:
    """Return how many more answers would be right for one more USD, near a budget of `usd` an answer."""
    mean = shares_right.mean(axis=0)[None]
    more, less = (float(best_mixes(mean, costs, usd * part)[0][0]) for part in (1.05, 0.95))
    return max(0.0, (more - less) / max(0.1 * usd, 1e-12))
