"""Names on a plot: each can be read, and is seen to belong to its point."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leeroo.reports.label_places import place_labels

Array = npt.NDArray[np.float64]
FRAME = np.array([0.0, 0.0, 640.0, 400.0])
NO_CURVE = np.empty((0, 2))


def boxes(points: Array, sizes: Array, curves: Array = NO_CURVE) -> Array:
    """Left, bottom, right and top of each label, [n, 4]."""
    corners, _ = place_labels(points, sizes, FRAME, curves)
    return np.concatenate([corners, corners + sizes], axis=1)


def overlaps(found: Array) -> int:
    """How many pairs of labels lie on each other."""
    low, high = found[:, None, :2], found[:, None, 2:]
    both = ((low < found[:, 2:]) & (found[:, :2] < high)).all(axis=2)
    return int(np.triu(both, 1).sum())


def gaps(points: Array, found: Array) -> Array:
    """From each label to each point, [labels, points]."""
    near = np.clip(points, found[:, None, :2], found[:, None, 2:])
    return np.asarray(np.linalg.norm(points - near, axis=2))


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=5, deadline=None)
def test_labels_of_many_points_do_not_cover_anything(seed: int) -> None:
    """Twenty names in random places lie on no other name and on no point, within the frame."""
    random = np.random.default_rng(seed)
    points = random.uniform([30, 30], [610, 370], (20, 2))
    sizes = np.column_stack([random.uniform(20, 80, 20), np.full(20, 9)])
    found = boxes(points, sizes)
    assert overlaps(found) == 0
    assert (gaps(points, found) > 2).all()
    assert (found[:, :2] >= FRAME[:2]).all()
    assert (found[:, 2:] <= FRAME[2:]).all()


def test_a_lone_point_has_its_name_beside_it() -> None:
    """With nothing in the way the name is next to its point, and so is the end of a line to it."""
    points, sizes = np.array([[300.0, 200.0]]), np.array([[50.0, 9.0]])
    corners, ends = place_labels(points, sizes, FRAME, NO_CURVE)
    assert gaps(points, np.concatenate([corners, corners + sizes], axis=1))[0, 0] <= 8
    assert np.hypot(*(ends[0] - points[0])) <= 8


def test_a_name_turns_away_from_the_frame() -> None:
    """At the right border it stands to the left of its point, or above or below."""
    found = boxes(np.array([[636.0, 200.0]]), np.array([[80.0, 9.0]]))
    assert found[0, 2] <= 640


def test_a_name_does_not_lie_on_a_curve() -> None:
    """A curve through a point leaves its name free on one side."""
    curve = np.array([(x, 200.0) for x in range(0, 640, 4)])
    found = boxes(np.array([[300.0, 200.0]]), np.array([[80.0, 9.0]]), curve)
    assert not ((found[0, 1] < 200) & (found[0, 3] > 200))


def test_a_crowd_is_spread_out() -> None:
    """Of four points on one spot every name can be read, and its line ends on it."""
    points = np.array([[100.0, 200.0], [100, 201], [100, 202], [100, 203]])
    sizes = np.array([[90.0, 9.0]] * 4)
    corners, ends = place_labels(points, sizes, FRAME, NO_CURVE)
    found = np.concatenate([corners, corners + sizes], axis=1)
    assert overlaps(found) == 0
    assert ends == pytest.approx(np.clip(points, found[:, :2], found[:, 2:]))


def test_the_same_points_are_labelled_the_same_way() -> None:
    """Nothing depends on chance."""
    random = np.random.default_rng(3)
    points, sizes = random.uniform([30, 30], [610, 370], (8, 2)), np.array([[60.0, 9.0]] * 8)
    assert (boxes(points, sizes) == boxes(points, sizes)).all()
