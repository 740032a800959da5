"""Drift: detect that an expert has changed since it was learned.

The test compares the mean of (score - predicted) before a point in time and after it, at the point where the two
differ most for their standard error. It is that of Hawkins 1977, "Testing a sequence of observations for a shift in
location", JASA 72, after Hinkley 1970, "Inference about the change-point in a sequence of random variables", Biometrika
57. A router that is always wrong about an expert is no drift: only the difference between the two means counts.
bench/learning/drift.py measures false alarms and delay. Knows nothing of routers and stores.

An expert is tested again and again while outcomes arrive, and each test has its chance of a false alarm. So the
threshold grows with the length of the history. Every doubling spends a smaller part of the 5 in 100 false alarms that
an expert may have in its life (alpha spending: Lan & DeMets 1983, "Discrete sequential boundaries for clinical
trials").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# The least outcomes on each side of the point; fewer do not give a mean.
LEAST = 30
# The number of independent tests that all points of one doubling of a history equal, divided by the 5 in 100. It was
# measured on random histories, see bench/LOG.md.
_TESTS = 1000.0


class Drift(NamedTuple):
    """A change that was found.

    Attributes:
        since: Position of the first outcome after it.
        n: Outcomes since.
        shift: Their mean of score - predicted.
        z: Difference from the mean before, in standard errors.
    """

    since: int
    n: int
    shift: float
    z: float


def threshold(n: int) -> float:
    """Return the standard errors by which means must differ in a history of n outcomes to be no chance."""
    doublings = 1 + math.log2(n / (2 * LEAST))
    return math.sqrt(2 * math.log(_TESTS * doublings**2))


def find_drift(predicted: Sequence[float] | np.ndarray, scores: Sequence[float] | np.ndarray) -> Drift | None:
    """Return the drift of one expert's outcomes from their predictions.

    Only a change away from the prediction counts. Answers that return to it, as after a router has learned, are no
    drift.

    Args:
        predicted, scores: [n], of answers in the order of time, in [0, 1].

    Returns:
        None where there is no drift, or too little data (30 outcomes are needed before it, and 30 after).
    """
    error = np.asarray(scores, np.float64) - np.asarray(predicted, np.float64)
    n = len(error)
    after = np.arange(LEAST, n - LEAST + 1)  # outcomes before the point
    if not len(after):
        return None
    sums = np.cumsum(error)
    before_mean, after_mean = sums[after - 1] / after, (sums[-1] - sums[after - 1]) / (n - after)
    # Variances around the means of both sides, together and of each. A change must not hide itself in the spread, and
    # thirty outcomes that are nearly all right have little spread by chance.
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
