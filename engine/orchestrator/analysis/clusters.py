"""Clusters: group questions on the same topic, and name each topic. Knows nothing of experts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from leeroo.engine.arrays import Float32s, Float64s, Int64s

# From this many questions on, k-means works in batches.
_MANY = 50_000
_TERMS = 6
# Words of letters alone, three at least: no numbers, no marks of choices.
_WORD = r"(?u)\b[^\W\d_]{3,}\b"


def clusters_of(vectors: Float32s, count: int, least: int) -> tuple[Int64s, Float64s]:
    """Return the cluster of each question [n], and how near it is to its centre [n], by k-means.

    Clusters of fewer than `least` questions are dissolved, the smallest first, and their questions move to the nearest
    of the others. So there may be fewer than `count`. They are numbered from 0.
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans

    kind: Any = MiniBatchKMeans if len(vectors) >= _MANY else KMeans
    centres: Float32s = kind(count, n_init=3, random_state=0).fit(vectors).cluster_centers_
    while True:
        distances = _distances(vectors, centres)
        cluster = distances.argmin(axis=1)
        sizes = np.bincount(cluster, minlength=len(centres))
        if len(centres) == 1 or sizes.min() >= least:
            return cluster, -distances[np.arange(len(vectors)), cluster]
        centres = np.delete(centres, sizes.argmin(), axis=0)


def typical_terms(texts: Sequence[str], cluster: Int64s) -> list[list[str]]:
    """Return the words that distinguish each cluster from the rest, the most distinctive first.

    This is tf-idf of classes (after Grootendorst 2022, BERTopic, arXiv 2203.05794). The share of the cluster's
    questions with the word is multiplied by the logarithm of its ratio to the share of all questions. A word is left
    out when it is a form of one that is already there.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    count = int(cluster.max()) + 1
    # A word of a single question is no term of a topic.
    reader = CountVectorizer(binary=True, stop_words="english", token_pattern=_WORD, min_df=min(2, len(texts)))
    try:
        there = reader.fit_transform(texts)
    except ValueError:  # not a word is left
        return [[] for _ in range(count)]
    words = reader.get_feature_names_out()
    of_all = np.asarray(there.mean(axis=0)).ravel()
    found = []
    for number in range(count):
        share = np.asarray(there[np.flatnonzero(cluster == number)].mean(axis=0)).ravel()
        telling = share * np.log(np.maximum(share, 1e-12) / of_all)
        order = np.argsort(-telling, kind="stable")[: 5 * _TERMS]
        # With one cluster no word is distinctive; then the most frequent ones are used.
        order = order if count > 1 else np.argsort(-share, kind="stable")[: 5 * _TERMS]
        found.append(_distinct([str(words[i]) for i in order])[:_TERMS])
    return found


def most_frequent(subjects: Sequence[str | None]) -> dict[str, int]:
    """Count the subjects of some questions, the most frequent first."""
    return dict(sorted(Counter(filter(None, subjects)).items(), key=lambda item: (-item[1], item[0])))


def _distances(vectors: Float32s, centres: Float32s) -> Float64s:
    """Return squared distances [n, centres], up to a constant for each vector."""
    distances: Float64s = (np.square(centres).sum(axis=1) - 2 * vectors @ centres.T).astype(np.float64)
    return distances


def _distinct(words: list[str]) -> list[str]:
    kept: list[str] = []
    for word in words:
        if not any(word.startswith(one[:5]) and len(one) > 3 for one in kept):
            kept.append(word)
    return kept
