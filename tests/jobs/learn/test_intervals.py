"""How sure the report of a learning run is of experts, of the run, and of its gain."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from leeroo.engine.arrays import Float64s
from leeroo.engine.jobs.learn.intervals import doubtful_skills, interval, other_ways, rate_of_batch
from leeroo.engine.jobs.learn.policy import Plan, Simulated
from leeroo.engine.jobs.learn.truth import NONE, posterior, rates
from tests.jobs.learn.test_policy import COSTS, batch, run

# Experts of a hard table: prices promise 70 % of the most expensive one, and it has 41 %.
HARD = np.array([-0.5, -0.9, -1.3])


def _skills(asked: Simulated, plan: Plan) -> Float64s:
    return doubtful_skills(plan, asked.evidence, asked.evidence.gold != NONE, np.random.default_rng(0))


def _widths(gold: int) -> Float64s:
    asked = batch(HARD, COSTS, 600, seed=1)
    known = np.where(np.arange(600) < gold, 0, NONE)
    asked.evidence = replace(asked.evidence, gold=np.random.default_rng(0).permutation(known))
    found = [interval(0.0, draws) for draws in rates(_skills(asked, run(asked, 400.0))).T]
    return np.array([each.high - each.low for each in found])


@pytest.mark.parametrize("seed", range(4))
def test_intervals_hold_the_truth_of_a_table_that_prices_misjudge(seed: int) -> None:
    """Without gold, agreement does not show how hard a table is: the intervals of experts and run are wide enough."""
    asked = batch(HARD, COSTS, 600, seed)
    plan = run(asked, 400.0, seed)
    skills = _skills(asked, plan)
    for draws, truth in zip(rates(skills).T, (asked.answers == 0).mean(axis=0), strict=True):
        assert interval(0.0, draws).low <= truth <= interval(0.0, draws).high
    best = posterior(asked.evidence, plan.skills.likely).best
    chosen = (asked.evidence.answers == best[:, None]).argmax(axis=1)
    found = interval(0.0, rate_of_batch(asked.evidence, asked.rows, skills, chosen, np.random.default_rng(0)))
    assert found.low <= (best == 0).mean() <= found.high


def test_gold_makes_intervals_narrower() -> None:
    """With right answers for all rows the intervals are clearly narrower than without any, with a hundred somewhat."""
    assert (_widths(600) < 0.65 * _widths(0)).all()
    assert (_widths(100) < _widths(0)).all()


def test_a_table_of_few_rows_is_less_sure() -> None:
    """The share that is right varies by chance, more in a table of ten rows than in one of a thousand."""
    asked = batch(np.array([0.5, 0.5, 0.5]), COSTS, 1000)
    plan = run(asked, 900.0)
    sure = np.tile(plan.skills.likely, (64, 1))
    chosen = np.where(asked.bought.any(axis=1), asked.bought.argmax(axis=1), -1)
    widths = []
    for n in (10, 1000):
        rows = np.flatnonzero(chosen >= 0)[:n]
        part = asked.evidence.take(rows)
        draws = rate_of_batch(part, asked.rows[rows], sure, chosen[rows], np.random.default_rng(0))
        widths.append(interval(0.0, draws).high - interval(0.0, draws).low)
    assert widths[0] > 3 * widths[1]


def test_a_way_is_named_once() -> None:
    """A default expert that is the best one is one way, and a mix of one expert is none; money limits what is reached."""
    costs, shares_right = np.array([1.0, 0.1]), np.array([[0.9, 0.3]])
    assert list(other_ways(["a", "b"], shares_right, costs, 1.0, "a")) == ["the default expert a"]
    ways = other_ways(["a", "b"], shares_right, costs, 0.5, "b")
    assert list(ways) == ["the default expert b", "a alone", "a random mix"]
    assert ways["a alone"].tolist() == [0.5, 0.0]
    assert ways["the default expert b"].tolist() == [0.0, 1.0]
    assert ways["a random mix"] @ costs == pytest.approx(0.5, abs=1e-5)
