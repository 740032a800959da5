"""The features of a question: its likeness to landmarks, as the formula says."""

from __future__ import annotations

import numpy as np
import pytest

from leeroo.engine.orchestrator.features import fit_features


@pytest.mark.parametrize("in_context", [False, True])
def test_likeness_is_the_gaussian_of_the_distance(in_context: bool) -> None:
    """Values are those of the formula in float64, whatever the number of rows, and contexts move questions apart."""
    draw = np.random.default_rng(0)
    blocks = [draw.normal(3, 2, (700, 40)).astype(np.float32), draw.random((700, 5), np.float32)]
    contexts = draw.integers(0, 3, (700, 2))
    features = fit_features(blocks, contexts, seed=0)
    seen = np.concatenate(blocks, axis=1)
    seen[0] = 1e6  # far outside
    found = features.likeness(seen, contexts if in_context else None)
    standard = np.clip((seen.astype(np.float64) - features.mean) * features.scale, -3, 3) * features.weight
    squared = np.square(standard[:, None] - features.landmarks.astype(np.float64)).sum(axis=2)
    if in_context:
        squared += 2 * (contexts[:, None] != features.contexts).sum(axis=2)
    right = np.exp(-squared / (2 * float(features.width[int(in_context)]) ** 2))
    assert found.dtype == np.float32
    assert np.abs(found - right).max() < 2e-6
    assert right.min() < 0.5
    assert right.max() == pytest.approx(1, abs=1e-5)
