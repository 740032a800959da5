"""Drift of one expert: found when it is there, with where it began, and hardly ever when it is not."""

from __future__ import annotations

import numpy as np
import pytest

from leeroo.engine.orchestrator.analysis.drift import LEAST, find_drift


def _history(seed: int, *parts: tuple[int, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return predictions and scores of parts: number of outcomes, prediction, and the share that is right."""
    draw = np.random.default_rng(seed)
    predicted = np.concatenate([np.full(n, p) for n, p, _ in parts])
    right = np.concatenate([draw.random(n) < share for n, _, share in parts])
    return predicted, right.astype(float)


def test_a_fall_is_found_with_its_beginning() -> None:
    """Nearly every history reports the fall near where it happened, with its size."""
    found = [find_drift(*_history(seed, (200, 0.8, 0.8), (60, 0.8, 0.4))) for seed in range(50)]
    found_drift = [drift for drift in found if drift is not None]
    assert len(found_drift) >= 44
    assert np.median([drift.since for drift in found_drift]) == pytest.approx(200, abs=5)
    assert np.median([drift.shift for drift in found_drift]) == pytest.approx(-0.4, abs=0.08)
    assert all(drift.n == 260 - drift.since and drift.z < 0 for drift in found_drift)


def test_a_rise_is_found_too() -> None:
    """An expert that has become better should be learned anew as well."""
    drift = find_drift(*_history(1, (200, 0.4, 0.4), (80, 0.4, 0.9)))
    assert drift is not None
    assert drift.shift > 0.3


def test_chance_is_no_drift() -> None:
    """Hardly any history without a change has one."""
    found = [find_drift(*_history(seed, (300, 0.7, 0.7))) for seed in range(200)]
    assert sum(drift is not None for drift in found) <= 4


@pytest.mark.parametrize("rate", [0.5, 0.95])
def test_a_long_life_has_no_more_false_alarms(rate: float) -> None:
    """At most 5 in 100 experts ever have a false alarm in 10,000 outcomes, tested again and again."""
    lives = [_history(seed, (10_000, rate, rate)) for seed in range(60)]
    looks = [*range(100, 1000, 100), *range(1000, 10_001, 500)]
    alarms = [any(find_drift(predicted[:n], scores[:n]) for n in looks) for predicted, scores in lives]
    assert sum(alarms) <= 3


def test_a_router_that_was_wrong_all_along_is_no_drift() -> None:
    """Outcomes that return to the prediction, as after learning anew, are no drift either."""
    assert find_drift(*_history(2, (300, 0.9, 0.5))) is None
    assert find_drift(*_history(3, (150, 0.9, 0.4), (150, 0.4, 0.4))) is None


def test_too_few_outcomes_give_no_drift() -> None:
    """With too few outcomes on a side for a mean there is no drift, however clear they look."""
    assert find_drift([], []) is None
    assert find_drift([1.0] * 100 + [1.0] * (LEAST - 5), [1.0] * 100 + [0.0] * (LEAST - 5)) is not None
    assert find_drift([1.0] * (2 * LEAST - 1), [1.0] * LEAST + [0.0] * (LEAST - 1)) is None
    assert find_drift([0.5] * 200, [0.5] * 200) is None
