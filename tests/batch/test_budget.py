"""The ledger holds the spend to the budget whatever the answers turn out to cost."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from leeroo.engine.batch.budget import Ledger


def _settle(ledger: Ledger, request: int, expert: int, actual: float) -> None:
    ledger.settle([request], np.array([expert]), np.array([actual]), np.array([False]))


def test_failures_cost_nothing() -> None:
    """They are out of the air, and neither spent nor counted in what an expert is expected to cost."""
    ledger = Ledger(10.0, 2)
    ledger.hand_out([1, 2, 3], np.array([1.0, 1.0, 1.0]), np.array([4.0, 4.0, 4.0]))
    ledger.settle([3, 1], np.array([0, 1]), np.array([9.0, 2.0]), np.array([True, False]))
    assert (ledger.spent, ledger.left, ledger.busy) == (2.0, 8.0, True)
    assert ledger.admit(np.array([4.0, 0.1])) == 1
    assert ledger.correction()[0] == 1.0


def test_without_a_budget_everything_may_go() -> None:
    """No budget, no limit."""
    assert Ledger(None, 1).admit(np.full(5, 1e9)) == 5


@given(
    budget=st.floats(0, 10),
    rows=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=60),
)
def test_admitted_rows_never_pass_the_budget(budget: float, rows: list[tuple[float, float]]) -> None:
    """Whatever share of its bound each answer costs, what was admitted stays within the budget."""
    ledger = Ledger(budget, 1)
    ledger.plan(sum(bound * share for bound, share in rows))
    for i, (bound, share) in enumerate(rows):
        if ledger.admit(np.array([bound])):
            ledger.hand_out([i], np.array([bound * share]), np.array([bound]))
            if i % 3 == 0:
                _settle(ledger, i, 0, bound * share)
    assert ledger.spent <= budget
    assert ledger.admit(np.array([budget + 1])) == 0


def test_a_forecast_beyond_the_budget_is_drift() -> None:
    """Answers dearer than expected make the ledger ask for a new choice, before the budget is gone."""
    ledger = Ledger(1.0, 1)
    ledger.plan(1.0)
    for i in range(50):
        ledger.hand_out([i], np.array([0.01]), np.array([0.02]))
        _settle(ledger, i, 0, 0.015)
        if ledger.drifted():
            break
    assert 0.1 < ledger.spent < 0.5
    assert 1.0 < ledger.correction()[0] < 1.5


def test_a_forecast_within_the_budget_is_none() -> None:
    """Answers as dear as expected finish without a new choice."""
    ledger = Ledger(1.0, 1)
    ledger.plan(1.0)
    for i in range(100):
        ledger.hand_out([i], np.array([0.01]), np.array([0.01]))
        _settle(ledger, i, 0, 0.01)
        assert not ledger.drifted() or i == 99


def test_corrections_grow_with_evidence() -> None:
    """An expert's costs are corrected towards the ratio seen; of another nothing is known."""
    ledger = Ledger(None, 2)
    seen = []
    for i in range(200):
        ledger.hand_out([i], np.array([1.0]), np.array([1.0]))
        _settle(ledger, i, 1, 2.0)
        seen.append(float(ledger.correction()[1]))
        assert ledger.correction()[0] == 1.0
    assert seen == sorted(seen)
    assert seen[0] < 1.2
    assert seen[-1] > 1.95
