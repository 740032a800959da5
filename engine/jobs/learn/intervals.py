"""Intervals: how sure it is what a batch brings, and what the same money would have brought otherwise.

The draws of skills know what the answers of a pilot leave open, given the model. They do not know how far agreement and
prices mislead on a table. That was measured on recorded outcomes (`bench/learning/intervals.py`), and is added here.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from leeroo.engine.arrays import Bools, Float64s, Int64s
from leeroo.engine.jobs.learn.mixes import best_mixes
from leeroo.engine.jobs.learn.policy import Plan
from leeroo.engine.jobs.learn.truth import NONE, Evidence, posterior, rates
from leeroo.engine.orchestrator.analysis.frontier import Interval

# Standard deviations in logits: of the level of all skills, which agreement does not show; of what agreement says of an
# expert beside the others; and of what its price says, which counts less with every answer.
_LEVEL, _AGREEMENT, _PRICE = 0.7, 0.4, 0.8
# Answers to questions with gold that halve the first, those of all experts, and the others, those of an expert.
_GOLD_OF_LEVEL, _GOLD = 400, 200
# Standard deviation of the share of right answers at the same skills: agreement and texts mislead about answers, too.
_RUN = 0.025
# Answers of an expert that halve the variance of what its price says.
_ANSWERS = 50
# Questions for the interval of the batch's accuracy.
_QUESTIONS = 1000
# An interval holds this part of the draws.
_SURE = 0.95


def doubtful_skills(plan: Plan, evidence: Evidence, known: Bools, rng: np.random.Generator) -> Float64s:
    """Return draws of skills that also know how far agreement and prices mislead [d, e].

    Args:
        plan: With draws of skills.
        evidence: Answers [n, e].
        known: [n], whether the right answer to a question is known.
        rng: For draws.

    """
    d, e = plan.skills.draws.shape
    by_gold = (evidence.bought & known[:, None]).sum(axis=0)
    heard = evidence.bought[plan.pilot].sum(axis=0)
    level = _LEVEL / (1 + by_gold.sum() / _GOLD_OF_LEVEL)
    own = np.sqrt(_AGREEMENT**2 + _PRICE**2 / (1 + heard / _ANSWERS)) / (1 + by_gold / _GOLD)
    return np.asarray(plan.skills.draws + level * _normal(d, 1, rng) + own * _normal(d, e, rng))


def rate_of_batch(
    evidence: Evidence, rows: Int64s, skills: Float64s, chosen: Int64s, rng: np.random.Generator
) -> Float64s:
    """Return the share of the rows whose answer is right, for each draw of the skills [d].

    Args:
        evidence: Answers [n, e].
        rows: [n], how often each question is in the table.
        skills: [d, e].
        chosen: [n], the expert of each question's answer; -1 without one.
        rng: For draws of which answers are right.

    """
    taken = np.flatnonzero(chosen >= 0)
    if not len(taken):
        return np.zeros(len(skills))
    some = taken if len(taken) <= _QUESTIONS else taken[np.linspace(0, len(taken) - 1, _QUESTIONS).astype(int)]
    reached = float(rows[taken].sum() / rows.sum())
    weights, at = rows[some] / rows[some].sum(), np.arange(len(some))
    part, expert = evidence.take(some), chosen[some]
    codes, offset = part.answers[at, expert], part.offset[at, expert]
    found = np.zeros(len(skills))
    for i, theta in enumerate(skills):
        of_answer = np.where(codes >= 0, posterior(part, theta).truth[at, np.maximum(codes, 0)], 0.0)
        of_answer = np.where(codes == NONE, rates(theta[expert] + offset), of_answer)  # answers that nobody judged
        found[i] = weights @ of_answer
    by_chance = ((rows[taken] / rows[taken].sum()) ** 2).sum()
    spread = np.sqrt(by_chance * found * (1 - found) + _RUN**2)
    return np.asarray(reached * (found + spread * _normal(len(skills), 1, rng)[:, 0]).clip(0.0, 1.0))


def other_ways(
    names: Sequence[str], shares_right: Float64s, costs: Float64s, usd: float, default: str
) -> dict[str, Float64s]:
    """Return other ways to spend the money, by what they are: the part of the questions that each expert gets [e].

    Args:
        names: [e].
        shares_right: [d, e], draws of the share of right answers.
        costs: [e], mean USD of an answer; infinite for an expert that may not be used.
        usd: For a question.
        default: Name of the pool's default expert.

    """
    reached = np.where(costs > 0, np.minimum(1.0, usd / np.maximum(costs, 1e-300)), 1.0)
    alone = np.diag(np.where(np.isfinite(costs), reached, 0.0))
    best, found = names[int((shares_right @ alone).mean(axis=0).argmax())], {}
    if default in names:
        found[f"the default expert {default}"] = alone[names.index(default)]
    if best != default:
        found[f"{best} alone"] = alone[names.index(best)]
    mixes = np.unique(best_mixes(shares_right, costs, usd)[1].round(6), axis=0)
    mix = mixes[(mixes @ shares_right.T).mean(axis=1).argmax()]
    if (mix > 0).sum() > 1:
        found["a random mix"] = mix
    return found


def interval(value: float, draws: Float64s) -> Interval:
    """Return a measure, which is that of the expected skills, and the interval that holds most of its draws."""
    low, high = np.quantile(draws, [(1 - _SURE) / 2, (1 + _SURE) / 2])
    return Interval(float(value), float(low), float(high))


def _normal(d: int, columns: int, rng: np.random.Generator) -> Float64s:
    """Return draws of the standard normal distribution [d, columns]: its quantiles, shuffled, as the draws are few."""
    quantiles = np.array([NormalDist().inv_cdf((i + 0.5) / d) for i in range(d)])
    return np.column_stack([rng.permutation(quantiles) for _ in range(columns)])
