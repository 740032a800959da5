"""Truth inference: skills and right answers from the answers of experts alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from leeroo.engine.arrays import Float64s, Int64s
from leeroo.engine.jobs.learn.skills import families, learn_skills, price_prior, router_prior, skill_of_rate
from leeroo.engine.jobs.learn.truth import EMPTY, NONE, SPREAD, Evidence, Prior, fit, posterior, rates, right


def world(theta: Float64s, n: int, options: int = 5, seed: int = 0) -> tuple[Evidence, Int64s]:
    """Return answers of experts to n questions, and the right ones; a wrong one is the popular one in 4 of 10."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, options, n)
    is_right = rng.random((n, len(theta))) < expit(theta + rng.normal(0, SPREAD, (n, 1)))
    popular = (truth + 1 + rng.integers(0, options - 1, n)) % options
    other = (truth[:, None] + 1 + rng.integers(0, options - 1, (n, len(theta)))) % options
    wrong = np.where(rng.random((n, len(theta))) < 0.4, popular[:, None], other)
    answers = np.where(is_right, truth[:, None], wrong)
    return evidence(answers, options), truth


def evidence(answers: Int64s, options: int = 5, gold: Int64s | None = None) -> Evidence:
    """Return answers [n, e] as evidence."""
    n, e = answers.shape
    known = np.full(n, NONE) if gold is None else gold
    return Evidence(answers, np.full(n, options), known, np.zeros((n, e)), np.arange(e))


def around(mean: float, sd: float, e: int) -> Prior:
    """Return the same prior for e experts, with a level that is known to a quarter of a logit."""
    return Prior(np.full(e, mean), np.full(e, sd), np.full((e, 1), 0.25), np.array([-np.inf]), np.zeros((0, e)))


def test_skills_are_found_without_a_right_answer() -> None:
    """From 400 questions the rates of five experts are found within 12 points, and their order."""
    theta = np.array([2.0, 1.2, 0.5, -0.2, -1.0])
    answers, _ = world(theta, 400)
    found = rates(fit(answers, around(0.8, 0.6, 5)))
    assert found == pytest.approx(rates(theta), abs=0.12)
    assert (np.diff(found) < 0).all()


def test_a_strong_expert_is_not_outvoted_by_three_weak_ones() -> None:
    """The likeliest answers of a pool of one strong and three weak experts are about as good as the strong one's."""
    theta = np.array([1.5, -1.3, -1.3, -1.3])
    answers, truth = world(theta, 300, seed=1)
    prior = price_prior(np.array([1.0, 0.05, 0.05, 0.05]), 300)
    found = posterior(answers, fit(answers, prior)).best
    alone = (answers.answers[:, 0] == truth).mean()
    assert (found == truth).mean() > alone - 0.03


def test_a_known_right_answer_is_kept() -> None:
    """Gold goes before what all experts say, and is nothing that nobody said."""
    answers = evidence(np.array([[0, 0, 0], [1, 1, 1]]), gold=np.array([1, EMPTY]))
    post = posterior(answers, np.zeros(3))
    assert right(answers, post) == pytest.approx(np.zeros((2, 3)))


def test_agreement_makes_an_answer_likelier() -> None:
    """An answer that two experts give is likelier right than one given alone, and three are surer than two."""
    answers = evidence(np.array([[0, NONE, NONE], [0, 0, NONE], [0, 0, 0], [0, 1, NONE]]))
    one, two, three, apart = posterior(answers, np.array([0.5, 0.5, 0.5])).sure
    assert apart < one < two < three


def test_an_empty_answer_counts_against_its_expert_and_is_never_right() -> None:
    """An answer without a result lowers the skill, and is not the likeliest."""
    answers = evidence(np.array([[0, EMPTY]] * 30))
    theta = fit(answers, around(0.0, 0.5, 2))
    assert theta[1] < theta[0] - 0.3
    assert (posterior(answers, theta).best == 0).all()


def test_relatives_count_less_than_strangers() -> None:
    """The agreement of two experts of one family proves less than that of two families."""
    answers = np.array([[0, 0]])
    strangers = evidence(answers)
    relatives = Evidence(answers, strangers.options, strangers.gold, strangers.offset, np.zeros(2, int))
    theta = np.full(2, 0.5)
    assert posterior(relatives, theta).sure < posterior(strangers, theta).sure
    assert families(["gpt-4o", "gpt-4o-mini", "claude-3", "llama-3", "qwen2"]).tolist() == [0, 0, 1, 2, 3]
    assert families(["gpt-4o", "gpt-4o-mini", "claude-3"]).tolist() == [0, 1, 2]  # too few to tell


def test_draws_hold_the_true_skills() -> None:
    """The true rates lie within the draws of most experts, and more questions narrow the draws."""
    theta = np.array([1.8, 1.0, 0.2, -0.6])
    rng = np.random.default_rng(3)
    spreads = []
    for n in (20, 300):
        answers, _ = world(theta, n, seed=5)
        found = learn_skills(answers, price_prior(np.array([1, 0.3, 0.1, 0.03]), n), rng).rates
        low, high = np.quantile(found, [0.02, 0.98], axis=0)
        assert ((low - 0.05 < rates(theta)) & (rates(theta) < high + 0.05)).all()
        spreads.append(found.std(axis=0).mean())
    assert spreads[1] < 0.8 * spreads[0]


def test_a_router_says_where_to_start() -> None:
    """Known experts start at the rates that a router expects, the others at their price; hard questions are shared."""
    scores = np.array([[0.9, np.nan, 0.8], [0.5, np.nan, 0.4], [0.7, np.nan, 0.6]])
    prior = router_prior(price_prior(np.array([1.0, 0.5, 0.1]), 3), scores)
    assert rates(prior.mean)[[0, 2]] == pytest.approx([0.7, 0.6], abs=0.01)
    assert prior.sd[1] > prior.sd[0]
    assert prior.offset[0].min() > 0 > prior.offset[1].max()
    assert rates(skill_of_rate(np.array([0.3, 0.8]))) == pytest.approx([0.3, 0.8], abs=1e-3)
