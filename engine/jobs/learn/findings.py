"""Findings: what a batch taught about its experts, and what its money would have brought otherwise."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from leeroo.engine.arrays import Float64s, Int64s
from leeroo.engine.jobs.learn.asked import AskedTable, WaveFigures
from leeroo.engine.jobs.learn.judging import JudgeFound
from leeroo.engine.jobs.learn.mixes import best_mixes
from leeroo.engine.jobs.learn.policy import Plan
from leeroo.engine.jobs.learn.truth import NONE, posterior, rates
from leeroo.engine.orchestrator.analysis.frontier import Interval

# Questions for the interval of the batch's accuracy.
_QUESTIONS = 1000
# Fewer questions of the pilot than this teach nothing that a price does not say.
LEAST_PILOT = 8
# The interval holds this part of the draws.
_LEVEL = 0.95


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
        rate: Right answers among those given, expected.
        experts: In the order of the pool.
        alternatives: The default expert, the best single one, and the best mix.
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
        share = f"{100 * self.rate.value:.0f} % of the answers are expected to be right"
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
        notes: For people.
        judge: The expert that judged answers, if one did.

    """
    n, e = asked.costs.shape
    costs = asked.usual_costs(plan.pilot)
    shares_right = plan.skills.rates
    ours = _rate_of_batch(asked, plan, chosen)
    others = _alternatives(asked, shares_right, costs, usd / max(1, n), default)
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
        gold=sum(right is not None for right in asked.questions.gold),
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


def _alternatives(
    asked: AskedTable, shares_right: Float64s, costs: Float64s, usd: float, default: str
) -> dict[str, Float64s]:
    """Return the rates that other ways are expected to have, a draw each, for `usd` a question."""
    reached = np.where(costs > 0, np.minimum(1.0, usd / np.maximum(costs, 1e-300)), 1.0)
    single = shares_right * np.where(np.isfinite(costs), reached, 0.0)
    best = int(single.mean(axis=0).argmax())
    mixes = np.unique(best_mixes(shares_right, costs, usd)[1].round(6), axis=0) @ shares_right.T
    found = {f"{asked.names[best]} alone": single[:, best], "a random mix": mixes[mixes.mean(axis=1).argmax()]}
    if default in asked.names:
        found = {f"the default expert {default}": single[:, asked.names.index(default)], **found}
    return found


def _rate_of_batch(asked: AskedTable, plan: Plan, chosen: Int64s) -> Float64s:
    """Return the share of right answers among those given, for each draw of the skills [d]."""
    rows = np.flatnonzero(chosen >= 0)
    if len(rows) > _QUESTIONS:
        rows = rows[np.linspace(0, len(rows) - 1, _QUESTIONS).astype(int)]
    if not len(rows):
        return np.zeros(len(plan.skills.draws))
    reached = float(asked.rows[chosen >= 0].sum() / max(1, asked.rows.sum()))
    weights = asked.rows[rows] / asked.rows[rows].sum()
    evidence, found = asked.evidence.take(rows), []
    codes = evidence.answers[np.arange(len(rows)), chosen[rows]]
    heard = codes >= 0
    for skills in plan.skills.draws:  # each beside the same draw of the other ways
        truth = posterior(evidence, skills).truth
        of_answer = np.where(heard, truth[np.arange(len(rows)), np.maximum(codes, 0)], 0.0)
        unheard = codes == NONE  # answers that nobody judged
        of_answer = np.where(unheard, rates(skills)[chosen[rows]], of_answer)
        found.append(float(weights @ of_answer) * reached)
    return np.array(found)


def _interval(draws: Float64s) -> Interval:
    low, high = np.quantile(draws, [(1 - _LEVEL) / 2, (1 + _LEVEL) / 2])
    return Interval(float(draws.mean()), float(low), float(high))


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
