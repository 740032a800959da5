"""Features of a question that the heads are linear in, computed from blocks of numbers.

The blocks are the vectors of one or several encoders, and the question's text features. Each number is standardised,
and each block counts the same, whatever its width. The features are the question's likeness to some of the training
questions, its landmarks, under a Gaussian kernel. Heads that are linear in them are a kernel machine (Williams &
Seeger, "Using the Nystroem method to speed up kernel machines", 2001). Knows nothing of experts.

A context, which is the question's subject and category, moves a question away from the landmarks of another context.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from leeroo.engine.arrays import Float32s, Int64s

# Landmarks: with twice as many the held-out loss falls by a thousandth, and learning takes four times as long.
_LANDMARKS = 1500
# The most standard deviations that a number may be from its mean: one number alone should not make a question unlike
# everything that was learned.
_FARTHEST = 3.0
# Width of the Gaussian, in units of the root mean squared distance between two questions.
_WIDTH = 1.0
# Rows of the kernel that are computed at once: fewer cost more for each, more take memory for nothing.
ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Features:
    """The numbers that features are computed from; arrays float32 but for the contexts.

    Attributes:
        mean, scale: [d], subtracted from each number of the blocks, and then multiplied with it.
        weight: [d], how much a standardised number counts in its block.
        landmarks: [m, d], standardised and weighted.
        contexts: int64 [m, c], the number of each landmark's context of each kind.
        width: [2], standard deviation of the Gaussian without contexts, and with them.
    """

    mean: Float32s
    scale: Float32s
    weight: Float32s
    landmarks: Float32s
    contexts: Int64s
    width: Float32s

    def likeness(self, seen: Float32s, contexts: Int64s | None = None) -> Float32s:
        """Return the likeness [n, m] to each landmark by blocks [n, d], and by contexts [n, c] if given."""
        likeness = np.empty((len(seen), len(self.landmarks)), np.float32)
        for start in range(0, len(seen), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            standard = seen[part] - self.mean
            standard *= self.scale
            np.clip(standard, -_FARTHEST, _FARTHEST, out=standard)
            standard *= self.weight
            self._kernel(standard, None if contexts is None else contexts[part], likeness[part])
        return likeness

    def whitening(self, *, in_context: bool = False) -> Float32s:
        """Return the matrix [m, k] that turns likeness into features whose products are the kernel's values."""
        gram = np.empty((len(self.landmarks), len(self.landmarks)), np.float32)
        self._kernel(self.landmarks, self.contexts if in_context else None, gram)
        values, vectors = np.linalg.eigh(gram.astype(np.float64))
        kept = values > 1e-6 * values[-1]
        return np.asarray(vectors[:, kept] / np.sqrt(values[kept]), np.float32)

    def _kernel(self, standard: Float32s, contexts: Int64s | None, out: Float32s) -> None:
        """Write the kernel's values [n, m] of standardised and weighted numbers [n, d] into `out`."""
        which = 0 if contexts is None else 1
        squares = np.square(standard).sum(axis=1)
        np.matmul(np.column_stack([standard, squares, np.ones_like(squares)]), self._exponents[which], out=out)
        if contexts is not None:
            for ours, theirs in zip(contexts.T, self.contexts.T, strict=True):
                # As far as two questions are in a block, on average: 2, of which the exponent has half.
                out -= np.where(ours[:, None] != theirs, 1 / self.width[which] ** 2, np.float32(0))
        np.exp(out, out=out)

    @cached_property
    def _exponents(self) -> list[Float32s]:
        """Return the matrix [d + 2, m] that turns x, |x|^2, 1 into -|x - l|^2 / 2 width^2, for each of both widths.

        All in one product, as each further pass over the kernel takes a tenth of it.
        """
        squares = np.square(self.landmarks).sum(axis=1)
        rows = np.concatenate([-2 * self.landmarks.T, np.ones_like(squares)[None], squares[None]])
        return [rows * np.float32(-1 / (2 * width**2)) for width in self.width]


def fit_features(blocks: Sequence[Float32s], contexts: Int64s, seed: int) -> Features:
    """Standardise blocks [n, d_i] and choose landmarks among the questions.

    Args:
        blocks: The blocks of n questions.
        contexts: [n, c], the number of each question's context of each kind.
        seed: Random seed of the landmarks.
    """
    seen = np.concatenate(blocks, axis=1)
    mean, spread = seen.mean(axis=0, dtype=np.float64), seen.std(axis=0, dtype=np.float64)
    varies = spread > 1e-6 * np.maximum(np.abs(mean), 1)
    scale = np.where(varies, 1 / np.where(varies, spread, 1), 0).astype(np.float32)
    weight = np.concatenate([np.full(block.shape[1], block.shape[1] ** -0.5, np.float32) for block in blocks])
    chosen = np.sort(np.random.default_rng(seed).permutation(len(seen))[:_LANDMARKS])
    standard = np.clip((seen[chosen] - mean.astype(np.float32)) * scale, -_FARTHEST, _FARTHEST) * weight
    # Two independent draws of a standardised block are 2 apart, squared.
    distances = np.sqrt([2 * len(blocks), 2 * (len(blocks) + contexts.shape[1])])
    return Features(
        mean.astype(np.float32), scale, weight, standard, contexts[chosen], (_WIDTH * distances).astype(np.float32)
    )
