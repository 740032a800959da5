"""The whole-batch choice under a budget, held against bounds computed by other means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from leeroo.engine.arrays import Float64s
from leeroo.engine.orchestrator.choose import Choice, choose


@dataclass
class Instance:
    """A table of scores and costs, and a budget between nothing and all that could be spent."""

    scores: Float64s
    costs: Float64s
    budget: float

    @property
    def cheapest(self) -> float:
        """The cost of the cheapest expert of every row."""
        return float(self.costs.min(axis=1).sum())

    def choose(self) -> Choice:
        """Run the code under test."""
        return choose(self.scores, self.costs, budget_usd=self.budget)

    def spent(self, choice: Choice) -> float:
        """Return the cost of the chosen experts in all."""
        return float(picked(self.costs, choice).sum())

    def score(self, choice: Choice) -> float:
        """Return the expected score of the chosen experts in all."""
        return float(picked(self.scores, choice).sum())


def picked(table: Float64s, choice: Choice) -> Float64s:
    """Return each row's entry for its chosen expert; 0 where the row is left out."""
    values = table[np.arange(len(table)), choice.expert]
    return np.where(choice.expert >= 0, values, 0.0)


@st.composite
def instances(draw: st.DrawFn, max_rows: int = 12, max_experts: int = 5) -> Instance:
    """Return random tables; every other one with few distinct numbers, so that there are many equals."""
    n, e = draw(st.integers(1, max_rows)), draw(st.integers(1, max_experts))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scores, costs = rng.random((n, e)), rng.lognormal(sigma=1.5, size=(n, e))
    if draw(st.booleans()):
        scores, costs = np.round(scores * 3) / 4, np.floor(costs)
    return Instance(scores, costs, draw(st.floats(0, 1.2)) * float(costs.max(axis=1).sum()))


def lp_bound(instance: Instance, may_skip: bool) -> float:
    """Return optimum of the relaxation, by a general solver that knows nothing of knapsacks."""
    n, e = instance.scores.shape
    one_each = np.kron(np.eye(n), np.ones(e))
    over = linprog(
        -instance.scores.ravel(),
        A_ub=np.vstack([instance.costs.ravel(), one_each]) if may_skip else instance.costs.ravel()[None],
        b_ub=np.r_[instance.budget, np.ones(n)] if may_skip else [instance.budget],
        A_eq=None if may_skip else one_each,
        b_eq=None if may_skip else np.ones(n),
    )
    assert over.status == 0
    return float(-over.fun)


def hull_bound(instance: Instance) -> float:
    """Return the same bound for larger tables: upgrades along each row's hull, best exchange rate first."""
    total, left, upgrades = 0.0, instance.budget, []
    for scores, costs in zip(instance.scores, instance.costs, strict=True):
        at = min(range(len(costs)), key=lambda j: (costs[j], -scores[j]))
        total, left = total + scores[at], left - costs[at]
        while pricier := [j for j in range(len(costs)) if costs[j] > costs[at] and scores[j] > scores[at]]:
            up = max(pricier, key=lambda j: (scores[j] - scores[at]) / (costs[j] - costs[at]))
            upgrades.append((scores[up] - scores[at], costs[up] - costs[at]))
            at = up
    for gain, paid in sorted(upgrades, key=lambda step: -step[0] / step[1]):
        part = min(1.0, left / paid)
        total, left = total + part * gain, left - part * paid
        if left <= 0:
            break
    return float(total)


@given(instances())
@settings(max_examples=300, deadline=None)
def test_the_budget_is_never_exceeded(instance: Instance) -> None:
    """The costs chosen add up to at most the budget, not a rounding error more."""
    assert instance.spent(instance.choose()) <= instance.budget


@given(instances())
@settings(max_examples=300, deadline=None)
def test_every_row_is_answered_when_the_cheapest_fit(instance: Instance) -> None:
    """Rows are left out exactly when the cheapest experts together cost more than the budget."""
    fits = instance.cheapest <= instance.budget
    left_out = (instance.choose().expert < 0).any()
    if fits:
        assert not left_out
    else:
        assert left_out


@given(instances(max_rows=30, max_experts=8))
@settings(max_examples=100, deadline=None)
def test_a_budget_of_exactly_the_cheapest_is_enough(instance: Instance) -> None:
    """A budget of just what the cheapest experts cost answers every row."""
    instance.budget = instance.cheapest
    choice = instance.choose()
    assert (choice.expert >= 0).all()
    assert instance.spent(choice) == instance.budget


@given(instances())
@settings(max_examples=300, deadline=None)
def test_small_tables_come_within_one_row_of_the_bound(instance: Instance) -> None:
    """The expected score is at most one row's greatest gain below the linear programme's optimum."""
    may_skip = instance.cheapest > instance.budget
    floor = 0.0 if may_skip else instance.scores.min(axis=1)
    one_row = float((instance.scores.max(axis=1) - floor).max())
    score = instance.score(instance.choose())
    bound = lp_bound(instance, may_skip)
    assert bound - one_row - 1e-6 <= score <= bound + 1e-6


@given(st.integers(0, 2**32 - 1), st.integers(2, 12), st.floats(0.01, 0.99))
@settings(max_examples=40, deadline=None)
def test_large_tables_come_within_a_thousandth_of_the_bound(seed: int, experts: int, share: float) -> None:
    """On 1,000 rows the expected score is at least 99.9 % of the relaxation's."""
    rng = np.random.default_rng(seed)
    scores, costs = rng.random((1000, experts)), rng.lognormal(size=(1000, experts)) * np.logspace(-5, -2, experts)
    low, high = costs.min(axis=1).sum(), costs[np.arange(1000), scores.argmax(axis=1)].sum()
    instance = Instance(scores, costs, float(low + share * (high - low)))
    choice = instance.choose()
    assert instance.spent(choice) <= instance.budget
    assert 0.999 * hull_bound(instance) <= instance.score(choice) <= hull_bound(instance) + 1e-9


def test_rows_alike_are_upgraded_as_many_as_the_budget_takes() -> None:
    """Among 1,000 equal rows, as many get the expensive expert as can be paid."""
    scores, costs = np.tile([0.5, 0.9], (1000, 1)), np.tile([1.0, 5.0], (1000, 1))
    choice = choose(scores, costs, budget_usd=1000 + 4 * 250.5)
    assert np.bincount(choice.expert).tolist() == [750, 250]
    assert choice.multiplier == pytest.approx(0.1)


@given(instances(), st.floats(1.0, 3.0))
@settings(max_examples=200, deadline=None)
def test_more_money_never_buys_less(instance: Instance, more: float) -> None:
    """A greater budget brings at least the score of the smaller one, up to one row's gain."""
    less = instance.score(instance.choose())
    one_row = float(np.ptp(instance.scores, axis=1).max())
    answered = instance.cheapest <= instance.budget
    richer = Instance(instance.scores, instance.costs, instance.budget * more)
    if answered:
        assert richer.score(richer.choose()) >= less - one_row - 1e-9


@given(instances(max_rows=40))
@settings(max_examples=200, deadline=None)
def test_the_order_of_the_rows_does_not_matter(instance: Instance) -> None:
    """Shuffled rows get the same expected score for the same money."""
    # A sum depends on its order by a rounding error, which decides where the budget is just the sum.
    instance.budget *= 1 + 1e-9
    order = np.random.default_rng(0).permutation(len(instance.scores))
    shuffled = Instance(instance.scores[order], instance.costs[order], instance.budget)
    there, here = shuffled.choose(), instance.choose()
    assert shuffled.score(there) == pytest.approx(instance.score(here))
    assert shuffled.spent(there) == pytest.approx(instance.spent(here))


@given(instances())
@settings(max_examples=100, deadline=None)
def test_the_same_table_is_chosen_the_same_way_twice(instance: Instance) -> None:
    """The choice depends on nothing but its arguments, and those are left as they were."""
    scores, costs = instance.scores.copy(), instance.costs.copy()
    first, second = instance.choose(), instance.choose()
    assert (first.expert == second.expert).all()
    assert first.multiplier == second.multiplier
    assert (scores == instance.scores).all()
    assert (costs == instance.costs).all()


def test_the_multiplier_is_the_price_of_a_dollar() -> None:
    """A slightly greater budget brings about multiplier times as much more score."""
    rng = np.random.default_rng(1)
    scores, costs = rng.random((20_000, 6)), rng.lognormal(size=(20_000, 6))
    poor, rich = (Instance(scores, costs, budget) for budget in (14_000.0, 14_100.0))
    choice = poor.choose()
    gained = rich.score(rich.choose()) - poor.score(choice)
    assert gained / 100 == pytest.approx(choice.multiplier, rel=0.05)


def test_too_small_a_budget_goes_to_the_rows_that_bring_most() -> None:
    """When not all rows can be paid for, those with the best score for the money are answered."""
    scores, costs = np.array([[0.9], [0.8], [0.1], [0.7]]), np.ones((4, 1))
    assert choose(scores, costs, budget_usd=2.5).expert.tolist() == [0, 0, -1, -1]
    assert choose(scores, costs, budget_usd=0.5).expert.tolist() == [-1, -1, -1, -1]


def test_free_experts_need_no_budget() -> None:
    """With nothing to spend, every row still gets an expert that costs nothing."""
    scores, costs = np.array([[0.2, 0.9, 0.3]] * 3), np.array([[0.0, 1.0, 0.0]] * 3)
    assert choose(scores, costs, budget_usd=0.0).expert.tolist() == [2, 2, 2]


def test_quality_counts_for_every_row_and_cost_once() -> None:
    """A question in many rows gets the expensive expert before one in few."""
    scores, costs = np.array([[0.5, 0.7], [0.5, 0.8]]), np.array([[1.0, 2.0], [1.0, 2.0]])
    assert choose(scores, costs, budget_usd=3.0).expert.tolist() == [0, 1]
    assert choose(scores, costs, budget_usd=3.0, rows=np.array([5, 1])).expert.tolist() == [1, 0]
