"""Measures of a router on recorded outcomes, held against values by hand and against other computations."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from leeroo.engine.errors import UsageError
from leeroo.engine.orchestrator.analysis.frontier import (
    Point,
    accuracy_at,
    aiq,
    budgets_usd_per_1k,
    estimate,
    hull,
    measure_frontier,
    oracle,
    random_mix,
    singles,
)

# Four questions, a cheap expert and an expensive one; dollars a question.
SCORES = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
COSTS = np.array([[0.001, 0.004], [0.001, 0.004], [0.001, 0.004], [0.001, 0.008]])


@st.composite
def clouds(draw: st.DrawFn) -> list[Point]:
    """Return points of one to eight ways of answering; now and then some are free, or cost the same."""
    cents = st.integers(0, 30) if draw(st.booleans()) else st.integers(1, 10**6)
    cost, accuracy = cents.map(lambda c: c / 100), st.integers(0, 100).map(lambda a: a / 100)
    return draw(st.lists(st.builds(Point, cost, accuracy), min_size=1, max_size=8))


def best_coin(points: list[Point], cost: float) -> float:
    """Return the best accuracy that throwing a coin between any two points, or no answer, has at up to that cost."""
    all_points = [Point(0.0, 0.0), *points]
    reached = [p.accuracy for p in all_points if p.cost_usd_per_1k <= cost]
    for one, other in combinations(sorted(all_points, key=lambda p: p.cost_usd_per_1k), 2):
        if one.cost_usd_per_1k <= cost < other.cost_usd_per_1k:
            part = (cost - one.cost_usd_per_1k) / (other.cost_usd_per_1k - one.cost_usd_per_1k)
            reached.append(one.accuracy + part * (other.accuracy - one.accuracy))
    return max(reached)


def test_budgets_cover_the_range_to_measure() -> None:
    """They ascend from the cheapest expert's cost or a part of it to 1.2 times the most expensive one's, all parts included."""
    budgets = budgets_usd_per_1k(COSTS)
    assert (np.diff(budgets) > 0).all()
    assert budgets[-1] == pytest.approx(1.2 * 5)
    for budget in [1, 5, *(part * cost for cost in (1, 5) for part in (1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4))]:
        assert np.isclose(budgets, budget).any()
    assert len(budgets) >= 60
    assert budgets[0] == pytest.approx(1 / 4)


def test_a_free_expert_does_not_spoil_the_budgets() -> None:
    """With an expert that costs nothing they begin at nothing, and are finite."""
    budgets = budgets_usd_per_1k(np.array([[0.0, 0.002]]))
    assert budgets[0] == 0
    assert np.isfinite(budgets).all()
    assert budgets[-1] == pytest.approx(2.4)


def test_choices_use_predictions_and_are_counted_by_records() -> None:
    """Choices follow predictions; accuracy and cost are what was recorded of that choice."""
    expected = np.array([[0.5, 0.6], [0.5, 0.9], [0.5, 0.6], [0.5, 0.8]])
    prices = np.tile([0.002, 0.004], (4, 1))
    # 11 dollars per 1,000 buy the dear expert once: 3 x 2 + 4 = 10; it goes to the second question, and is right.
    (point,) = measure_frontier(expected, prices, SCORES, COSTS, [11 / 4])
    assert point.budget_usd_per_1k == 11 / 4
    assert point.accuracy == pytest.approx(3 / 4)
    assert point.cost_usd_per_1k == pytest.approx(1000 * (3 * 0.001 + 0.004) / 4)
    # Another 2 buy it for the last one, where it is wrong and dearer than expected.
    (point,) = measure_frontier(expected, prices, SCORES, COSTS, [13 / 4])
    assert point.accuracy == pytest.approx(2 / 4)
    assert point.cost_usd_per_1k == pytest.approx(1000 * (2 * 0.001 + 0.004 + 0.008) / 4)


def test_unanswered_questions_score_nothing() -> None:
    """With money for one of four questions, three cost nothing and score 0."""
    (point,) = measure_frontier(
        np.array([[0.9], [0.1], [0.1], [0.1]]), np.ones((4, 1)), np.ones((4, 1)), np.ones((4, 1)), [250]
    )
    assert (point.accuracy, point.cost_usd_per_1k) == (0.25, 250.0)


def test_an_expert_that_is_not_predicted_is_not_chosen() -> None:
    """Where the prediction is NaN the other expert answers."""
    expected = np.array([[np.nan, 0.1]] * 4)
    (point,) = measure_frontier(expected, COSTS, SCORES, COSTS, [1000])
    assert (point.accuracy, point.cost_usd_per_1k) == pytest.approx((0.5, 5))


def test_each_single_expert_is_its_means() -> None:
    """An expert's point is its mean score, and its mean cost per 1,000."""
    cheap, expensive = singles(SCORES, COSTS)
    assert (cheap.accuracy, cheap.cost_usd_per_1k) == pytest.approx((0.5, 1))
    assert (expensive.accuracy, expensive.cost_usd_per_1k) == pytest.approx((0.5, 5))


def test_the_oracle_pays_no_more_than_the_best_score_takes() -> None:
    """It has each question's best score, from the cheapest expert that has it, also where nobody is right."""
    point = oracle(SCORES, COSTS)
    assert point.accuracy == 3 / 4
    assert point.cost_usd_per_1k == pytest.approx(1000 * (0.001 + 0.004 + 0.001 + 0.001) / 4)


def test_the_hull_is_that_of_the_best_coins_by_hand() -> None:
    """Points below the line between two others are no corners, nor is one that costs more and is no better."""
    points = [Point(1, 0.5), Point(2, 0.6), Point(3, 0.8), Point(4, 0.7)]
    costs, accuracies = hull(points)
    assert costs.tolist() == [0, 1, 3]
    assert accuracies.tolist() == [0, 0.5, 0.8]


@given(clouds(), st.floats(0, 1.2))
@settings(max_examples=300, deadline=None)
def test_the_hull_is_what_coins_can_reach(points: list[Point], part: float) -> None:
    """Its height at any cost is the best of all mixtures of two points at up to that cost."""
    cost = part * max(p.cost_usd_per_1k for p in points)
    costs, accuracies = hull(points)
    assert (np.diff(costs) > 0).all()
    assert np.interp(cost, costs, accuracies) == pytest.approx(best_coin(points, cost), abs=1e-9)


@given(clouds(), st.floats(0, 1.5))
@settings(max_examples=100, deadline=None)
def test_a_random_mix_knows_the_experts_and_not_the_questions(experts: list[Point], part: float) -> None:
    """It reaches what the best coin does at each budget, and spends no more than the budget."""
    budget = part * max(p.cost_usd_per_1k for p in experts)
    (point,) = random_mix(experts, [budget])
    assert point.budget_usd_per_1k == budget
    assert point.cost_usd_per_1k <= budget
    assert point.accuracy == pytest.approx(best_coin(experts, budget), abs=1e-9)


def test_aiq_by_hand() -> None:
    """The mean height of the hull from the cheapest to the most expensive expert, level after its last corner."""
    experts = [Point(1, 0.4), Point(5, 0.7)]
    # From 0.4 up to 0.8 at a cost of 3, then level for 2: (2 x 0.6 + 2 x 0.8) / 4.
    assert aiq([Point(1, 0.4), Point(3, 0.8)], experts) == pytest.approx(0.7)
    assert aiq([Point(2, 0.5)], [Point(2, 0.5)]) == pytest.approx(0.5)


@given(clouds(), clouds())
@settings(max_examples=50, deadline=None)
def test_aiq_is_the_area_under_the_best_coins(points: list[Point], experts: list[Point]) -> None:
    """Numerical integration of what coins between the points can reach gives the same."""
    of_experts = [p.cost_usd_per_1k for p in experts]
    low, high = min(of_experts), max(of_experts)
    assume(high > low)
    middles = low + (high - low) * (np.arange(400) + 0.5) / 400
    heights = [best_coin(points, float(cost)) for cost in middles]
    assert aiq(points, experts) == pytest.approx(np.mean(heights), abs=0.01)


def test_a_better_frontier_has_a_greater_aiq() -> None:
    """More accuracy at the same cost counts, whichever part of the range it is in."""
    experts = [Point(1, 0.4), Point(5, 0.7)]
    base = [Point(1, 0.4), Point(2, 0.5), Point(5, 0.7)]
    for better in (Point(1, 0.5), Point(3, 0.65), Point(5, 0.8)):
        assert aiq([*base, better], experts) > aiq(base, experts)


def test_an_interval_is_as_wide_as_theory_has_it() -> None:
    """For a share of 0.3 among 2,000 questions the bootstrap gives the normal interval, to a tenth of its width."""
    right = np.arange(2000) % 10 < 3
    found = estimate(lambda rows: float(right[rows].mean()), 2000)
    half = 1.96 * np.sqrt(0.3 * 0.7 / 2000)
    assert found.value == pytest.approx(0.3)
    assert (found.low, found.high) == pytest.approx((0.3 - half, 0.3 + half), abs=half / 10)


def test_an_interval_is_the_same_each_time() -> None:
    """The same seed draws the same questions; another seed others."""
    right = np.arange(50) % 3 == 0
    one, same, other = (estimate(lambda rows: float(right[rows].mean()), 50, 200, seed) for seed in (1, 1, 2))
    assert one == same
    assert one != other


def test_accuracy_under_a_budget_is_that_of_the_frontier() -> None:
    """The value is the frontier's at that budget, within its interval; where all are right there is no doubt."""
    random = np.random.default_rng(0)
    expected, costs = random.random((300, 3)), random.lognormal(size=(300, 3)) / 1000
    scores = (random.random((300, 3)) < expected).astype(np.float64)
    found = accuracy_at(expected, costs, scores, costs, 0.8)
    (point,) = measure_frontier(expected, costs, scores, costs, [0.8])
    assert found.value == pytest.approx(point.accuracy)
    assert found.low < found.value < found.high
    sure = accuracy_at(expected, costs, np.ones((300, 3)), costs, 10.0)
    assert (sure.low, sure.value, sure.high) == (1, 1, 1)


def test_tables_that_cannot_be_measured_are_refused() -> None:
    """Tables of several shapes, and records with holes, are one clear line each."""
    with pytest.raises(UsageError, match="must be tables of one shape"):
        measure_frontier(SCORES[:, :1], COSTS, SCORES, COSTS, [1.0])
    nothing = np.empty((0, 2))
    with pytest.raises(UsageError, match="must be tables of one shape"):
        measure_frontier(nothing, nothing, nothing, nothing, [1.0])
    with pytest.raises(UsageError, match="recorded scores and costs must all be known"):
        accuracy_at(SCORES, COSTS, np.where(SCORES == 1, np.nan, SCORES), COSTS, 1.0)
