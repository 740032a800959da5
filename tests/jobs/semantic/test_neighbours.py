"""The nearest vectors are those that comparing every pair finds, whatever the blocks."""

from __future__ import annotations

import numpy as np
import pytest

from leeroo.engine.jobs.semantic import neighbours
from leeroo.engine.jobs.semantic.neighbours import candidates, duplicates, join_all, nearest, unit


def _vectors(n: int, seed: int) -> np.ndarray:
    return unit(np.random.default_rng(seed).normal(size=(n, 16)).astype(np.float32))


@pytest.fixture(params=[2**24, 64])
def blocks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compute all in one block, or in many small ones."""
    monkeypatch.setattr(neighbours, "_BLOCK", request.param)
    monkeypatch.setattr(neighbours, "_COLUMNS", min(request.param, 7) if request.param == 64 else 2**16)


def test_the_nearest_are_those_of_a_full_comparison(blocks: None) -> None:
    """For each row, its k most similar ones come in falling order."""
    left, right = _vectors(23, 1), _vectors(41, 2)
    found = join_all(nearest(left, right, 5))
    whole = left @ right.T
    assert found.left.tolist() == np.repeat(np.arange(23), 5).tolist()
    assert found.right.reshape(23, 5).tolist() == np.argsort(-whole, axis=1)[:, :5].tolist()
    assert found.similarity == pytest.approx(whole[found.left, found.right], abs=1e-6)


def test_candidates_are_neighbours_of_either_side(blocks: None) -> None:
    """A pair counts once, and every row of both sides has its own k neighbours."""
    left, right = _vectors(11, 3), _vectors(29, 4)
    found = candidates(left, right, 3)
    whole = left @ right.T
    wanted = {(i, int(j)) for i in range(11) for j in np.argsort(-whole[i])[:3]}
    wanted |= {(int(i), j) for j in range(29) for i in np.argsort(-whole[:, j])[:3]}
    assert sorted(zip(found.left.tolist(), found.right.tolist(), strict=True)) == sorted(wanted)


def test_more_neighbours_than_rows_are_all_rows(blocks: None) -> None:
    """Small tables have every pair as a candidate, empty ones none."""
    assert len(candidates(_vectors(3, 1), _vectors(4, 2), 10).left) == 12
    assert len(candidates(_vectors(3, 1), _vectors(0, 2), 10).left) == 0


def test_duplicates_are_pairs_of_one_table(blocks: None) -> None:
    """No row is its own duplicate, each pair stands once, and all are similar enough."""
    vectors = np.vstack([_vectors(20, 5), _vectors(20, 5)[:4]])
    found = duplicates(vectors, 2, 0.9)
    assert [(i, i + 20) for i in range(4)] == list(zip(found.left.tolist(), found.right.tolist(), strict=True))
    assert (found.similarity > 0.9).all()


def test_rows_without_a_vector_are_near_nothing() -> None:
    """Zeros keep no length, and have no similarity."""
    vectors = np.vstack([_vectors(3, 6), np.zeros((1, 16), np.float32)])
    assert np.isfinite(unit(vectors)).all()
    assert 3 not in duplicates(unit(vectors), 3, 0.1).right.tolist()
