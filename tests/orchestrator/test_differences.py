"""Predicted differences between experts count as far as outcomes confirm them."""

from __future__ import annotations

import numpy as np
import pytest

from leeroo.engine.arrays import Float32s
from leeroo.engine.orchestrator.statistics import sigmoid
from leeroo.engine.orchestrator.training import quality as quality_module
from leeroo.engine.orchestrator.training.differences import fit_shrinkage
from leeroo.engine.orchestrator.training.quality import learn_quality


def near_equal(n: int, seed: int, specialist: float = 0.0) -> tuple[Float32s, Float32s, Float32s]:
    """Return features [n, 60], outcomes of eight experts, and their probabilities.

    What makes a question hard is the same for all, rates differ by a few points, and features say nothing else, but
    for the last expert if it is a specialist. Half of the luck is the question's.
    """
    rng = np.random.default_rng(seed)
    features = (rng.normal(size=(n, 60)) / 60**0.5).astype(np.float32)
    log_odds = 3 * features[:, :1] + np.linspace(0, 0.3, 8)
    log_odds[:, -1] += specialist * features[:, 1]
    probabilities = sigmoid(log_odds.astype(np.float32))
    luck = np.where(rng.random((n, 8)) < 0.5, rng.random((n, 1)), rng.random((n, 8)))
    return features, (luck < probabilities).astype(np.float32), probabilities


def gain_over_best(questions: int, specialist: float = 0.0) -> float:
    """Return what choosing the best prediction brings over the expert of the best training rate, mean of ten draws."""
    gains = []
    for seed in range(10):
        features, scores, truth = near_equal(questions + 2000, seed, specialist)
        quality = learn_quality(features[:questions], scores[:questions], np.arange(questions))
        chosen = (features[questions:] @ quality.weight + quality.bias).argmax(axis=1)
        best = int(scores[:questions].mean(axis=0).argmax())
        gains.append(truth[questions:][np.arange(2000), chosen].mean() - truth[questions:, best].mean())
    return float(np.mean(gains))


def test_choosing_among_near_equal_experts_does_not_lose_to_the_best() -> None:
    """Where questions do not tell experts apart, a choice is as good as the best rate, within 0.6 points."""
    assert gain_over_best(150) > -0.006


def test_differences_that_are_noise_are_not_predicted() -> None:
    """In a larger table, predictions for near-equal experts differ by nearly the same on all questions."""
    spreads = []
    for seed in range(6):
        features, scores, _ = near_equal(1500, seed)
        quality = learn_quality(features[:1000], scores[:1000], np.arange(1000))
        expected = sigmoid(features[1000:] @ quality.weight + quality.bias)
        spreads.append((expected - expected.mean(axis=1, keepdims=True)).std(axis=0).mean())
    assert np.mean(spreads) < 0.007


def test_a_specialist_is_still_found() -> None:
    """Where questions do tell one expert from the others, choosing by question brings points."""
    assert gain_over_best(1000, specialist=6.0) > 0.04


def learned(n: int = 3000) -> tuple[Float32s, Float32s]:
    """Return predicted log-odds of five experts, and outcomes that confirm their widest difference alone."""
    rng = np.random.default_rng(0)
    common, sure = rng.normal(size=(n, 1)), rng.normal(size=(n, 1)) * np.array([2, -0.5, -0.5, -0.5, -0.5])
    outcomes = (rng.random((n, 5)) < sigmoid((common + sure).astype(np.float32))).astype(np.float32)
    return (common + sure + 0.4 * rng.normal(size=(n, 5))).astype(np.float32), outcomes


def test_confirmed_differences_stay_and_others_go() -> None:
    """The direction that outcomes confirm keeps nearly all of its size, and noise next to nothing."""
    slopes = fit_shrinkage(*learned(), doubt=1).slopes
    assert slopes[0] > 0.85
    assert slopes[1:].max() < 0.15


def test_what_is_common_and_the_rates_stay() -> None:
    """Shrinking moves neither the mean prediction for an expert, nor a question's mean over the experts but by a shift."""
    log_odds, outcomes = learned()
    shrinkage = fit_shrinkage(log_odds, outcomes, doubt=1)
    shrunk = log_odds @ shrinkage.turn + shrinkage.shift
    assert sigmoid(shrunk).mean(axis=0) == pytest.approx(sigmoid(log_odds).mean(axis=0), abs=1e-5)
    assert np.ptp(shrunk.mean(axis=1) - log_odds.mean(axis=1)) < 1e-4


def test_without_differences_nothing_breaks() -> None:
    """Experts with the same predictions keep them."""
    same = np.repeat(np.random.default_rng(0).normal(size=(50, 1)), 3, axis=1).astype(np.float32)
    shrinkage = fit_shrinkage(same, np.ones((50, 3), np.float32), doubt=1)
    assert same @ shrinkage.turn + shrinkage.shift == pytest.approx(same, abs=1e-4)


def test_an_outcome_is_not_seen_by_its_own_prediction_through_other_experts() -> None:
    """An expert that is learned from sixty others, all of them noise, is not held to be predictable."""
    errors = []
    for seed in range(10):
        rng = np.random.default_rng(seed)
        features, others = rng.normal(size=(300, 4)).astype(np.float32), rng.normal(size=(300, 60)).astype(np.float32)
        scores = np.where(np.arange(300) < 100, rng.integers(2, size=300), np.nan).astype(np.float32)[:, None]
        nothing = np.zeros((4, 60), np.float32)
        earlier = quality_module._LinearFit(nothing, np.eye(60, dtype=np.float32), nothing[0], others)
        line = quality_module._learn(features, scores, np.arange(300), [earlier])
        errors.append(np.square(line.held_out[:100] - scores[:100]).mean() / scores[:100].var())
    assert np.mean(errors) > 0.92
