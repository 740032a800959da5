"""How right predicted scores are: the calibration error of a router, and the bins of its picture."""

from __future__ import annotations

import numpy as np
import pytest

from leeroo.engine.orchestrator.analysis.frontier import expected_calibration_error, reliability


def test_scores_that_are_right_on_average_have_no_error() -> None:
    """Where a quarter is predicted and one in four is right, the error is 0."""
    assert expected_calibration_error(np.full((4, 1), 0.25), np.array([[1.0], [0], [0], [0]])) == pytest.approx(0)


def test_the_error_by_hand() -> None:
    """Bins count by their size, over- and underrating do not cancel, and experts count alike."""
    expected = np.array([[0.95, 0.5], [0.95, 0.5], [0.95, 0.5], [0.15, 0.5]])
    scores = np.array([[1.0, 1], [1, 1], [0, 0], [1, 0]])
    # First expert: 3/4 x |0.95 - 2/3| + 1/4 x |0.15 - 1|; second: 0.
    first = 3 / 4 * (0.95 - 2 / 3) + 1 / 4 * 0.85
    assert expected_calibration_error(expected, scores) == pytest.approx(first / 2)


def test_missing_predictions_are_no_errors() -> None:
    """Questions without a prediction, and experts without any, are left out."""
    expected = np.array([[0.35, np.nan], [np.nan, np.nan]])
    assert expected_calibration_error(expected, np.array([[1.0, 1], [0, 0]])) == pytest.approx(0.65)


def test_the_bins_by_hand() -> None:
    """Each bin has its mean prediction, its mean score and its count; a sure prediction is in the last, none is empty."""
    expected, recorded, count = reliability(np.array([0.02, 0.04, 0.55, 1.0, 0.95]), np.array([0.0, 1, 1, 1, 0]))
    assert expected == pytest.approx([0.03, 0.55, 0.975])
    assert recorded == pytest.approx([0.5, 1, 0.5])
    assert count.tolist() == [2, 1, 2]
