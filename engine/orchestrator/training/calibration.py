"""Calibration: making predicted probabilities right on average, and saying how right they are.

Probabilities and scores are [n]; a score may be any fraction in [0, 1]. Weights say how much a row counts.
"""

from __future__ import annotations

import numpy as np

from leeroo.engine.arrays import Floats

# Probabilities that a regression found, as they are: their log-odds grow 4 times as fast at 1/2, and faster towards 0
# and 1; and how sure the slope is, as a standard deviation.
_SLOPE, _SLOPE_SPREAD = 4.5, 1.0


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


def platt_of_probabilities(expected: Floats, scores: Floats) -> tuple[float, float]:
    """As `platt`, of expected scores instead of logits; few scores do not move the slope far from what it should be."""
    from scipy.optimize import minimize

    def loss(line: Floats) -> float:
        log_odds = line[0] * (expected - 0.5) + line[1]
        unlikely = (np.logaddexp(0, log_odds) - scores * log_odds).sum()
        return float(unlikely + ((line[0] - _SLOPE) / _SLOPE_SPREAD) ** 2 / 2)

    slope, middle = minimize(loss, (_SLOPE, 0.0)).x
    return float(slope), float(middle - slope / 2)
