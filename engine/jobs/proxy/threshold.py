"""The threshold: how sure the classifier has to be, so that its labels differ from the experts' no more than promised.

It is chosen on a random sample of the rows, each predicted by a classifier that has not learned from it. A count of
rows is accepted when the upper limit of its error (Clopper and Pearson 1934) keeps the promise, after Angelopoulos et
al. 2021, "Learn then Test" (arXiv 2110.01052). Knows nothing of classifiers and experts.
"""

from __future__ import annotations

import numpy as np

from leeroo.engine.arrays import Bools, Float64s, Floats, Int64s

# How often a limit may be wrong, one-sided. So what is expected is below it, and a check follows.
_DOUBT = 0.25
# No label may lose more than this part of its rows to other labels: a proxy that gives the commonest label to every
# row errs seldom on a skewed table, and finds nothing. Experts' slips are a good part of the rows of a rare label.
_LOST = 1 / 3
# Labels with fewer rows in the sample are taken together.
_FEW = 10
# Counts of rows that are looked at.
_GRID = 200


def accept(
    confidence: Float64s,
    given: Int64s,
    wanted: Int64s,
    promise: float,
    times: float = 1.0,
    weights: Floats | None = None,
) -> int:
    """Return how many rows of a sample are accepted, the most confident first; 0 where the promise cannot be kept.

    Args:
        confidence: Of the classifier [m].
        given: Its labels [m].
        wanted: The experts' labels [m].
        promise: The share of the accepted rows whose label may differ.
        times: Look ahead to a sample of this multiple of the rows that are like these.
        weights: [m], the part of the rows like each that is still to be labelled; None for all.

    """
    order = np.argsort(-confidence, kind="stable")
    wrong = (given != wanted)[order]
    counts = np.unique(np.linspace(1, len(order), min(_GRID, len(order)), dtype=np.int64)) if len(order) else order
    each = np.full(len(order), times) if weights is None else times * weights[order]
    errors, rows = (np.cumsum(each * part)[counts - 1] for part in (wrong, np.ones(len(order))))
    kept = upper_limit(errors, rows) <= promise
    kept &= ~_loses_a_label(wrong, wanted[order], counts, times)
    return int(counts[kept].max(initial=0))


def _loses_a_label(wrong: Bools, wanted: Int64s, counts: Int64s, times: float) -> Bools:
    """Return for each count [c] if one of the experts' labels is lost there to others, as far as the sample shows."""
    rows = np.bincount(wanted)
    groups = np.where(rows < _FEW, len(rows), np.arange(len(rows)))[wanted]
    lost = np.zeros(len(counts), bool)
    for group in np.unique(groups).tolist():
        own = groups == group
        errors = np.cumsum(wrong & own)[counts - 1]
        lost |= lower_limit(errors * times, np.full(len(counts), own.sum() * times), 0.1) > _LOST
    return lost


def upper_limit(errors: Floats | Int64s, n: Floats | Int64s, doubt: float = _DOUBT) -> Float64s:
    """Return the rate that n rows with these errors would be too good for, but for a part `doubt` of all samples."""
    from scipy.stats import beta

    limit = beta.ppf(1 - doubt, errors + 1, np.maximum(n - errors, 1e-9))
    return np.where(errors >= n, 1.0, np.asarray(limit, np.float64))


def lower_limit(errors: Floats | Int64s, n: Floats | Int64s, doubt: float = _DOUBT) -> Float64s:
    """Return the rate that n rows with these errors would be too bad for, but for a part `doubt` of all samples."""
    from scipy.stats import beta

    limit = beta.ppf(doubt, np.maximum(errors, 1e-9), n - errors + 1)
    return np.where(errors <= 0, 0.0, np.asarray(limit, np.float64))


def exact_interval(errors: int, n: int) -> tuple[float, float]:
    """Return the interval of 95 % of a rate (Clopper and Pearson 1934)."""
    both = np.array([errors], np.int64), np.array([n], np.int64)
    return float(lower_limit(*both, 0.025)[0]), float(upper_limit(*both, 0.025)[0])


def widest_gap(values: Float64s, near: float, within: int) -> float:
    """Return the middle of the widest gap between values [n], among the `within` on each side of a number.

    So a threshold has no value close by, and computers that round otherwise divide the values alike.
    """
    ordered = np.sort(values)
    at = int(np.searchsorted(ordered, near))
    around = ordered[max(0, at - within) : at + within]
    if len(around) < 2:
        return near
    gap = int(np.diff(around).argmax())
    return float(around[gap] + around[gap + 1]) / 2
