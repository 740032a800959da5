"""Calibration: making predicted probabilities right on average, and saying how right they are.

Probabilities and scores are [n]; a score may be any fraction in [0, 1]. Weights say how much a row counts.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]

_BINS = 10


def platt(logits: Floats, scores: Floats, weights: Floats) -> tuple[float, float]:
    """Slope and offset that make sigmoid(slope * logit + offset) fit the scores best.

    Platt, "Probabilistic outputs for support vector machines", 1999. The logits must be of rows that the
    model was not fitted on. Scores must not all be 0, nor all be 1.
    """
    from sklearn.linear_model import LogisticRegression

    # A fractional score is a success and a failure that each count in part.
    fitted = LogisticRegression(C=1e3).fit(
        np.concatenate([logits, logits])[:, None],
        np.repeat([1, 0], len(logits)),
        np.concatenate([weights * scores, weights * (1 - scores)]),
    )
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def log_loss(probabilities: Floats, scores: Floats, weights: Floats) -> float:
    """Mean negative log-likelihood, in nats."""
    p = np.clip(probabilities.astype(np.float64), 1e-7, 1 - 1e-7)
    return float(np.average(-scores * np.log(p) - (1 - scores) * np.log1p(-p), weights=weights))


def calibration_error(probabilities: Floats, scores: Floats, weights: Floats) -> float:
    """Expected calibration error over ten bins of equal width (Naeini et al. 2015, Guo et al. 2017)."""
    bins = np.minimum((probabilities * _BINS).astype(np.int64), _BINS - 1)
    gap = np.bincount(bins, weights * (probabilities - scores), minlength=_BINS)
    return float(np.abs(gap).sum() / weights.sum())
