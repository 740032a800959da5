"""Calibration: make predicted probabilities right on average.

Scores are [n] and may be any fraction in [0, 1]. Weights say how much a row counts. Knows nothing of experts.
"""

from __future__ import annotations

import numpy as np

from leeroo.engine.arrays import Floats

# The prior of the slope for probabilities of a regression, and its standard deviation. Log-odds grow 4 times as fast as
# the probability at 1/2, and faster towards 0 and 1.
_SLOPE, _SLOPE_SPREAD = 4.5, 1.0


def fit_platt(logits: Floats, scores: Floats, weights: Floats) -> tuple[float, float]:
    """Return slope and offset that make sigmoid(slope * logit + offset) fit the scores best.

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


def fit_platt_to_probabilities(expected: Floats, scores: Floats) -> tuple[float, float]:
    """Return slope and offset as `platt`, for expected scores instead of logits.

    The slope has a prior, so that a few scores do not move it far.
    """
    from scipy.optimize import minimize

    def loss(line: Floats) -> float:
        log_odds = line[0] * (expected - 0.5) + line[1]
        unlikely = (np.logaddexp(0, log_odds) - scores * log_odds).sum()
        return float(unlikely + ((line[0] - _SLOPE) / _SLOPE_SPREAD) ** 2 / 2)

    slope, middle = minimize(loss, (_SLOPE, 0.0)).x
    return float(slope), float(middle - slope / 2)
