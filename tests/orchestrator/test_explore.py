"""Learning from sparse outcomes, and choosing which to get next, where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from leeroo.engine.arrays import Float32s, Float64s, Int64s
from leeroo.engine.orchestrator.statistics import sigmoid
from leeroo.engine.orchestrator.training.explore import explore
from leeroo.engine.orchestrator.training.gaussian_process import GaussianProcess, fit_gaussian_process
from leeroo.engine.orchestrator.training.quality import learn_quality

# Rates of six experts on easy questions, and what the hard ones take off; the last is the expensive one.
RATES, HARD = np.array([0.3, 0.35, 0.4, 0.45, 0.8, 0.95]), np.array([0.3, 0.3, 0.3, 0.3, 0.3, 0.1])
COSTS = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 20.0])


def truth(n: int, seed: int = 0, rates: Float64s = RATES) -> tuple[Float32s, Float32s]:
    """Return features [n, 8] of length 1, whose first tells the hard questions, and probabilities of success [n, 6]."""
    features = np.random.default_rng(seed).normal(size=(n, 8)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features, np.clip(rates - HARD * (features[:, :1] > 0), 0, 1).astype(np.float32)


def outcomes(n: int, seed: int = 0, rates: Float64s = RATES) -> tuple[Float32s, Float32s, Int64s, Int64s, Float32s]:
    """Return features and probabilities of n questions, each asked of one expert: its features, expert, number and score."""
    features, probabilities = truth(n, seed, rates)
    rng = np.random.default_rng(seed + 1)
    rows, columns = np.arange(n), rng.integers(6, size=n)
    return features, probabilities, columns, rows, (rng.random(n) < probabilities[rows, columns]).astype(np.float32)


def fitted(n: int, seed: int = 0, rates: Float64s = RATES) -> tuple[GaussianProcess, Float32s, Float32s]:
    """Learn from n outcomes; return also 2,000 questions that it has not seen."""
    features, _, columns, groups, scores = outcomes(n, seed, rates)
    return fit_gaussian_process(features, columns, groups, scores, 6), *truth(2000, seed + 2, rates)


def test_sparse_outcomes_separate_experts_and_questions() -> None:
    """From a few hundred outcomes, one for each question, better than each expert's own mean does."""
    known, features, probabilities = fitted(600)
    *_, columns, _, scores = outcomes(600)
    means = np.array([scores[columns == expert].mean() for expert in range(6)])
    error = np.abs(features @ known.weight + known.bias - probabilities)
    assert error.mean() < 0.75 * np.abs(means - probabilities).mean()


def test_held_out_predictions_equal_a_fit_without_the_question() -> None:
    """The formula gives the same as leaving a question out for real."""
    features, _, columns, groups, scores = outcomes(120)
    groups[60:] = groups[:60]  # two outcomes each
    features[60:] = features[:60]
    whole = fit_gaussian_process(features, columns, groups, scores, 6)
    rest = groups != 7
    without = fit_gaussian_process(features[rest], columns[rest], groups[rest], scores[rest], 6)
    guess = (features @ without.weight + without.bias)[~rest]
    # The variances and the level are decided anew there, which moves it a little.
    assert whole.held_out[~rest] == pytest.approx(guess, abs=0.03)


def test_beliefs_are_as_wide_as_the_truth_is_away() -> None:
    """Their standard deviations cover what the mean gets wrong."""
    known, features, probabilities = fitted(300)
    beliefs = known.beliefs(np.repeat(features[:200], 6, axis=0), np.tile(np.arange(6), 200))
    spread = np.sqrt(np.diag(beliefs.covariance(beliefs))).reshape(200, 6)
    off = (probabilities[:200] - features[:200] @ known.weight - known.bias) / spread
    assert 0.4 < np.sqrt(np.square(off).mean()) < 1.6


def test_heads_of_sparse_outcomes_are_calibrated_together() -> None:
    """An expert with five outcomes has a head too, and its rate is near that of the others."""
    features, probabilities, columns, rows, won = outcomes(500)
    scores = np.full((500, 6), np.nan, np.float32)
    scores[rows, columns] = won
    few = np.flatnonzero(columns == 0)[5:]
    scores[few, 0] = np.nan
    quality = learn_quality(features, scores, rows)
    expected = sigmoid(features @ quality.weight + quality.bias)
    assert all(summary.learned for summary in quality.summaries)
    assert quality.summaries[0].outcomes == 5
    assert np.abs(expected.mean(axis=0) - probabilities.mean(axis=0))[1:].max() < 0.12


def test_the_contenders_of_a_choice_get_requests() -> None:
    """The best cheap expert and the expensive one get the same questions; a random choice treats all alike."""
    known, features, _ = fitted(400)
    pairs = explore(known, features, np.tile(COSTS, (2000, 1)), 300, np.random.default_rng(0))
    experts = np.bincount([expert for _, expert in pairs], minlength=6)
    assert len(set(pairs)) == 300
    assert experts[4] + experts[5] > 0.8 * 300
    assert len({question for question, _ in pairs}) < 200


def test_requests_reduce_contested_variances_more_than_chance() -> None:
    """The variance of the two contenders' difference on new questions falls much more than by as many random pairs."""
    features, _, columns, groups, scores = outcomes(400)
    known, new, probabilities = fitted(400)
    rng = np.random.default_rng(0)

    def variance(pairs: list[tuple[int, int]]) -> float:
        at, of = np.array(pairs).T
        won = (rng.random(len(at)) < probabilities[at, of]).astype(np.float32)
        posterior = fit_gaussian_process(
            np.concatenate([features, new[at]]),
            np.append(columns, of),
            np.append(groups, 400 + at),
            np.append(scores, won),
            6,
        )
        beliefs = posterior.beliefs(np.tile(new.mean(axis=0), (2, 1)), np.array([4, 5]))
        covariance = beliefs.covariance(beliefs)
        return float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])

    chance = [(int(question), int(rng.integers(6))) for question in rng.permutation(2000)[:200]]
    requested = explore(known, new, np.tile(COSTS, (2000, 1)), 200, rng)
    assert variance(requested) < 0.75 * variance(chance)


def test_the_overall_quality_of_the_expensive_expert_is_left_out() -> None:
    """A budget buys the same answers of it either way; which of two cheap ones is better gets more requests."""
    two_alike = np.array([0.3, 0.35, 0.4, 0.78, 0.8, 0.95])
    requested = []
    for seed in range(3):
        known, features, _ = fitted(400, seed, two_alike)
        requested += explore(known, features, np.tile(COSTS, (2000, 1)), 300, np.random.default_rng(0))
    assert sum(expert == 5 for _, expert in requested) < 0.38 * len(requested)


def test_where_money_is_short_expensive_requests_must_inform_more() -> None:
    """With money for 20 expensive answers among 200 requests, there are more requests than with the expensive expert first."""
    known, features, _ = fitted(400)
    costs = np.tile(COSTS, (2000, 1))
    rich = explore(known, features, costs, 200, np.random.default_rng(0))
    poor = explore(known, features, costs, 200, np.random.default_rng(0), max_cost_usd=400)
    expensive = [sum(expert == 5 for _, expert in pairs[:40]) / 40 for pairs in (rich, poor)]
    assert expensive[1] < 0.7 * expensive[0]
    assert sum(COSTS[expert] for _, expert in poor) <= 400


def test_beliefs_vary_as_a_gaussian_process_does() -> None:
    """The covariances of expected scores are those of the textbook, with the variances that were decided."""
    known, features, _ = fitted(300)
    learned, _, columns, groups, _ = outcomes(300)
    hard, rate, lean, alone, noise = known.variances
    new, theirs = np.repeat(features[:5], 6, axis=0), np.tile(np.arange(6), 5)

    def prior(x: Float32s, of: Int64s, y: Float32s, others: Int64s) -> Float32s:
        alike = x @ y.T
        covariance: Float32s = hard * alike + (of[:, None] == others) * (rate + lean * alike)
        return covariance

    seen = prior(learned, columns, learned, columns) + alone * (groups[:, None] == groups) + noise * np.eye(300)
    cross = prior(learned, columns, new, theirs)
    expected = prior(new, theirs, new, theirs) - cross.T @ np.linalg.solve(seen, cross)
    beliefs = known.beliefs(new, theirs)
    assert beliefs.covariance(beliefs) == pytest.approx(expected, abs=1e-5)


def test_an_expert_without_outcomes_is_expected_to_be_one_of_the_others() -> None:
    """It does not get the most requests, as good ones do; and it is no error."""
    features, probabilities = truth(600)
    rng = np.random.default_rng(1)
    columns = rng.permutation(np.repeat([0, 1, 2, 3, 5], [40, 40, 40, 40, 440]))
    scores = np.full((600, 6), np.nan, np.float32)
    rows = np.arange(600)
    scores[rows, columns] = rng.random(600) < probabilities[rows, columns]
    quality = learn_quality(features, scores, rows)
    expected = sigmoid(features @ quality.weight + quality.bias).mean(axis=0)
    assert expected[4] < expected[5] - 0.2
    assert expected[4] < np.nanmean(scores) - 0.1
    assert quality.summaries[4].outcomes == 0


def test_limits_are_kept() -> None:
    """No more than may be spent, nothing that is not allowed; and with nothing to disagree on, all get requests."""
    known, features, _ = fitted(400)
    costs, allowed = np.tile(COSTS, (50, 1)), np.ones((50, 6), bool)
    allowed[:, 5] = False
    rng = np.random.default_rng(0)
    some = explore(known, features[:50], costs, 1000, rng, max_cost_usd=90.0, allowed=allowed)
    assert all(expert != 5 for _, expert in some)
    assert sum(COSTS[expert] for _, expert in some) == 90
    assert len(explore(known, features[:50], costs, 1000, rng)) == 300
