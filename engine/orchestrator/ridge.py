"""Ridge regression of several targets at once, its penalties chosen by leave-one-question-out validation.

The held-out predictions are exact, without fitting again. For a linear smoother they follow from the residuals and the
hat matrix (Allen, "The relationship between variable selection and data augmentation", 1974). Knows nothing of experts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from leeroo.engine.arrays import Float32s, Int64s

# Penalties that are tried. The last one predicts the mean.
PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 1e7)


@dataclass(frozen=True)
class Fit:
    """Coefficients [k, t], and predictions [n, t] for each row by a fit without it and the others of its group."""

    coefficients: Float32s
    held_out: Float32s


@dataclass(frozen=True)
class Spectrum:
    """Features [n, k] rotated onto the eigenvectors of their Gram matrix, so that every penalty is a division.

    Attributes:
        values, vectors: [k] and [k, k], of the Gram matrix.
        turned: [n, k], the features in the basis of the vectors.
        together: Rows of the groups that have several, [groups, rows of each]; groups of one size are one array.
    """

    values: Float32s
    vectors: Float32s
    turned: Float32s
    together: list[Int64s]

    def fit(self, targets: Float32s, penalty: float) -> Fit:
        """Fit a ridge regression to centred targets [n, t]."""
        denominators = self.values + np.float32(penalty)
        coefficients = (self.turned.T @ targets) / denominators[:, None]
        residual = targets - self.turned @ coefficients
        leverage = np.square(self.turned) @ (1 / denominators)
        left = residual / np.maximum(1 - leverage, 1e-6)[:, None]
        for rows in self.together:
            hat = (self.turned[rows] / denominators) @ self.turned[rows].swapaxes(1, 2)
            left[rows] = np.linalg.solve(np.eye(rows.shape[1]) - hat, residual[rows])
        return Fit(np.asarray(self.vectors @ coefficients, np.float32), np.asarray(targets - left, np.float32))


def spectrum(features: Float32s, groups: Int64s) -> Spectrum:
    """Prepare fits on features [n, k]; rows of the same question have the same number in groups [n]."""
    values, vectors = np.linalg.eigh((features.T @ features).astype(np.float64))
    vectors = vectors.astype(np.float32)
    return Spectrum(np.maximum(values, 0).astype(np.float32), vectors, features @ vectors, _together(groups))


def principal_ridge(of: Spectrum, targets: Float32s) -> Fit:
    """Fit centred targets [n, t], with a penalty of its own for each of their principal directions.

    Experts' outcomes on a question have much in common, and the rest is mostly noise. So the targets are rotated
    onto the principal components of their covariance. Each component gets the penalty that predicts it best where it
    was held out: a small one for what is common, and for noise one that leaves nothing. This is in the spirit of
    Breiman & Friedman, "Predicting multivariate responses in multiple linear regression", 1997.
    """
    rotation = np.linalg.eigh(targets.T.astype(np.float64) @ targets)[1].astype(np.float32)
    best = ridge(of, targets @ rotation)
    return Fit(best.coefficients @ rotation.T, best.held_out @ rotation.T)


def ridge(of: Spectrum, targets: Float32s, penalties: Sequence[float] = PENALTIES) -> Fit:
    """Fit centred targets [n, t], each with the penalty that predicts it best where it was held out."""
    best, least = of.fit(targets, penalties[-1]), np.full(targets.shape[1], np.inf)
    for penalty in penalties:
        fit = of.fit(targets, penalty)
        loss = np.square(targets - fit.held_out).mean(axis=0)
        better = loss < least
        least[better] = loss[better]
        best.coefficients[:, better], best.held_out[:, better] = fit.coefficients[:, better], fit.held_out[:, better]
    return best


def _together(groups: Int64s) -> list[Int64s]:
    order = np.argsort(groups, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(groups[order])) + 1)
    sizes = {len(part) for part in parts if len(part) > 1}
    return [np.array([part for part in parts if len(part) == size]) for size in sorted(sizes)]
