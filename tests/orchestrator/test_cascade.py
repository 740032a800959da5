"""Cascades: agreement between experts asked first decides who else is asked, where that pays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from leeroo.engine.orchestrator.cascade import Table, choose_in_rounds, learn_cascade, plan_rounds
from leeroo.engine.orchestrator.choose import choose

OPTIONS = 10


def _table(n: int = 3000, cheap: float = 1.0, dear: float = 20.0, seed: int = 0) -> Table:
    """Two cheap experts that are right six times of ten, each by its own luck, and a dear one that is nine times."""
    random = np.random.default_rng(seed)
    rate = np.array([0.6, 0.6, 0.9])
    right = random.random((n, 3)) < rate
    gold = random.integers(OPTIONS, size=(n, 1))
    wrong = (gold + random.integers(1, OPTIONS, size=(n, 3))) % OPTIONS
    return Table(
        scores_pred=np.tile(rate, (n, 1)),
        costs_pred=np.tile([cheap, cheap, dear], (n, 1)),
        answers=np.where(right, gold, wrong),
        scores=right.astype(np.float64),
        costs=np.tile([cheap, cheap, dear], (n, 1)),
    )


def test_answers_that_agree_are_likelier_right() -> None:
    """By chance two wrong ones agree one time in nine of sixteen in a hundred: near certainty, and doubt otherwise."""
    table = _table()
    told = learn_cascade(table, (0, 1)).scores(table.scores_pred, table.answers)
    agree = table.answers[:, 0] == table.answers[:, 1]
    assert told[agree, 0].mean() == pytest.approx(table.scores[agree, 0].mean(), abs=0.02)
    assert told[~agree, 0].mean() == pytest.approx(table.scores[~agree, 0].mean(), abs=0.02)
    assert told[agree, 0].min() > 0.9
    assert told[~agree, 0].max() < 0.45
    assert told[:, 2] == pytest.approx(0.9, abs=0.03)  # the dear one's luck is its own


def test_asking_two_cheap_ones_first_beats_choosing_once() -> None:
    """The dear one is asked where they contradict each other."""
    learned, new = _table(seed=0), _table(seed=1)
    budget = 14.0 * len(new.answers)
    cascade = plan_rounds(learned, budget)
    assert cascade is not None
    assert set(cascade.first) == {0, 1}
    done = choose_in_rounds(cascade, new, budget)
    assert done is not None
    chosen, paid = done
    rows = np.arange(len(chosen))
    once = choose(new.scores_pred, new.costs_pred, budget_usd=budget).expert
    assert new.scores[rows, chosen].mean() > new.scores[rows, once].mean() + 0.05
    assert paid.sum() <= budget
    agree = new.answers[:, 0] == new.answers[:, 1]
    assert (chosen[agree] != 2).mean() > 0.95


def test_where_it_does_not_pay_it_is_not_done() -> None:
    """Two experts that cost nearly what the dear one does are better left alone."""
    table = _table(cheap=9.0, dear=10.0)
    assert plan_rounds(table, 10.0 * len(table.answers)) is None


def test_a_budget_that_does_not_reach_for_the_first_round() -> None:
    """Is told by None."""
    table = _table(n=100)
    assert choose_in_rounds(learn_cascade(table, (0, 1)), table, 150.0) is None


def test_only_answers_of_the_first_are_looked_at() -> None:
    """What others would have said is not known when it is decided whom to ask."""
    table = _table()
    cascade = learn_cascade(table, (0, 1))
    hidden = replace(table, answers=np.where([True, True, False], table.answers, -1))
    assert np.array_equal(
        cascade.scores(table.scores_pred, table.answers), cascade.scores(table.scores_pred, hidden.answers)
    )


def test_an_expert_that_is_always_right_stays_as_expected() -> None:
    """There is nothing to learn of it."""
    table = _table(n=200)
    always = replace(table, scores=np.where([False, False, True], 1.0, table.scores))
    cascade = learn_cascade(always, (0, 1))
    assert cascade.scores(table.scores_pred, table.answers)[:, 2] == pytest.approx(0.9)
