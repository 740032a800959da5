"""Advice from a sample: what accuracy which budget would bring on all questions, and whom it is worth keeping."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leeroo.engine.arrays import Float64s
from leeroo.engine.jobs.learn.asked import AskedTable
from leeroo.engine.jobs.learn.intervals import doubtful_skills
from leeroo.engine.jobs.learn.mixes import value_of_knowing
from leeroo.engine.jobs.learn.policy import Plan
from leeroo.engine.jobs.learn.truth import rates
from leeroo.engine.orchestrator.analysis.frontier import budgets_usd_per_1k, chosen_by, measure_choice
from leeroo.engine.orchestrator.router import Router

# A suggested budget reaches all but this of the accuracy that any budget reaches.
_ALMOST = 0.01
# An expert is worth keeping that answers this part of the questions at some budget.
_KEPT = 0.03


@dataclass(frozen=True)
class BudgetPoint:
    """What a budget is expected to bring.

    Attributes:
        usd: For all questions.
        usd_per_1k: For 1,000 questions, as it is expected to be spent.
        rate: Right answers, as a part of all.
        experts: The part of the questions that goes to each expert, by name.
    """

    usd: float
    usd_per_1k: float
    rate: float
    experts: dict[str, float]


@dataclass(frozen=True)
class Advice:
    """What a sample suggests for all questions.

    Attributes:
        frontier: Budgets, ascending.
        suggested: The least budget that reaches almost all.
        keep: Experts worth keeping, by name.
        unknown: How many more answers would be right, as a part of all, if the skills were known for sure: what more
            outcomes can bring at most, beside what they teach of single questions.
    """

    frontier: list[BudgetPoint]
    suggested: BudgetPoint
    keep: list[str]
    unknown: float


def advise_from_sample(asked: AskedTable, plan: Plan, router: Router, seed: int) -> Advice:
    """Return what budgets would bring on all questions, as a router that learned from the sample expects.

    Args:
        asked: The batch at its end.
        plan: Of the sample.
        router: Learned from it; experts that it does not know are expected to be as good as their skills say.
        seed: Random seed.

    """
    usual = asked.usual_costs(plan.pilot)
    predicted = router.predict(asked.questions.texts).scores.astype(np.float64)
    scores = np.tile(rates(plan.skills.likely), (len(predicted), 1))
    for j, name in enumerate(asked.names):
        if name in router.experts:
            scores[:, j] = predicted[:, router.experts.index(name)]
    costs = np.where(np.isfinite(asked.costs), asked.expected * (usual / np.nanmean(asked.expected, axis=0)), np.nan)
    skills = doubtful_skills(plan, asked.evidence, asked.questions.known, np.random.default_rng(seed))
    return advise(asked.names, scores, costs, rates(skills), usual)


def advise(names: list[str], scores: Float64s, costs: Float64s, shares_right: Float64s, usual_usd: Float64s) -> Advice:
    """Return what a sample suggests.

    Args:
        names: [e], of the experts.
        scores: [n, e], that each expert is expected to have on each question.
        costs: [n, e], USD that it is expected to cost; NaN where it may not answer.
        shares_right: [d, e], draws of the share of right answers.
        usual_usd: [e], mean cost of an answer.

    """
    n = len(scores)
    counted = np.nan_to_num(costs)
    points = []
    for budget in budgets_usd_per_1k(counted):
        usd = float(budget) * n / 1000
        chosen = chosen_by(scores, costs, usd)
        if (chosen < 0).any():  # not all questions are reached
            continue
        point = measure_choice(chosen, scores, counted)
        shares = np.bincount(chosen, minlength=len(names)) / n
        to = {name: float(share) for name, share in zip(names, shares, strict=True) if share}
        points.append(BudgetPoint(usd, point.cost_usd_per_1k, point.accuracy, to))
    best = max(point.rate for point in points)
    suggested = next(point for point in points if point.rate >= best - _ALMOST)
    keep = [name for name in names if max(point.experts.get(name, 0.0) for point in points) >= _KEPT]
    return Advice(points, suggested, keep, value_of_knowing(shares_right, usual_usd, suggested.usd / n))
