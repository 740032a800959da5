"""Small statistics: the logistic function, measures of probabilities, the interval of a rate.

Knows nothing of experts. Probabilities and scores are [n]; a score may be any fraction in [0, 1]. Weights say how much
a row counts.
"""

from __future__ import annotations

import math

import numpy as np

from leeroo.engine.arrays import Float32s, Floats

# Standard errors on either side of a mean that hold 95 % of a normal distribution.
Z_95 = 1.959963984540054
_BINS = 10


def sigmoid(logit: Float32s) -> Float32s:
    """Return 1 / (1 + exp(-logit)), without overflow."""
    probability: Float32s = (0.5 * (1 + np.tanh(0.5 * logit))).astype(np.float32)
    return probability


def log_loss(probabilities: Floats, scores: Floats, weights: Floats) -> float:
    """Return the mean negative log-likelihood, in nats."""
    p = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(np.average(-scores * np.log(p) - (1 - scores) * np.log1p(-p), weights=weights))


def calibration_error(probabilities: Floats, scores: Floats, weights: Floats) -> float:
    """Return the expected calibration error over ten bins of equal width (Naeini et al. 2015, Guo et al. 2017)."""
    bins = np.minimum((probabilities * _BINS).astype(np.int64), _BINS - 1)
    gap = np.bincount(bins, weights * (probabilities - scores), minlength=_BINS)
    return float(np.abs(gap).sum() / weights.sum())


def wilson_interval(mean: float, n: int, z: float = Z_95) -> tuple[float, float]:
    """Return the score interval of a mean of n scores in [0, 1] (Wilson 1927), of 95 % by default.

    It holds for few scores and for means of 0 or 1. For fractional scores it is too wide.
    """
    middle = (mean + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(mean * (1 - mean) / n + z**2 / (4 * n**2))
    return max(0.0, middle - half), min(1.0, middle + half)
