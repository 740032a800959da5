"""Calibration of choices: the probabilities that a model gives to them, corrected where it prefers some of them.

Batch calibration (Zhou et al. 2024, "Batch Calibration: Rethinking Calibration for In-Context Learning and Prompt
Engineering", ICLR) divides by the mean over the batch, which assumes equally frequent choices. So it spoils a table in
which one is frequent. A biased model answers nearly the same for every row; one that distinguishes rows does not. So
the correction is weighted by the similarity of the rows, squared (`bench/jobs/leaning.py`, on skewed and even tables).
Knows nothing of labels and experts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leeroo.engine.arrays import Float64s

# Rows for each choice: a smaller batch says too little about the bias of a model.
_ROWS_PER_CHOICE = 5


def probabilities(logs: Sequence[Sequence[float] | None], k: int) -> Float64s:
    """Return the probabilities [n, k] of k choices from their logarithms; a row without usable logarithms is all 0."""
    known = np.full((len(logs), k), -np.inf)
    for i, row in enumerate(logs):
        if row is not None and len(row) == k:
            known[i] = row
    known[~(known < np.inf)] = -np.inf  # NaN and infinity
    top = known.max(axis=1, keepdims=True, initial=-np.inf)
    weights = np.exp(known - np.where(np.isfinite(top), top, 0.0))
    return np.asarray(weights / np.maximum(weights.sum(axis=1, keepdims=True), 1.0))


def calibrate_choices(chances: Float64s) -> Float64s:
    """Return the probabilities [n, k], corrected for the answer that the model gives to any text."""
    n, k = chances.shape
    if n < _ROWS_PER_CHOICE * k:
        return chances
    mean = chances.mean(axis=0)
    most = float((mean * (1 - mean)).sum())  # the variance of a model that is certain of each row
    alike = 1 - float(chances.var(axis=0).sum()) / most if most > 0 else 0.0
    weights = chances / np.where(mean > 0, mean, 1.0) ** alike**2
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
