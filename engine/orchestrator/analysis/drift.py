"""Drift: whether an expert has become another than the one that was learned.

Told from what was predicted and what came out, in the order of time: the mean of (score - predicted) before a point
and after it, with that point where they differ most for their standard error (Hinkley 1970, "Inference about the
change-point in a sequence of random variables", Biometrika 57; as a test Hawkins 1977, "Testing a sequence of
observations for a shift in location", JASA 72). A router that is wrong about an expert all along is no drift: the
difference between the two means is what counts. bench/learning/drift.py measures false alarms and delay.

An expert is looked at again and again as outcomes come in, and each look has its chance of a false alarm. So the
threshold grows with the length of the history: every doubling spends a smaller part of the 5 in 100 false alarms that
an expert may have in its life (alpha spending: Lan & DeMets 1983, "Discrete sequential boundaries for clinical
trials").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Fewer on a side of the point do not tell a mean.
LEAST = 30
# As many independent tests as all points of one doubling of a history come to, divided by the 5 in 100; measured on
# histories of chance, see bench/LOG.md.
_TESTS = 1000.0


class Drift(NamedTuple):
    """A change that was found.

    Attributes:
        since: Position of the first outcome after it.
        n: Outcomes since.
        shift: Their mean of score - predicted.
        z: By how many standard errors that differs from the mean before.
    """

    since: int
    n: int
    shift: float
    z: float


def threshold(n: int) -> float:
    """Return by how many standard errors means must differ in a history of n outcomes, so that it is no chance."""
    doublings = 1 + math.log2(n / (2 * LEAST))
    return math.sqrt(2 * math.log(_TESTS * doublings**2))


def drifted(predicted: Sequence[float] | np.ndarray, scores: Sequence[float] | np.ndarray) -> Drift | None:
    """Tell whether one expert's outcomes have left what was predicted of them.

    Only a change away from the prediction counts: answers that come back to it, as after a router has learned, are no
    drift.

    Args:
        predicted, scores: [n], of answers in the order of time, in [0, 1].

    Returns:
        None where there is no drift, or too little to tell (30 outcomes are needed before it, and 30 after).

    """
    error = np.asarray(scores, np.float64) - np.asarray(predicted, np.float64)
    n = len(error)
    after = np.arange(LEAST, n - LEAST + 1)  # outcomes before the point
    if not len(after):
        return None
    sums = np.cumsum(error)
    before_mean, after_mean = sums[after - 1] / after, (sums[-1] - sums[after - 1]) / (n - after)
    # Variances around the means of both sides, together and of each: a change must not hide itself in the spread, and
    # thirty outcomes of which nearly all are right have little of it by chance.
    squares = np.cumsum(error**2)
    before, rest = (
        squares[after - 1] - after * before_mean**2,
        squares[-1] - squares[after - 1] - (n - after) * after_mean**2,
    )
    both = np.maximum((before + rest) / (n - 2), 1e-12)
    spread = np.sqrt(np.maximum(before / after, both) / after + np.maximum(rest / (n - after), both) / (n - after))
    z = (after_mean - before_mean) / spread
    at = int(np.argmax(np.abs(z)))
    if abs(z[at]) < threshold(n) or abs(after_mean[at]) <= abs(before_mean[at]):
        return None
    return Drift(int(after[at]), int(n - after[at]), float(after_mean[at]), float(z[at]))
