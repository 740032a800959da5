"""APGR and CPT of choosing between a weak and a strong expert, by RouteLLM's definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from leeroo.engine.arrays import Float64s
from leeroo.engine.orchestrator.analysis.frontier import pair_measures


def by_thresholds(gain: Float64s, weak: Float64s, strong: Float64s) -> tuple[float, list[float]]:
    """Return APGR and CPT as RouteLLM's evaluation reaches them: a threshold at each tenth of the predicted gains."""
    thresholds = np.quantile(gain, np.linspace(0, 1, 11))
    sent = [gain >= threshold for threshold in thresholds[:-1]] + [gain > thresholds[-1]]
    shares = np.array([strong_sent.mean() for strong_sent in sent])[::-1]
    accuracies = np.array([np.where(strong_sent, strong, weak).mean() for strong_sent in sent])[::-1]
    low, high = weak.mean(), strong.mean()
    area = np.trapezoid(accuracies, shares)
    wanted = [low + part * (high - low) for part in (0.5, 0.8)]
    assume(min(np.abs(accuracies - value).min() for value in wanted) > 1e-6)  # on a level stretch any share will do
    return float((area - low) / (high - low)), [float(np.interp(value, accuracies, shares)) for value in wanted]


@given(st.integers(0, 2**32 - 1), st.floats(0, 3))
@settings(max_examples=200, deadline=None)
def test_the_measures_are_routellms(seed: int, sense: float) -> None:
    """On 1,000 questions on which strong is never worse, thresholds at the tenths give the same APGR and CPT."""
    random = np.random.default_rng(seed)
    weak = (random.random(1000) < 0.6).astype(np.float64)
    strong = np.maximum(weak, random.random(1000) < 0.5)
    gain = sense * (strong - weak) + random.normal(size=1000)
    apgr, (cpt50, cpt80) = by_thresholds(gain, weak, strong)
    found = pair_measures(gain, weak, strong)
    assert found is not None
    assert found.apgr == pytest.approx(apgr, abs=1e-9)
    assert (found.cpt50, found.cpt80) == pytest.approx((cpt50, cpt80), abs=1e-9)


def test_the_measures_by_hand() -> None:
    """Strong is better on five questions of ten, and those are sent first: all is recovered with half of the calls."""
    found = pair_measures(np.arange(10.0)[::-1], np.zeros(10), np.array([1.0] * 5 + [0.0] * 5))
    assert found is not None
    # The trapezes under 0, 0.2, 0.4, 0.6, 0.8, 1, 1, ... at every tenth.
    assert found.apgr == pytest.approx(0.75)
    assert (found.cpt50, found.cpt80) == pytest.approx((0.25, 0.4))


def test_chance_recovers_as_much_as_it_calls() -> None:
    """Predictions that know nothing have an APGR of a half, and need half of the calls for half of the gap."""
    random = np.random.default_rng(0)
    weak, strong, gain = random.random(20_000) < 0.5, random.random(20_000) < 0.9, random.random(20_000)
    found = pair_measures(gain, weak.astype(np.float64), strong.astype(np.float64))
    assert found is not None
    assert found.apgr == pytest.approx(0.5, abs=0.03)
    assert (found.cpt50, found.cpt80) == pytest.approx((0.5, 0.8), abs=0.04)


def test_the_worst_order_is_the_mirror_of_the_best() -> None:
    """Asking strong last where it is better recovers the rest of what asking it first does."""
    gain, weak = np.arange(10.0), np.zeros(10)
    strong = np.array([0.0] * 5 + [1.0] * 5)
    best, worst = pair_measures(gain, weak, strong), pair_measures(-gain, weak, strong)
    assert best is not None
    assert worst is not None
    assert best.apgr + worst.apgr == pytest.approx(1)


def test_the_first_share_that_recovers_enough_counts() -> None:
    """Where more calls lose some of it again, as on questions on which weak is better, CPT is the first crossing."""
    strong = np.array([1.0] * 8 + [0.0] * 2)
    weak = np.array([0.0] * 8 + [1.0] * 2)
    found = pair_measures(np.arange(10.0)[::-1], weak, strong)
    assert found is not None
    # The gap is 0.6; eight tenths of the calls recover 0.8 of it and more, the last two give some back.
    assert found.cpt50 == pytest.approx(0.3)
    assert found.apgr > 0.75


def test_there_is_no_gap_without_a_better_expert() -> None:
    """Where strong is no better than weak nothing can be recovered, and there are no measures."""
    same = np.array([1.0, 0.0])
    assert pair_measures(np.zeros(2), same, same) is None
    assert pair_measures(np.zeros(2), np.ones(2), same) is None
