"""Findings: what a batch taught about its experts, and what its money would have brought otherwise."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from leeroo.engine.arrays import Float64s, Int64s
from leeroo.engine.jobs.learn.asked import AskedTable, WaveFigures
from leeroo.engine.jobs.learn.intervals import doubtful_skills, interval, other_ways, rate_of_batch
from leeroo.engine.jobs.learn.judging import JudgeFound
from leeroo.engine.jobs.learn.policy import Plan
from leeroo.engine.jobs.learn.truth import rates
from leeroo.engine.orchestrator.analysis.frontier import Interval

# Fewer questions of the pilot than this teach nothing that a price does not say.
LEAST_PILOT = 8


@dataclass(frozen=True)
class ExpertFinding:
    """What was learned of one expert.

    Attributes:
        expert: Its name.
        usd: Mean list price of an answer.
        rate: Right answers to the questions of this table, as a part of all.
        asked: Answers bought.
        rows: Rows that got its answer.
        why: Its part in the batch, in a few words.
    """

    expert: str
    usd: float
    rate: Interval
    asked: int
    rows: int
    why: str


@dataclass(frozen=True)
class Alternative:
    """What the same money would have brought another way.

    Attributes:
        what: The way.
        rate: Right answers, as a part of all.
        gain: Of this run over it, in parts of all.
    """

    what: str
    rate: Interval
    gain: Interval


@dataclass(frozen=True)
class Findings:
    """What a batch taught.

    Attributes:
        rows: Rows with a question.
        questions: Different ones.
        gold: Questions with a known right answer.
        pilot: Questions of the pilot.
        budget_usd, spent_usd: List prices, of all waves.
        rate: Right answers, as a part of all rows, expected.
        experts: In the order of the pool.
        alternatives: The default expert, the best single one if it is another, and the best mix if it is of two.
        waves: In their order.
        notes: What people should know.
        judge: The expert that judged answers; None where their agreement did.
    """

    rows: int
    questions: int
    gold: int
    pilot: int
    budget_usd: float
    spent_usd: float
    rate: Interval
    experts: list[ExpertFinding]
    alternatives: list[Alternative]
    waves: list[WaveFigures]
    notes: list[str]
    judge: JudgeFound | None = None

    def headline(self) -> str:
        """Return the outcome in one sentence, which claims no more than its interval shows."""
        best = max(self.alternatives, key=lambda other: other.rate.value)
        low, high = 100 * self.rate.low, 100 * self.rate.high
        share = f"{100 * self.rate.value:.0f} % of the answers ({low:.0f} to {high:.0f}) are expected to be right"
        if self.pilot < LEAST_PILOT:
            return f"{share}, by what prices say: too few questions were sent to several experts to compare"
        if best.gain.low > 0:
            return f"{share}: {100 * best.gain.value:+.1f} points over {best.what} at the same cost"
        if best.gain.high < 0:
            return f"{share}: {100 * best.gain.value:+.1f} points against {best.what} at the same cost"
        return f"{share}; no gain over {best.what} at the same cost is shown"

    def as_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        judge = None if self.judge is None else self.judge.as_dict()
        return {**asdict(self), "judge": judge, "headline": self.headline()}


def find(
    asked: AskedTable,
    plan: Plan,
    chosen: Int64s,
    usd: float,
    default: str,
    seed: int,
    notes: list[str],
    judge: JudgeFound | None,
) -> Findings:
    """Return what a batch taught.

    Args:
        asked: The batch at its end.
        plan: What was decided.
        chosen: The expert of each question's answer [n]; -1 without one.
        usd: Budget.
        default: Name of the pool's default expert.
        seed: Random seed.
        notes: For people.
        judge: The expert that judged answers, if one did.

    """
    n, e = asked.costs.shape
    costs = asked.usual_costs(plan.pilot)
    rng, evidence = np.random.default_rng(seed), asked.evidence
    expected = plan.skills.draws.mean(axis=0)
    skills = doubtful_skills(plan, evidence, asked.questions.known, rng)
    # The first row is what is expected, the others are draws of what is possible.
    shares_right = rates(np.vstack([expected, skills]))
    ours = np.concatenate([rate_of_batch(evidence, asked.rows, each, chosen, rng) for each in (expected[None], skills)])
    ways = other_ways(asked.names, shares_right[1:], costs, usd / max(1, n), default)
    others = {what: shares_right @ part for what, part in ways.items()}
    rows_of = np.bincount(chosen[chosen >= 0], weights=asked.rows[chosen >= 0], minlength=e).astype(int)
    bought = asked.evidence.bought.sum(axis=0)
    found = [
        ExpertFinding(
            name,
            float(costs[j]),
            _interval(shares_right[:, j]),
            int(bought[j]),
            int(rows_of[j]),
            _why(plan, j, int(bought[j]), int(rows_of[j])),
        )
        for j, name in enumerate(asked.names)
    ]
    return Findings(
        rows=int(asked.rows.sum()),
        questions=n,
        gold=int(asked.questions.known.sum()),
        pilot=len(plan.pilot),
        budget_usd=usd,
        spent_usd=asked.spent,
        rate=_interval(ours),
        experts=found,
        alternatives=[Alternative(what, _interval(rate), _interval(ours - rate)) for what, rate in others.items()],
        waves=asked.waves,
        notes=notes,
        judge=judge,
    )


def _why(plan: Plan, j: int, bought: int, rows: int) -> str:
    if j in plan.base:
        return "asked everything: cheap, and its agreement with others says what is easy"
    if rows and j in plan.going_on:
        return "asked where it is worth its price"
    if j in plan.going_on:
        return "kept to the end, not needed"
    if bought:
        return "left out: others are as good for less, or better for the same"
    return "not asked"


def _interval(found: Float64s) -> Interval:
    return interval(found[0], found[1:])
