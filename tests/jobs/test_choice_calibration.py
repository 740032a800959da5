"""The probabilities of choices, and the correction of a model that leans to some of them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from leeroo.engine.jobs.choice_calibration import calibrate_choices, probabilities


def _said(prior: list[float], skill: float, lean: float, rows: int = 600) -> tuple[np.ndarray, np.ndarray]:
    """Simulate a model: the right choice of each row, and the probabilities it gives; it leans to the first choice."""
    random = np.random.default_rng(0)
    right = random.choice(len(prior), rows, p=prior)
    logits = random.normal(0, 1, (rows, len(prior)))
    logits[np.arange(rows), right] += skill
    logits[:, 0] += lean
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return right, weights / weights.sum(axis=1, keepdims=True)


def _macro_f1(right: np.ndarray, chances: np.ndarray) -> float:
    said = chances.argmax(axis=1)
    each = [2 * ((right == i) & (said == i)).sum() / ((right == i).sum() + (said == i).sum()) for i in np.unique(right)]
    return float(np.mean(each))


def test_a_biased_model_is_corrected_on_an_even_table() -> None:
    """A model that prefers the first choice nearly always still distinguishes the others."""
    right, chances = _said([0.25] * 4, skill=2, lean=5)
    assert _macro_f1(right, chances) < 0.2
    assert _macro_f1(right, calibrate_choices(chances)) > 2 * _macro_f1(right, chances)


def test_an_unbiased_model_keeps_a_skewed_table() -> None:
    """Where one label is frequent because it is, dividing by the mean would spoil the answers."""
    right, chances = _said([0.8, 0.1, 0.1], skill=4, lean=0)
    spoiled = chances / chances.mean(axis=0)
    assert _macro_f1(right, calibrate_choices(chances)) > max(0.9, _macro_f1(right, spoiled) + 0.1)


@pytest.mark.parametrize(
    "logs",
    [None, [], [0.0], [-np.inf, -np.inf], [np.nan, np.nan], [np.inf, 0.0][:1], [1e308, -1e308, 0.0]],
)
def test_missing_log_probabilities_are_0(logs: list[float] | None) -> None:
    """A row without log probabilities gets 0 throughout, without a warning, and the other rows keep theirs."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = probabilities([logs, [0.0, 0.0], [-5000.0, -5000.0], [np.nan, 1.0]], 2)
    assert found.tolist() == [[0, 0], [0.5, 0.5], [0.5, 0.5], [0, 1]]


def test_odd_tables_cause_no_division_by_zero() -> None:
    """Choices that are never named, equal rows, and few or no rows are calibrated without a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        certain = np.tile([1.0, 0.0, 0.0], (50, 1))
        assert calibrate_choices(certain).tolist() == certain.tolist()
        mixed = np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0]] * 30)
        assert np.isfinite(calibrate_choices(mixed)).all()
        assert calibrate_choices(np.zeros((0, 3))).shape == (0, 3)
        assert calibrate_choices(mixed[:2]).tolist() == mixed[:2].tolist()
