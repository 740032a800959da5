"""Baselines: the simplest predictors that a router must beat, for any table of values [n, e] of training questions.

In a table NaN stands for what is not recorded. A prediction is NaN only where the expert has no training value at all.
Knows nothing of routers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leeroo.engine.arrays import Float32s, Float64s, Int64s

# The mean of the wider group counts like this many more rows.
_PRIOR_ROWS = 10
_NEIGHBOURS = (5, 10, 20, 40, 80, 160)
# Training questions on which the number of neighbours is tried.
_TRIED = 2000
_CHUNK = 256

# A question's category and subject; only the category; or nothing.
TopicKey = tuple[str | None, ...]


def subject_means(
    values: Float64s,
    subjects: Sequence[str | None],
    categories: Sequence[str | None],
    new_subjects: Sequence[str | None],
    new_categories: Sequence[str | None],
) -> Float64s:
    """Predict each expert's mean on the training questions of the same subject, [m, e].

    The mean of a subject is shrunk to that of its category, and that to the mean of all: each counts as ten rows.
    Where the subject is new or unknown, the category's mean is the prediction, and without a category that of all.
    """
    rows: dict[TopicKey, list[int]] = {}
    for row, (category, subject) in enumerate(zip(categories, subjects, strict=True)):
        rows.setdefault((category,), []).append(row)
        if subject is not None:
            rows.setdefault((category, subject), []).append(row)
    means: dict[TopicKey, Float64s] = {(): _mean(values)}
    for topic, of_topic in rows.items():  # a category stands before its subjects
        means[topic] = _mean(values[of_topic], means[topic[:-1]], _PRIOR_ROWS)
    found = [
        next(means[topic[:known]] for known in (2, 1, 0) if topic[:known] in means)
        for topic in zip(new_categories, new_subjects, strict=True)
    ]
    return np.array(found).reshape(-1, values.shape[1])


def neighbour_means(values: Float64s, vectors: Float32s, new_vectors: Float32s, k: int) -> Float64s:
    """Predict each expert's mean on the k training questions of the greatest cosine similarity, [m, e].

    kNN is the strongest of the simple routers in RouterBench (Hu et al. 2024, arXiv 2403.12031). Where none of the
    neighbours has a value, the mean of all is taken.
    """
    predicted = np.empty((len(new_vectors), values.shape[1]))
    nearest = _nearest(vectors, new_vectors, k)
    for part in _parts(len(nearest)):
        predicted[part] = _means_of_first(values, nearest[part], [k])[0]
    return np.where(np.isnan(predicted), _mean(values), predicted)


def best_neighbours(values: Float64s, vectors: Float32s) -> int:
    """Return how many neighbours predict the training values best, each question left out in turn."""
    n = len(vectors)
    counts = [k for k in _NEIGHBOURS if k < n]
    rows = np.unique(np.linspace(0, n - 1, _TRIED).astype(np.int64))
    nearest = _nearest(vectors, vectors[rows], counts[-1] + 1)
    # The question itself is sorted last and dropped; if only its duplicates are among them, the last neighbour is.
    itself_last = np.argsort(nearest == rows[:, None], axis=1, kind="stable")
    others = np.take_along_axis(nearest, itself_last, axis=1)[:, :-1]
    errors = np.zeros(len(counts))
    for part in _parts(len(rows)):
        off = _means_of_first(values, others[part], counts) - values[rows[part]]
        errors += np.nansum(np.square(off), axis=(1, 2))
    return counts[int(errors.argmin())]


def _nearest(vectors: Float32s, new_vectors: Float32s, k: int) -> Int64s:
    """Return the rows of the k nearest, [m, k], the nearest first."""
    from sklearn.neighbors import NearestNeighbors

    found = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(vectors)
    return np.asarray(found.kneighbors(new_vectors, return_distance=False), np.int64)


def _parts(n: int) -> list[slice]:
    return [slice(start, start + _CHUNK) for start in range(0, n, _CHUNK)]


def _means_of_first(values: Float64s, nearest: Int64s, counts: Sequence[int]) -> Float64s:
    """Return the means over the first k of the nearest, for each k of `counts`: [counts, m, e]."""
    of_each = values[nearest]  # [m, most, e]
    known = np.isfinite(of_each)
    totals = np.cumsum(np.where(known, of_each, 0), axis=1)
    seen = np.cumsum(known, axis=1)
    last = np.array(counts) - 1
    with np.errstate(invalid="ignore"):
        return np.moveaxis(totals[:, last] / seen[:, last], 1, 0)


def _mean(values: Float64s, prior: Float64s | float = 0.0, prior_rows: int = 0) -> Float64s:
    """Return the mean of each column, shrunk to a prior that counts like that many more rows; NaN without any."""
    known = np.isfinite(values)
    total = np.where(known, values, 0).sum(axis=0)
    with np.errstate(invalid="ignore"):
        mean: Float64s = (total + prior_rows * prior) / (known.sum(axis=0) + prior_rows)
    return mean
