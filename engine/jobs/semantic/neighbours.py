"""Neighbours: the most similar vectors, found exactly, by products of blocks of matrices.

Vectors have unit length, so that their product is the cosine. Knows nothing of texts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from leeroo.engine.arrays import Bools, Float32s, Int64s

# Similarities in a block, 16 MiB of float32: larger ones leave the processor's cache, and are no faster.
_BLOCK = 2**22
# Vectors on the right of a block at most; more would leave too few on the left for a fast product.
_COLUMNS = 2**16


class Pairs(NamedTuple):
    """Pairs of vectors, of two tables or of one.

    Attributes:
        left, right: Their rows, int64 [p].
        similarity: float32 [p].

    """

    left: Int64s
    right: Int64s
    similarity: Float32s

    def take(self, at: Int64s | Bools) -> Pairs:
        """Return some of the pairs, by number or by a mask."""
        return Pairs(self.left[at], self.right[at], self.similarity[at])


def unit(vectors: Float32s) -> Float32s:
    """Return the vectors [n, d] with unit length; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Float32s = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return scaled


def nearest(left: Float32s, right: Float32s, k: int) -> Iterator[Pairs]:
    """Yield, for blocks of left vectors, the pairs with their `k` nearest right ones, the nearest first."""
    k = min(k, len(right))
    rows = max(1, _BLOCK // max(1, min(len(right), _COLUMNS)))
    for start in range(0, len(left) if k else 0, rows):
        block = left[start : start + rows]
        best, at = np.empty((len(block), 0), np.float32), np.empty((len(block), 0), np.int64)
        for column in range(0, len(right), _COLUMNS):
            found = block @ right[column : column + _COLUMNS].T
            numbers = np.broadcast_to(np.arange(column, column + found.shape[1]), found.shape)
            found, numbers = _highest(found, numbers, k)
            best, at = _highest(np.hstack([best, found]), np.hstack([at, numbers]), k)
        order = np.argsort(-best, axis=1, kind="stable")
        who = np.repeat(np.arange(start, start + len(block)), k)
        yield Pairs(who, np.take_along_axis(at, order, 1).ravel(), np.take_along_axis(best, order, 1).ravel())


def _highest(values: Float32s, numbers: Int64s, k: int) -> tuple[Float32s, Int64s]:
    """Return the k highest values of each row, in any order, with their numbers."""
    if values.shape[1] <= k:
        return values, numbers
    kept = np.argpartition(values, values.shape[1] - k, axis=1)[:, -k:]
    return np.take_along_axis(values, kept, 1), np.take_along_axis(numbers, kept, 1)


def join_all(parts: Iterator[Pairs] | list[Pairs]) -> Pairs:
    """Return the pairs of all parts in one."""
    each = list(parts)
    if not each:
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    return Pairs(
        np.concatenate([pairs.left for pairs in each]),
        np.concatenate([pairs.right for pairs in each]),
        np.concatenate([pairs.similarity for pairs in each]),
    )


def distinct(pairs: Pairs, right: int) -> Pairs:
    """Return each pair once, ordered by left and right row, where there are `right` rows on the right."""
    _, first = np.unique(pairs.left * max(right, 1) + pairs.right, return_index=True)
    return pairs.take(first)


def candidates(left: Float32s, right: Float32s, k: int) -> Pairs:
    """Return the pairs of each left row with its k nearest right rows, and of each right row with its k left ones.

    Both directions matter: a row that is nobody's neighbour still has neighbours of its own.
    """
    there = join_all(nearest(left, right, k))
    back = join_all(nearest(right, left, k))
    both = Pairs(
        np.concatenate([there.left, back.right]),
        np.concatenate([there.right, back.left]),
        np.concatenate([there.similarity, back.similarity]),
    )
    return distinct(both, len(right))


def duplicates(vectors: Float32s, k: int, least: float) -> Pairs:
    """Return pairs of rows of one table, left before right: k nearest of either, at least this similar."""
    found = []
    for block in nearest(vectors, vectors, k + 1):  # a row is its own neighbour
        kept = (block.left != block.right) & (block.similarity >= least)
        found.append(block.take(kept))
    whole = join_all(found)
    low, high = np.minimum(whole.left, whole.right), np.maximum(whole.left, whole.right)
    return distinct(Pairs(low, high, whole.similarity), len(vectors))
