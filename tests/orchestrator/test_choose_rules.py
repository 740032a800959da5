"""The choice without a budget, who may answer what, and what is refused."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leeroo.engine.errors import UsageError
from leeroo.engine.orchestrator.choose import choose


@given(st.integers(0, 2**32 - 1), st.floats(0, 5), st.floats(0, 5))
@settings(max_examples=100, deadline=None)
def test_weights_trade_quality_for_money_and_time(seed: int, cost_weight: float, latency_weight: float) -> None:
    """Each row takes the expert of greatest rows * score - weights times cost and latency."""
    rng = np.random.default_rng(seed)
    scores, costs, latency = rng.random((3, 50, 4))
    rows = rng.integers(1, 5, 50)
    choice = choose(scores, costs, rows=rows, latency_s=latency, cost_weight=cost_weight, latency_weight=latency_weight)
    worth = rows[:, None] * scores - cost_weight * costs - latency_weight * latency
    assert choice.expert.tolist() == [max(range(4), key=lambda j: row[j]) for row in worth]
    assert choice.expert.dtype == np.int32
    assert choice.multiplier == 0.0


def test_the_cheaper_of_equals_is_chosen() -> None:
    """Equal scores go to the cheaper expert, with a budget or without one."""
    scores, costs = np.array([[0.5, 0.8, 0.8, 0.8]] * 2), np.array([[0.1, 3.0, 1.0, 2.0]] * 2)
    assert choose(scores, costs).expert.tolist() == [2, 2]
    assert choose(scores, costs, budget_usd=100.0).expert.tolist() == [2, 2]


@given(st.integers(0, 2**32 - 1), st.booleans(), st.one_of(st.none(), st.floats(0, 60)))
@settings(max_examples=200, deadline=None)
def test_excluded_experts_are_not_chosen(seed: int, per_row: bool, budget: float | None) -> None:
    """A row goes to an allowed expert with a known score, or is left out when there is none."""
    rng = np.random.default_rng(seed)
    scores, costs = rng.random((40, 4)), rng.lognormal(size=(40, 4))
    scores[rng.random((40, 4)) < 0.3] = np.nan
    allowed = rng.random((40, 4) if per_row else 4) < 0.6
    choice = choose(scores, costs, budget_usd=budget, allowed=allowed)
    may = np.isfinite(scores) & allowed
    answered = choice.expert >= 0
    assert may[answered, choice.expert[answered]].all()
    if budget is None:
        assert (answered == may.any(axis=1)).all()


def test_a_budget_is_feasible_by_the_allowed_experts_alone() -> None:
    """An expert that may not answer neither makes a budget fit nor is paid from it."""
    scores, costs = np.array([[0.9, 0.5]] * 2), np.array([[0.0, 1.0]] * 2)
    private = np.array([[False, True], [True, True]])
    assert choose(scores, costs, budget_usd=1.0, allowed=private).expert.tolist() == [1, 0]
    assert choose(scores, costs, budget_usd=0.5, allowed=private).expert.tolist() == [-1, 0]


def test_weights_act_within_a_budget_too() -> None:
    """A budget that is large enough leaves the choice to the weights."""
    scores, costs = np.array([[0.5, 0.6]]), np.array([[1.0, 2.0]])
    assert choose(scores, costs, budget_usd=9.0).expert.tolist() == [1]
    assert choose(scores, costs, budget_usd=9.0, cost_weight=0.2).expert.tolist() == [0]


def test_no_rows_are_chosen_for_in_no_time() -> None:
    """An empty table gives an empty choice."""
    nothing = np.empty((0, 3))
    assert choose(nothing, nothing).expert.shape == (0,)
    assert choose(nothing, nothing, budget_usd=0.0).expert.shape == (0,)


def test_memory_maps_are_read_in_blocks(tmp_path: Path) -> None:
    """Tables on disk are chosen from as if in memory, and never copied whole."""
    shape = (50_000, 100)
    scores = np.memmap(tmp_path / "scores", np.float32, "w+", shape=shape)
    costs = np.memmap(tmp_path / "costs", np.float32, "w+", shape=shape)
    rng = np.random.default_rng(0)
    scores[:], costs[:] = rng.random(shape, np.float32), rng.random(shape, np.float32)
    tracemalloc.start()
    choice = choose(scores, costs, budget_usd=2000.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < scores.nbytes
    in_memory = choose(np.array(scores), np.array(costs), budget_usd=2000.0)
    assert (choice.expert == in_memory.expert).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"costs": np.ones((3, 3))}, "costs has the shape (3, 3)"),
        ({"costs": -np.ones((2, 3))}, "costs must not be negative, but one is -1.0 USD"),
        ({"rows": np.ones(3)}, "rows has the shape (3,)"),
        ({"allowed": np.ones(2, bool)}, "allowed has the shape (2,)"),
        ({"scores": np.ones(3)}, "scores must be [questions, experts]"),
        ({"budget_usd": -1.0}, "a budget of -1.0 USD"),
        ({"budget_usd": float("nan")}, "a budget of nan USD"),
    ],
)
def test_contradicting_arguments_are_refused(change: dict[str, object], message: str) -> None:
    """Arguments that contradict each other are refused in one line that names them."""
    arguments: dict[str, object] = {"scores": np.ones((2, 3)), "costs": np.ones((2, 3)), **change}
    with pytest.raises(UsageError) as refused:
        choose(**arguments)  # type: ignore[arg-type]
    assert message in str(refused.value)
