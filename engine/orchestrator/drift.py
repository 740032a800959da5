"""Drift: whether an expert has become another than the one that was learned.

Told from what was predicted and what came out, in the order of time: the mean of (score - predicted) before a point
and after it, with that point where they differ most for their standard error (Hinkley 1970, "Inference about the
change-point in a sequence of random variables", Biometrika 57; as a test Hawkins 1977, "Testing a sequence of
observations for a shift in location", JASA 72). A router that is wrong about an expert all along is no drift: the
difference between the two means is what counts. bench/drift.py measures false alarms and delay.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Fewer on a side of the point do not tell a mean.
LEAST = 30
# The greatest of all points' differences, in standard errors, rarely passes this without a change: see bench/LOG.md.
_Z = 4.0


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
    # Of both sides with their own means: a change must not hide itself in the spread.
    squares = np.cumsum(error**2)
    rest = squares[-1] - after * before_mean**2 - (n - after) * after_mean**2
    spread = np.sqrt(np.maximum(rest / (n - 2), 1e-12) * (1 / after + 1 / (n - after)))
    z = (after_mean - before_mean) / spread
    at = int(np.argmax(np.abs(z)))
    if abs(z[at]) < _Z or abs(after_mean[at]) <= abs(before_mean[at]):
        return None
    return Drift(int(after[at]), int(n - after[at]), float(after_mean[at]), float(z[at]))
