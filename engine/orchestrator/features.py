"""Features: from what is seen of a question to what the heads are linear in.

What is seen are blocks of numbers: the vectors of one or several encoders, and the question's surface. Each number
is standardised, and each block counts alike, whatever its width. The features proper are the question's likeness to
some of the training questions, its landmarks, under a Gaussian kernel: heads that are linear in them are a kernel
machine (Williams & Seeger, "Using the Nystroem method to speed up kernel machines", 2001).

A context - the subject a question belongs to, its category - moves a question away from the landmarks of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from leeroo.engine.arrays import Float32s, Int64s

# Landmarks: with twice as many the held-out loss falls by a thousandth, and learning takes four times as long.
_LANDMARKS = 1500
# A number counts as no farther than so many standard deviations from its mean: what is unlike all that was learned
# should not be unlike it because of one number.
_FARTHEST = 3.0
# Of the Gaussian, in units of the root mean squared distance between two questions.
_WIDTH = 1.0
# Rows of the kernel made at once.
_CHUNK = 4096


@dataclass(frozen=True)
class Features:
    """How features are made; arrays float32 but for the contexts.

    Attributes:
        mean, scale: [d], what is subtracted from each number seen, and what it is then multiplied by.
        weight: [d], what a standardised number counts in its block.
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

    def arrays(self) -> dict[str, npt.NDArray[np.generic]]:
        """All the numbers, by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def likeness(self, seen: Float32s, contexts: Int64s | None = None) -> Float32s:
        """To each landmark, [n, m], of questions by what is seen of them [n, d], and by contexts [n, c] if given."""
        parts = [slice(start, start + _CHUNK) for start in range(0, max(len(seen), 1), _CHUNK)]
        made = []
        for part in parts:
            standard = seen[part] - self.mean
            standard *= self.scale
            np.clip(standard, -_FARTHEST, _FARTHEST, out=standard)
            standard *= self.weight
            made.append(self._kernel(standard, None if contexts is None else contexts[part]))
        return made[0] if len(made) == 1 else np.concatenate(made)

    def whitening(self, *, in_context: bool = False) -> Float32s:
        """What likeness is multiplied by, [m, k], so that products of the features are the kernel's values again."""
        gram = self._kernel(self.landmarks, self.contexts if in_context else None)
        values, vectors = np.linalg.eigh(gram.astype(np.float64))
        kept = values > 1e-6 * values[-1]
        return np.asarray(vectors[:, kept] / np.sqrt(values[kept]), np.float32)

    def _kernel(self, standard: Float32s, contexts: Int64s | None) -> Float32s:
        width = self.width[0 if contexts is None else 1]
        # In place: passing over so many numbers takes as long as computing them.
        distance: Float32s = standard @ (-2 * self.landmarks.T)
        distance += np.square(standard).sum(axis=1)[:, None]
        distance += np.square(self.landmarks).sum(axis=1)
        if contexts is not None:
            for ours, theirs in zip(contexts.T, self.contexts.T, strict=True):
                distance += 2 * (ours[:, None] != theirs)  # as far as two questions are in a block, on average
        np.maximum(distance, 0, out=distance)
        distance *= -1 / (2 * width**2)
        np.exp(distance, out=distance)
        return distance


def fit_features(blocks: Sequence[Float32s], contexts: Int64s, seed: int) -> Features:
    """Standardise blocks [n, d_i] and choose landmarks among the questions.

    Args:
        blocks: What is seen of n questions.
        contexts: [n, c], the number of each question's context of each kind.
        seed: Decides the landmarks.
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
