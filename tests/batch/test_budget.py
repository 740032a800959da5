"""The ledger holds the spend to the budget whatever the answers turn out to cost."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from leeroo.engine.batch.budget import Ledger

Request = tuple[np.ndarray, np.ndarray, np.ndarray]


def _send(ledger: Ledger, expert: int, expected: float, at_most: float) -> Request:
    """Send a request, and return what it is counted by."""
    request = np.array([expert]), np.array([expected]), np.array([at_most])
    ledger.send(*request)
    return request


def _admitted(ledger: Ledger, *at_most: float) -> int:
    return ledger.admit(np.zeros(len(at_most), int), np.array(at_most))


def _settle(ledger: Ledger, request: Request, actual: float) -> None:
    ledger.charge(*request, np.array([actual]))


def _plan(ledger: Ledger, usd: float, *, binding: bool = False) -> None:
    ledger.plan(np.array([usd]), binding=binding)


def test_billed_requests_are_spent() -> None:
    """A request that was refused costs nothing and teaches nothing; one that was billed counts, answered or not."""
    ledger = Ledger(10.0, 2)
    one, two, three = (_send(ledger, expert, 1.0, 4.0) for expert in (1, 0, 0))
    _settle(ledger, three, 0.0)
    _settle(ledger, one, 2.0)
    assert (ledger.spent, ledger.left, ledger.busy) == (2.0, 8.0, True)
    assert _admitted(ledger, 4.0, 0.1) == 1
    _settle(ledger, two, 1.0)
    assert ledger.correction()[0] == 1.0


def test_a_spending_cap_is_a_limit_beside_the_budget() -> None:
    """The lower of both counts, with or without a budget."""
    for budget in (None, 10.0):
        ledger = Ledger(budget, 1)
        ledger.ceiling = 1.0
        request = _send(ledger, 0, 0.5, 0.5)
        assert _admitted(ledger, 0.4, 0.2) == 1
        _settle(ledger, request, 0.25)
        assert ledger.left == 0.75
        assert ledger.left_of_budget == (9.75 if budget else float("inf"))
        _plan(ledger, 2.0)
        assert ledger.has_drifted()


def test_without_a_budget_everything_may_go() -> None:
    """Every request is admitted when there is no budget."""
    assert _admitted(Ledger(None, 1), *[1e9] * 5) == 5


@given(
    budget=st.floats(0, 10),
    rows=st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), max_size=60),
)
def test_admitted_rows_never_pass_the_budget(budget: float, rows: list[tuple[float, float]]) -> None:
    """The spend stays within the budget, whatever share of its bound each answer costs."""
    ledger = Ledger(budget, 1)
    _plan(ledger, sum(bound * share for bound, share in rows))
    for i, (bound, share) in enumerate(rows):
        if _admitted(ledger, bound):
            request = _send(ledger, 0, bound * share, bound)
            if i % 3 == 0:
                _settle(ledger, request, bound * share)
    assert ledger.spent <= budget
    assert _admitted(ledger, budget + 1) == 0


def test_an_expert_that_bills_beyond_its_limit_is_held_to_more() -> None:
    """After an answer that cost twenty times its bound, the next is held at twenty times its own."""
    ledger = Ledger(100.0, 2)
    first, _ = _send(ledger, 0, 1.0, 1.0), _send(ledger, 0, 1.0, 1.0)
    _settle(ledger, first, 20.0)
    assert ledger.room == 100 - 20 - 20  # what is in flight may cost as much
    assert ledger.fits(np.array([0, 0, 1]), np.array([3.0, 3.1, 60.0])).tolist() == [True, False, True]


def test_requests_in_flight_at_a_kill_are_reserved() -> None:
    """The most that requests under way at a kill may have cost is not spent again."""
    ledger = Ledger(1.0, 1)
    ledger.reserved = 0.75
    assert ledger.left == 0.25
    assert _admitted(ledger, 0.2, 0.2) == 1


def test_a_forecast_beyond_the_budget_is_drift() -> None:
    """Answers that cost more than expected make the ledger ask for a new choice, before the budget is gone."""
    ledger = Ledger(1.0, 1)
    _plan(ledger, 1.0)
    for _ in range(50):
        _settle(ledger, _send(ledger, 0, 0.01, 0.02), 0.015)
        if ledger.has_drifted():
            break
    assert 0 < ledger.spent < 0.5
    assert 1.0 < ledger.correction()[0] < 1.5


def test_a_forecast_below_the_budget_is_drift_where_money_buys_something() -> None:
    """Answers that cost less than expected ask for a new choice, unless every row has its best expert already."""
    for binding in (True, False):
        ledger = Ledger(1.0, 1)
        _plan(ledger, 1.0, binding=binding)
        drifted = []
        for _ in range(50):
            _settle(ledger, _send(ledger, 0, 0.01, 0.02), 0.005)
            drifted.append(ledger.has_drifted())
        assert any(drifted) == binding
        assert not any(drifted[:5])


def test_a_forecast_within_the_budget_is_none() -> None:
    """Answers that cost what was expected finish without a new choice."""
    ledger = Ledger(1.0, 1)
    _plan(ledger, 1.0, binding=True)
    for i in range(100):
        _settle(ledger, _send(ledger, 0, 0.01, 0.01), 0.01)
        assert not ledger.has_drifted() or i == 99


def test_corrections_grow_with_evidence() -> None:
    """An expert's costs are corrected towards the ratio seen; another is taken for no more expensive than expected."""
    ledger = Ledger(None, 2)
    seen = []
    for _ in range(200):
        _settle(ledger, _send(ledger, 1, 1.0, 4.0), 2.0)
        seen.append(float(ledger.correction()[1]))
        assert ledger.correction()[0] == 1.0
    assert seen == sorted(seen)
    assert seen[0] < 1.2
    assert seen[-1] > 1.95


def test_shorter_answers_are_expected_of_the_other_experts_too() -> None:
    """Where answers are half as long as expected, an unused expert's are expected to be half as long too."""
    ledger = Ledger(None, 2)
    for _ in range(200):
        _settle(ledger, _send(ledger, 1, 1.0, 4.0), 0.5)
    assert ledger.correction()[0] < 0.55
