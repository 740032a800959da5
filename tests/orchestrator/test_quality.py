"""Learning probabilities of success from vectors whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from leeroo.engine.arrays import Float32s
from leeroo.engine.orchestrator.statistics import calibration_error, log_loss, sigmoid
from leeroo.engine.orchestrator.training import quality as quality_module
from leeroo.engine.orchestrator.training.calibration import fit_platt
from leeroo.engine.orchestrator.training.gaussian_process import fit_gaussian_process
from leeroo.engine.orchestrator.training.quality import Quality, learn_quality


def outcomes(n: int, experts: int, own: float = 0.5, seed: int = 0) -> tuple[Float32s, Float32s, Float32s]:
    """Return features, outcomes whose log-odds are linear in them and mostly alike for all experts, and their probabilities."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 16)).astype(np.float32)
    truth = rng.normal(size=(16, 1)) + own * rng.normal(size=(16, experts))
    probabilities = sigmoid((features @ truth / 3 + 0.3).astype(np.float32))
    return features, (rng.random((n, experts)) < probabilities).astype(np.float32), probabilities


def learn(features: Float32s, scores: Float32s) -> Quality:
    """Run the code under test, each row a question of its own."""
    return learn_quality(features, scores, np.arange(len(features)))


def predicted(quality: Quality, features: Float32s) -> Float32s:
    """Return probabilities by the learned heads."""
    return sigmoid(features @ quality.weight + quality.bias)


def test_the_truth_is_found_again() -> None:
    """From enough outcomes the probabilities of unseen questions are learned, and are right on average."""
    features, scores, truth = outcomes(8000, 3)
    quality = learn(features[:6000], scores[:6000])
    guess = predicted(quality, features[6000:])
    assert np.abs(guess - truth[6000:]).mean() < 0.04
    for j, summary in enumerate(quality.summaries):
        assert summary.learned
        assert summary.ece < 0.03
        assert guess[:, j].mean() == pytest.approx(truth[6000:, j].mean(), abs=0.02)
        # What cross-validation promised holds on questions that were not there.
        held = log_loss(guess[:, j], scores[6000:, j], np.ones(2000))
        assert held == pytest.approx(summary.log_loss, abs=0.03)


def test_experts_help_each_other() -> None:
    """An expert seen on 60 questions is predicted better with others that saw thousands than alone."""
    features, scores, truth = outcomes(4000, 6, own=0.2)
    alone = learn(features[:60], scores[:60, :1])
    scores[60:, 0] = np.nan
    together = learn(features, scores)
    error = [np.abs(predicted(quality, features)[:, 0] - truth[:, 0]).mean() for quality in (together, alone)]
    assert error[0] < 0.85 * error[1]


def test_an_expert_is_added_without_learning_the_others_again() -> None:
    """From the log-odds of experts learned before, and few outcomes, a new one is learned better than alone."""
    features, scores, truth = outcomes(4000, 6, own=0.2)
    old = learn(features[60:], scores[60:, 1:])
    base = features @ old.weight + old.bias
    new = learn_quality(features[:60], scores[:60, :1], np.arange(60), base[:60])
    log_odds = features @ new.weight + base @ new.transfer + new.bias
    alone = learn(features[:60], scores[:60, :1])
    guesses = (sigmoid(log_odds.astype(np.float32)), predicted(alone, features))
    error = [np.abs(guess[:, 0] - truth[:, 0]).mean() for guess in guesses]
    assert error[0] < 0.85 * error[1]


def test_few_outcomes_do_not_single_out_questions() -> None:
    """An expert much like the others is, from 30 outcomes, predicted to be; one that is not, from 300, as it is."""
    features, scores, truth = outcomes(4000, 6, own=0.3)
    old = learn(features[300:], scores[300:, 1:])
    base = features @ old.weight + old.bias
    odd = sigmoid((-3 * features[:, 0]).astype(np.float32))
    for n, probabilities in ((30, truth[:, 0]), (300, odd)):
        errors = []
        for seed in range(8):
            won = (np.random.default_rng(seed).random((n, 1)) < probabilities[:n, None]).astype(np.float32)
            new = learn_quality(features[:n], won, np.arange(n), base[:n])
            log_odds = features @ new.weight + base @ new.transfer + new.bias
            guess = sigmoid(log_odds.astype(np.float32))[:, 0]
            errors.append(np.abs(guess - probabilities).mean())
        assert np.mean(errors) < 0.1


def test_rows_of_a_question_are_held_out_together() -> None:
    """Where each question stands there twice, its duplicate does not give it away: noise is still not learned."""
    rng = np.random.default_rng(1)
    features, noise = rng.normal(size=(300, 400)).astype(np.float32), rng.integers(2, size=(300, 1)).astype(np.float32)
    twice, scores, number = np.tile(features, (2, 1)), np.tile(noise, (2, 1)), np.tile(np.arange(300), 2)
    together = learn_quality(twice, scores, number).summaries[0]
    assert together.log_loss == pytest.approx(together.rate_log_loss, abs=0.01)
    assert learn_quality(twice, scores, np.arange(600)).summaries[0].log_loss < 0.3


def test_noise_is_not_learned() -> None:
    """Where questions say nothing about success, the mean is predicted for all."""
    features, scores, _ = outcomes(400, 1)
    quality = learn(features, np.random.default_rng(3).permutation(scores))
    assert np.ptp(predicted(quality, features)) < 0.2
    assert quality.summaries[0].log_loss <= quality.summaries[0].rate_log_loss


def test_a_small_table_is_learned_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty questions of eight experts are predicted better together than as in a large table."""
    errors: list[list[float]] = [[], []]
    for way, questions in enumerate((quality_module._QUESTIONS, 0)):
        monkeypatch.setattr(quality_module, "_QUESTIONS", questions)
        for seed in range(6):
            features, scores, truth = outcomes(1000, 8, own=0.2, seed=seed)
            features /= np.linalg.norm(features, axis=1, keepdims=True)
            guess = predicted(learn(features[:50], scores[:50]), features[50:])
            errors[way].append(float(np.abs(guess - truth[50:]).mean()))
    assert np.mean(errors[0]) < 0.99 * np.mean(errors[1])


def test_uninformative_questions_still_separate_the_experts() -> None:
    """From 25 of them, eight of nine experts alike and one better, that one is expected to be better."""
    found = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        features = (rng.normal(size=(25, 64)) / 8).astype(np.float32)
        rates = np.array([*[0.6] * 8, 0.85])
        luck = np.where(rng.random((25, 9)) < 0.5, rng.random((25, 1)), rng.random((25, 9)))  # half is the question's
        scores = (luck < rates).astype(np.float32)
        expected = predicted(learn(features, scores), features).mean(axis=0)
        assert np.ptp(expected) > 0.02
        found += int(expected.argmax() == scores.mean(axis=0).argmax())
    assert found >= 8


@pytest.mark.parametrize("won", [0.0, 1.0])
def test_one_class_only_is_a_shrunk_mean_in_a_small_table_too(won: float) -> None:
    """Learned together with others, an expert that was always right or wrong has its rate by Laplace's rule."""
    features, scores, _ = outcomes(100, 3)
    scores[:, 1] = won
    quality = learn(features, scores)
    assert predicted(quality, features)[:, 1] == pytest.approx(np.full(100, (100 * won + 1) / 102), abs=1e-5)
    assert quality.held_out[:, 1] == pytest.approx(
        np.full(100, np.log((100 * won + 1) / (100 - 100 * won + 1))), abs=1e-4
    )
    assert [summary.learned for summary in quality.summaries] == [True, False, True]
    scores[:] = won  # and where there is nothing else
    assert predicted(learn(features, scores), features) == pytest.approx(
        np.full((100, 3), (100 * won + 1) / 102), abs=1e-5
    )


@pytest.mark.parametrize(("wins", "answered"), [(0, 100), (100, 100), (3, 5), (0, 1)])
def test_too_little_to_learn_from_is_a_shrunk_mean(wins: int, answered: int) -> None:
    """With one class or few questions, predictions are (wins + 1) / (answered + 2), and finite."""
    features, scores, _ = outcomes(400, 2)
    scores[:, 1] = np.where(np.arange(400) < answered, np.arange(400) < wins, np.nan)
    quality = learn(features, scores)
    assert predicted(quality, features)[:, 1] == pytest.approx(np.full(400, (wins + 1) / (answered + 2)), abs=1e-5)
    assert not quality.summaries[1].learned
    assert quality.summaries[0].learned


def test_platt_undoes_a_wrong_scale() -> None:
    """Logits that are too steep and shifted are put right, from fractional scores too."""
    logits = np.random.default_rng(0).normal(size=5000).astype(np.float32) * 2
    truth = sigmoid(0.5 * logits - 1)
    slope, offset = fit_platt(logits, truth, np.ones(5000))
    assert slope == pytest.approx(0.5, abs=0.01)
    assert offset == pytest.approx(-1, abs=0.02)


def test_calibration_error_is_the_gap_within_bins() -> None:
    """Right probabilities have none; always saying 0.9 where 0.6 is true has 0.3; weights count rows."""
    p, outcomes = np.repeat([0.2, 0.8], 500), np.r_[np.arange(500) < 100, np.arange(500) < 400].astype(float)
    assert calibration_error(p, outcomes, np.ones(1000)) == pytest.approx(0, abs=1e-9)
    assert calibration_error(np.full(10, 0.9), (np.arange(10) < 6) * 1.0, np.ones(10)) == pytest.approx(0.3)
    assert calibration_error(np.array([1.0, 0.5]), np.array([0.0, 0.5]), np.array([1.0, 3.0])) == pytest.approx(0.25)


@pytest.mark.parametrize("seed", range(3))
def test_luck_that_two_forms_of_a_question_share_is_not_learned(seed: int) -> None:
    """From outcomes that are luck, each on two forms of its question, much the same is predicted for all questions."""
    rng = np.random.default_rng(seed)
    first, new = rng.normal(size=(60, 30)), rng.normal(size=(500, 30))
    both = np.concatenate([first, first + rng.normal(0, 0.1 * np.sqrt(30), (60, 30))])
    both, new = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in (both, new))
    luck = (rng.random((60, 4)) < 0.6).astype(np.float32)
    rows, columns = np.repeat(np.arange(120), 4), np.tile(np.arange(4), 120)
    fit = fit_gaussian_process(both[rows].astype(np.float32), columns, rows % 60, luck[rows % 60, columns], 4)
    assert (new @ fit.weight).std(axis=0).max() < 0.05
