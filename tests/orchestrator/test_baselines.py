"""The simple predictors that a router is measured against, held against values by hand and against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from leeroo.engine.arrays import Float32s, Float64s
from leeroo.engine.orchestrator.analysis.baselines import best_neighbours, neighbour_means, subject_means

NAN = np.nan


def cosines(vectors: Float32s, to: Float32s) -> Float64s:
    """Return cosine similarities [m, n]."""
    long = [np.linalg.norm(rows, axis=1, keepdims=True) for rows in (to, vectors)]
    return np.asarray((to / long[0]) @ (vectors / long[1]).T, np.float64)


def test_subjects_have_their_means_shrunk_towards_their_category() -> None:
    """A category counts ten rows of the overall mean too, and a subject ten of its category's mean."""
    values = np.array([[1.0]] * 10 + [[0.0]] * 10)
    subjects = ["algebra"] * 10 + ["poetry"] * 10
    categories = ["stem"] * 10 + ["arts"] * 10
    (algebra,), (unseen,), (lost,) = subject_means(
        values, subjects, categories, ["algebra", "topology", "topology"], ["stem", "stem", "sports"]
    )
    stem = (10 + 10 * 0.5) / 20
    assert algebra == pytest.approx((10 + 10 * stem) / 20)
    assert unseen == pytest.approx(stem)
    assert lost == pytest.approx(0.5)


def test_questions_of_no_subject_have_their_category() -> None:
    """A question without a subject has the mean of its category; those without a category are one of their own."""
    values = np.array([[1.0], [1.0], [0.0], [0.0]])
    by_category = subject_means(values, [None] * 4, ["a", "a", "b", "b"], [None, None], ["a", "b"])
    assert by_category.ravel() == pytest.approx([(2 + 5) / 12, 5 / 12])
    without = subject_means(values, ["x", "x", "y", "y"], [None] * 4, ["x", "y", None], [None] * 3)
    assert without.ravel() == pytest.approx([(2 + 5) / 12, 5 / 12, 0.5])


def test_unrecorded_outcomes_do_not_count() -> None:
    """An expert's means are of its own outcomes; one without any is not predicted."""
    values = np.array([[1.0, 1.0, NAN], [1.0, NAN, NAN], [0.0, NAN, NAN]])
    found = subject_means(values, ["x"] * 3, ["c"] * 3, ["x"], ["c"])
    assert found[0, 0] == pytest.approx(2 / 3)
    assert found[0, 1] == pytest.approx(1)
    assert np.isnan(found[0, 2])


def test_neighbours_have_the_greatest_cosine() -> None:
    """Predictions are the means over the k nearest, as a plain loop finds them, whatever the length of the vectors."""
    random = np.random.default_rng(0)
    vectors = (random.normal(size=(300, 8)) * random.uniform(0.5, 2, size=(300, 1))).astype(np.float32)
    new = random.normal(size=(270, 8)).astype(np.float32)
    values = random.random((300, 3))
    values[random.random((300, 3)) < 0.3] = NAN
    found = neighbour_means(values, vectors, new, 7)
    for row, similar in enumerate(cosines(vectors, new)):
        assert found[row] == pytest.approx(np.nanmean(values[np.argsort(-similar)[:7]], axis=0), nan_ok=True)


def test_an_expert_without_neighbours_outcomes_has_its_mean() -> None:
    """Where none of the nearest questions has an outcome of an expert, that expert's mean is predicted."""
    vectors = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], np.float32)
    values = np.array([[NAN, NAN], [NAN, NAN], [0.2, NAN], [0.6, NAN]])
    found = neighbour_means(values, vectors, np.array([[1, 0]], np.float32), 2)
    assert found[0, 0] == pytest.approx(0.4)
    assert np.isnan(found[0, 1])


@pytest.mark.parametrize("noise", [0.1, 1.0])
def test_the_number_of_neighbours_has_the_least_error(noise: float) -> None:
    """Leaving each question out in a plain loop finds the same number, among those that there are questions for."""
    random = np.random.default_rng(1)
    vectors = random.normal(size=(90, 4)).astype(np.float32)
    values = (vectors[:, :2] + noise * random.normal(size=(90, 2))).astype(np.float64)
    similar = cosines(vectors, vectors)
    np.fill_diagonal(similar, -np.inf)
    order = np.argsort(-similar, axis=1)
    errors = {k: np.square(values[order[:, :k]].mean(axis=1) - values).sum() for k in (5, 10, 20, 40, 80)}
    assert best_neighbours(values, vectors) == min(errors, key=lambda k: errors[k])


def test_a_question_is_not_its_own_neighbour() -> None:
    """Duplicates with opposite outcomes do not help each other: many neighbours predict them better than few."""
    random = np.random.default_rng(2)
    vectors = np.repeat(random.normal(size=(60, 6)), 2, axis=0).astype(np.float32)
    values = np.tile([[0.0], [1.0]], (60, 1))
    assert best_neighbours(values, vectors) >= 40
