"""The classifier: logistic regression on the vectors of texts, and its predictions for rows it has not learned from.

Knows nothing of experts, costs and thresholds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from leeroo.engine.arrays import Float64s, Floats, Int64s

# Parts of the training rows; each is predicted by a classifier that has learned from the others.
FOLDS = 5
# The inverse of the regularisation, for standardised vectors, and how far rare labels count more. On Reuters R8 and
# R52, with one in twenty labels wrong and without, these let most rows be labelled at an error of 3 %.
_C, _RARE = 0.01, 0.5
_STEPS = 500
# Fits that stop early would differ where vectors differ in the seventh digit.
_TOLERANCE = 1e-6

# The probabilities of k labels [n, k] for vectors [n, d].
Predict = Callable[[Floats], Float64s]


def fit(vectors: Floats, labels: Int64s, k: int) -> Predict:
    """Fit a classifier to vectors [m, d] and their labels [m], numbers below k.

    A label that none of the rows has gets the probability 0. Rows of one label only predict that label for certain.
    """
    from sklearn.linear_model import LogisticRegression

    there = np.unique(labels)
    if len(there) < 2:
        return lambda wanted: _spread(np.ones((len(wanted), len(there))), there, k)
    weights = np.bincount(labels)[labels] ** -_RARE
    regression = LogisticRegression(C=_C, max_iter=_STEPS, tol=_TOLERANCE)
    fitted = regression.fit(vectors.astype(np.float64), labels, weights / weights.mean())
    return lambda wanted: _spread(fitted.predict_proba(wanted.astype(np.float64)), there, k)


def cross_fit(vectors: Floats, labels: Int64s, k: int, folds: Int64s) -> Float64s:
    """Predict every training row [m] by a classifier that has not learned from its fold: probabilities [m, k]."""
    chances = np.zeros((len(labels), k))
    for fold in np.unique(folds).tolist():
        own = folds == fold
        chances[own] = fit(vectors[~own], labels[~own], k)(vectors[own])
    return chances


def _spread(chances: Float64s, there: Int64s, k: int) -> Float64s:
    """Return probabilities of k labels [n, k] from those of some of them."""
    wide = np.zeros((len(chances), k))
    wide[:, there] = chances
    return wide
