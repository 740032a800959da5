"""What a batch asks next: the pilot, the base and the purchases, within the budget."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from leeroo.engine.arrays import Float64s
from leeroo.engine.jobs.learn.deviations import deviate
from leeroo.engine.jobs.learn.mixes import best_mixes, value_of_knowing, value_of_money, values_of_each
from leeroo.engine.jobs.learn.policy import (
    Plan,
    Simulated,
    choose_base,
    refit,
    run_pilot,
    shared_out,
    spend_rest,
    start_plan,
)
from leeroo.engine.jobs.learn.purchases import choose_purchases, values
from leeroo.engine.jobs.learn.skills import learn_skills, price_prior
from leeroo.engine.jobs.learn.truth import NONE, Evidence, posterior, rates
from tests.jobs.learn.test_truth import evidence, world

COSTS = np.array([1.0, 0.9, 0.1])


def batch(theta: Float64s, costs: Float64s, n: int, seed: int = 0) -> Simulated:
    """Return a batch whose right answers are all number 0."""
    found, truth = world(theta, n, seed=seed)
    answers = (found.answers - truth[:, None]) % 5
    empty = replace(found, answers=np.full(answers.shape, NONE))
    return Simulated(answers, empty, np.broadcast_to(costs, answers.shape).copy(), np.ones(n, int))


def run(asked: Simulated, usd: float, seed: int = 0) -> Plan:
    """Run the whole policy."""
    n, rng = len(asked.rows), np.random.default_rng(seed)
    prior = price_prior(asked.costs.mean(axis=0), n)
    plan = run_pilot(asked, prior, rng.permutation(n), usd, rng)
    plan.base = choose_base(asked, plan, usd, rng)
    spend_rest(asked, plan, prior, usd)
    return plan


def accuracy(asked: Simulated, plan: Plan) -> float:
    """Return the share of the likeliest answers that are right."""
    return float((posterior(asked.evidence, plan.skills.likely).best == 0).mean())


def test_a_dominated_expert_is_dropped() -> None:
    """An expert that is worse than another of its price, and than one of a tenth, is asked in the pilot only."""
    asked = batch(np.array([1.8, -1.2, 0.3]), COSTS, 1000, seed=1)
    asked.evidence = replace(asked.evidence, gold=np.zeros(1000, int))
    plan = run(asked, usd=500.0)
    assert 1 not in plan.going_on
    assert asked.evidence.bought[:, 1].sum() <= len(plan.pilot) < 400


@pytest.mark.parametrize("usd", [0.0, 0.05, 3.0, 40.0, 500.0])
def test_the_budget_holds(usd: float) -> None:
    """Whatever the budget, no more is spent; with enough of it every question is answered."""
    asked = batch(np.array([1.5, 1.0, 0.0]), COSTS, 300)
    run(asked, usd)
    assert asked.spent <= usd + 1e-9
    if usd >= 40:
        assert asked.evidence.bought.any(axis=1).mean() > 0.99


def test_it_beats_what_prices_say() -> None:
    """Over six batches, half of the money of the best expert brings more than the mix that prices suggest."""
    theta = np.array([1.6, 0.2, 1.2])
    gains = []
    for seed in range(6):
        asked = batch(theta, COSTS, 400, seed)
        plan = run(asked, usd=200.0, seed=seed)
        prior = price_prior(COSTS, 400)
        mix = best_mixes(prior.mean[None], COSTS, 0.5)[1][0]
        gains.append(accuracy(asked, plan) - mix @ (asked.answers == 0).mean(axis=0))
    assert np.mean(gains) > 0.03
    assert np.mean(gains) > 2 * np.std(gains) / np.sqrt(6)


@pytest.mark.parametrize(("n", "tried"), [(100, 3), (300, 8), (3000, 20)])
def test_few_rows_try_few_experts(n: int, tried: int) -> None:
    """The fewer rows, the fewer of twenty experts are tried, from cheap to expensive."""
    costs = np.geomspace(0.02, 1, 20)
    asked = batch(np.linspace(-0.5, 1.5, 20), costs, n)
    found = start_plan(asked, price_prior(costs, n), np.random.default_rng(0), 0.5 * n).going_on
    assert len(found) == tried
    assert costs[found].max() > 0.3
    assert costs[found].min() < 0.1


def test_many_experts_do_not_lose_on_a_small_table() -> None:
    """Twenty experts that prices mislead about, and 200 rows: a small pilot finds a better mix than prices suggest."""
    costs, usd = np.geomspace(0.02, 1, 20), 100.0
    theta = np.where(costs < 0.1, 0.8, np.where(costs < 0.9, -0.5, 1.5))
    asked, prior, rng = batch(theta, costs, 200), price_prior(costs, 200), np.random.default_rng(0)
    plan = run_pilot(asked, prior, rng.permutation(200), usd, rng)
    assert asked.spent <= 0.31 * usd
    spend_rest(asked, plan, prior, usd)
    mix = best_mixes(rates(prior.mean)[None], costs, 0.5)[1][0]
    assert accuracy(asked, plan) > mix @ (asked.answers == 0).mean(axis=0) + 0.05


def test_the_likely_best_of_each_price_range_is_tried() -> None:
    """Where not all can be tried, those go first of which a router expects most at their price."""
    costs = np.geomspace(0.1, 1, 12)
    prior = price_prior(costs, 60)
    prior = replace(prior, mean=prior.mean + np.tile([0.0, 1.0, 0.0, 0.0], 3))
    asked = batch(prior.mean, costs, 60)
    assert start_plan(asked, prior, np.random.default_rng(0), 30.0).going_on.tolist() == [1, 5, 9]


def test_an_expert_that_can_win_nothing_is_not_tried() -> None:
    """Where not all can be tried, one of ten times the budget of a question leaves its place to others."""
    costs = np.array([0.3, 0.4, 0.5, 2.0, 3.0, 12.0])
    asked = batch(np.ones(6), costs, 300)
    found = start_plan(asked, price_prior(costs, 300), np.random.default_rng(0), 300.0).going_on
    assert {0, 1, 2, 3} <= set(found)
    assert 5 not in found


def test_the_best_mix_of_two_experts_is_found() -> None:
    """With half of the money it is shared between the two ends of the frontier, and the middle one is left out."""
    shares_right = np.array([[0.9, 0.5, 0.6]])
    value, shares = best_mixes(shares_right, COSTS, 0.55)
    assert shares[0] == pytest.approx([0.5, 0, 0.5])
    assert value == pytest.approx([0.75])
    assert value_of_money(shares_right, COSTS, 0.55) == pytest.approx(0.3 / 0.9, rel=0.01)
    reached, _ = best_mixes(shares_right, COSTS, 0.05)
    assert reached == pytest.approx([0.3])  # half of the questions to the cheap one


def test_knowing_is_worth_what_is_unsure() -> None:
    """Where draws disagree on the best expert knowledge has a value, where they agree it has none."""
    sure = np.array([[0.9, 0.5, 0.1], [0.8, 0.4, 0.1]])
    unsure = np.array([[0.9, 0.5, 0.1], [0.5, 0.9, 0.1]])
    assert value_of_knowing(sure, COSTS, 1.0) == pytest.approx(0.0)
    assert value_of_knowing(unsure, COSTS, 1.0) == pytest.approx(0.2)


def test_knowing_one_expert_is_worth_what_it_may_change() -> None:
    """Nothing is gained by knowing an expert that is in no good mix, or of which nothing is unknown."""
    shares_right = np.array([[0.6, 0.5, 0.1], [0.6, 0.9, 0.2]])
    sure, likely, weak = values_of_each(shares_right, COSTS, 1.0)
    assert sure == pytest.approx(0.0)
    assert likely > 0.02
    assert weak == pytest.approx(0.0, abs=1e-3)


def test_cheap_experts_answer_more_questions_of_a_wave() -> None:
    """Four times the price halves the questions, the money holds, and nobody is asked what nobody else answers."""
    costs = np.array([4.0, 1.0, 1.0, 1.0, 0.01, np.inf])
    wave = shared_out(costs, 100.0, np.full(6, 1000))
    assert wave[0] == pytest.approx(wave[1] / 2, abs=1)
    assert wave[1] == wave[2] == wave[3] == wave[4]
    assert wave[5] == 0
    assert 90 < wave[:5] @ costs[:5] <= 100
    assert shared_out(costs, 1e9, np.array([7, 8, 9, 9, 9, 9])).tolist() == [7, 8, 9, 9, 9, 0]
    assert shared_out(np.zeros(2), 0.0, np.full(2, 5)).tolist() == [5, 5]


def test_answers_bought_for_hard_questions_make_nobody_look_worse() -> None:
    """Second opinions on what is doubted alone leave the rates of experts where they are."""
    theta = np.array([1.4, 1.0, 0.6])
    found, truth = world(theta, 2000, seed=6)
    pilot, doubted = np.arange(2000) < 200, found.answers[:, 1] != found.answers[:, 2]
    shown = np.column_stack([pilot | doubted, np.ones(2000, bool), np.ones(2000, bool)])
    prior = price_prior(np.array([1.0, 0.6, 0.4]), 2000)
    asked = Simulated(found.answers, replace(found, answers=np.where(shown, found.answers, NONE)), shown * 1.0, truth)
    assert rates(refit(asked, prior, theta)) == pytest.approx(rates(theta), abs=0.08)


def test_cheap_experts_that_are_as_good_are_found() -> None:
    """Where price says nothing, agreement corrects what it led to expect, also of those that were hardly asked."""
    theta, costs = np.full(6, 1.3), np.geomspace(0.01, 3, 6)
    found, _ = world(theta, 300, seed=8)
    heard = np.arange(300)[:, None] < np.array([300, 300, 300, 100, 30, 10])
    known = learn_skills(
        replace(found, answers=np.where(heard, found.answers, NONE)), price_prior(costs, 300), np.random.default_rng(0)
    )
    assert known.rates.mean(axis=0) == pytest.approx(rates(theta), abs=0.12)
    assert rates(price_prior(costs, 300).mean)[0] < rates(theta)[0] - 0.25


def test_a_second_opinion_is_worth_most_where_the_first_is_doubted() -> None:
    """After two cheap answers that differ an expensive one adds more than after two that agree."""
    answers = evidence(np.array([[NONE, 0, 0], [NONE, 0, 1]]))
    now, after = values(answers, np.array([2.0, 0.0, 0.0]), np.array([0]))
    gain = after[:, 0] - now
    assert gain[1] > 2 * gain[0] > 0
    assert np.isnan(after[:, 1:]).all()


def test_purchases_go_to_doubted_questions_within_the_money() -> None:
    """Money for one answer buys it for the question on which experts differ; a frequent question goes first."""
    answers = evidence(np.array([[NONE, 0, 0], [NONE, 0, 1], [NONE, 0, 1]]))
    theta, costs = np.array([2.0, 0.0, 0.0]), np.ones((3, 3))
    bought = choose_purchases(answers, theta, np.array([0]), costs, np.array([1, 1, 5]), 1.0)
    assert np.argwhere(bought).tolist() == [[2, 0]]


def test_questions_that_are_alike_have_one_value() -> None:
    """The value of an answer depends on who agrees with whom, and not on the numbers of the answers."""
    answers = evidence(np.array([[NONE, 0, 1], [NONE, 3, 2], [NONE, 4, 4]]))
    now, after = values(answers, np.array([1.0, 0.5, 0.5]), np.array([0]))
    assert now[0] == now[1] != now[2]
    assert after[0, 0] == after[1, 0]


def test_skills_that_depend_on_the_question_are_found() -> None:
    """Experts that are each good at one kind of question are distinguished by kind, with no right answer known."""
    kinds = np.repeat([0, 1], 150)
    vectors = np.eye(2)[kinds] + np.random.default_rng(0).normal(0, 0.1, (300, 2))
    one, _ = world(np.array([2.5, -0.5, 0.5]), 300, seed=1)
    two, _ = world(np.array([-0.5, 2.5, 0.5]), 300, seed=2)
    found = Evidence(
        np.where(kinds[:, None] == 0, one.answers, two.answers), one.options, one.gold, one.offset, one.family
    )
    prior = price_prior(np.ones(3), 300)
    pilot = np.random.default_rng(1).permutation(300)[:200]
    offset = deviate(found, prior, vectors, pilot, prior.mean)
    rest = np.setdiff1d(np.arange(300), pilot)
    first, second = offset[rest][kinds[rest] == 0].mean(axis=0), offset[rest][kinds[rest] == 1].mean(axis=0)
    assert first[0] - first[1] > 0.4
    assert second[1] - second[0] > 0.4


def test_nothing_deviates_where_texts_say_nothing() -> None:
    """Vectors without meaning change skills on other questions by little."""
    found, _ = world(np.array([1.5, 0.5, -0.5]), 300, seed=4)
    vectors = np.random.default_rng(2).normal(size=(300, 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    prior = price_prior(COSTS, 300)
    offset = deviate(found, prior, vectors, np.arange(150), prior.mean)
    assert np.abs(offset[150:]).mean() < 0.15
