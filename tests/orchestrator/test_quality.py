"""Learning probabilities of success from vectors whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from leeroo.engine.orchestrator.calibration import calibration_error, log_loss, platt
from leeroo.engine.orchestrator.heads import Float32s, sigmoid
from leeroo.engine.orchestrator.quality import Lessons, Quality, learn_quality


def lessons(n: int, experts: int, own: float = 0.5, seed: int = 0) -> tuple[Lessons, Float32s]:
    """Texts whose log-odds are linear in their vectors, mostly alike for all experts; and their probabilities."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(n, 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    truth = rng.normal(size=(16, 1)) * 4 + own * rng.normal(size=(16, experts)) * 4
    probabilities = sigmoid((vectors @ truth + 0.3).astype(np.float32))
    scores = (rng.random((n, experts)) < probabilities).astype(np.float32)
    return Lessons(vectors, scores, np.ones_like(scores), np.arange(n) % 5), probabilities


def predicted(quality: Quality, vectors: Float32s) -> Float32s:
    """Probabilities by the learned heads."""
    return sigmoid(vectors @ quality.weight + quality.bias)


def learn(given: Lessons) -> Quality:
    """What is tested here."""
    return learn_quality(given, lambda line: None)


def test_the_truth_is_found_again() -> None:
    """From enough outcomes the probabilities of unseen texts are learned, and are right on average."""
    all_, truth = lessons(8000, 3)
    seen = np.arange(8000) < 6000
    quality = learn(all_.where(seen))
    guess = predicted(quality, all_.vectors[~seen])
    assert np.abs(guess - truth[~seen]).mean() < 0.03
    for j, summary in enumerate(quality.summaries):
        assert summary.learned
        assert summary.ece < 0.03
        assert guess[:, j].mean() == pytest.approx(truth[~seen, j].mean(), abs=0.02)
        # What cross-validation promised holds on texts that were not there.
        held = log_loss(guess[:, j], all_.scores[~seen, j], np.ones(2000))
        assert held == pytest.approx(summary.log_loss, abs=0.03)


def test_experts_help_each_other() -> None:
    """An expert seen on 60 texts is predicted better beside others that saw thousands than alone."""
    all_, truth = lessons(4000, 6, own=0.2)
    weights = all_.weights.copy()
    weights[60:, 0] = 0
    together = Lessons(all_.vectors, all_.scores * weights, weights, all_.folds)
    alone = Lessons(all_.vectors[:60], all_.scores[:60, :1], all_.weights[:60, :1], all_.folds[:60])
    error = [np.abs(predicted(learn(given), all_.vectors)[:, 0] - truth[:, 0]).mean() for given in (together, alone)]
    assert error[0] < 0.85 * error[1]


def test_what_is_not_recorded_does_not_count() -> None:
    """Scores without weight change nothing."""
    given, _ = lessons(400, 2)
    weights = given.weights.copy()
    weights[100:300, 1] = 0
    plain = Lessons(given.vectors, given.scores * (weights > 0), weights, given.folds)
    noisy = Lessons(given.vectors, np.where(weights > 0, given.scores, 1), weights, given.folds)
    assert np.abs(learn(plain).weight - learn(noisy).weight).max() < 1e-3


def test_noise_is_not_learned() -> None:
    """Where texts say nothing about success, the mean is predicted for all."""
    given, _ = lessons(400, 1)
    shuffled = Lessons(given.vectors, np.random.default_rng(3).permutation(given.scores), given.weights, given.folds)
    quality = learn(shuffled)
    assert np.ptp(predicted(quality, given.vectors)) < 0.2
    assert quality.summaries[0].log_loss <= quality.summaries[0].rate_log_loss


@pytest.mark.parametrize(("wins", "asked"), [(0, 100), (100, 100), (3, 5), (0, 1)])
def test_too_little_to_learn_from_is_a_shrunk_mean(wins: int, asked: int) -> None:
    """One class only, or few questions: (wins + 1) / (asked + 2) for every text, and finite."""
    given, _ = lessons(100, 2)
    scores, weights = given.scores.copy(), given.weights.copy()
    scores[:, 1], weights[:, 1] = np.arange(100) < wins, np.arange(100) < asked
    quality = learn(Lessons(given.vectors, scores, weights, given.folds))
    assert predicted(quality, given.vectors)[:, 1] == pytest.approx(np.full(100, (wins + 1) / (asked + 2)), abs=1e-5)
    assert not quality.summaries[1].learned
    assert quality.summaries[0].learned


def test_platt_undoes_a_wrong_scale() -> None:
    """Logits that are too steep and shifted are put right, from fractional scores too."""
    logits = np.random.default_rng(0).normal(size=5000).astype(np.float32) * 2
    truth = sigmoid(0.5 * logits - 1)
    slope, offset = platt(logits, truth, np.ones(5000))
    assert slope == pytest.approx(0.5, abs=0.01)
    assert offset == pytest.approx(-1, abs=0.02)


def test_calibration_error_is_the_gap_within_bins() -> None:
    """Right probabilities have none; always saying 0.9 where 0.6 is true has 0.3; weights count rows."""
    p, outcomes = np.repeat([0.2, 0.8], 500), np.r_[np.arange(500) < 100, np.arange(500) < 400].astype(float)
    assert calibration_error(p, outcomes, np.ones(1000)) == pytest.approx(0, abs=1e-9)
    assert calibration_error(np.full(10, 0.9), (np.arange(10) < 6) * 1.0, np.ones(10)) == pytest.approx(0.3)
    assert calibration_error(np.array([1.0, 0.5]), np.array([0.0, 0.5]), np.array([1.0, 3.0])) == pytest.approx(0.25)
