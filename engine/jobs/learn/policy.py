"""The policy: what to ask next, from the first question of a batch to the last cent of its budget.

1. Pilot: the experts that are left answer the same few questions, wave by wave. After each wave, an expert goes on
   that is part of the best mix for this budget in some of what is possible (successive halving, Jamieson and Talwalkar,
   AISTATS 2016, with posterior draws). Another wave must be worth more than it costs.
2. Base: where simulation says so, one or two cheap experts answer everything. Their agreement says what is easy.
3. Purchases: the rest of the money buys the answers that raise the expected number of right ones most, in a few waves.

Knows nothing of engines and texts: `Asked` is the batch.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from leeroo.engine.arrays import Bools, Float64s, Int64s
from leeroo.engine.jobs.learn.mixes import best_mixes, value_of_knowing, value_of_money
from leeroo.engine.jobs.learn.purchases import choose_purchases
from leeroo.engine.jobs.learn.skills import Prior, Skills, learn_skills
from leeroo.engine.jobs.learn.truth import NONE, SPREAD, C, Evidence, expit, fit, posterior, rates
from leeroo.engine.orchestrator.choose import choose

# The parts of the budget that the first waves of the pilot take, and the part that all of them may take.
_WAVES, _PILOT_PART = (0.05, 0.05, 0.06), 0.4
# The first questions are sent if they are expected to cost no more than this part of the money.
_FIRST_PART_OF_MONEY = 0.25
# Waves before it is weighed whether another one pays; questions of the first one at least, and of all at most.
_SURE_WAVES, _FIRST_QUESTIONS, _PILOT_QUESTIONS = 3, 4, 1000
# An expert goes on that is in the best mix in this part of the draws.
_IN_MIX = 0.04
# Or that would get this part of the questions. The least questions from which deviations are learned.
_TRAFFIC, _TAUGHT = 0.1, 30
# With fewer questions little can be learned of which expert is better on which: a pilot has as many, where it can.
_TEACHING = 100
# The rest of the questions is kept in reach of the cheapest expert, at this multiple of its cost.
_REST_MARGIN = 1.1
# A further wave finds out about this part of what perfect knowledge would bring.
_FOUND_OUT = 0.5
# Cheap experts, of less than this part of the money for a question, may give second opinions: the best two go on.
_CHEAP, _OPINIONS, _IN_OPINIONS = 0.15, 2, 0.25
# A base costs at most this part of what is left, and one expert of it this.
_BASE_PART, _BASE_EXPERT_PART = 0.7, 0.5
# A simulated gain of a base must be larger: the model is not the world.
_BASE_MARGIN = 0.01
_SIMULATED = 600
# The waves that spend the rest. The last ones plan with a part of it each: answers to hard questions are longer.
_PURCHASES, _LAST, _LAST_PART = 3, 2, 0.75
# Without a base, this part of the questions is answered first; and what is spent of the money, as costs may be higher.
_FIRST_PART, _SPENT = 0.7, 0.97
# Skills are fitted to this many questions with the most answers.
_FITTED = 600


class Asked(Protocol):
    """The n questions of a batch, with what e experts answered so far.

    Attributes:
        evidence: The answers.
        costs: [n, e], USD of an answer, expected or paid; NaN where that expert may not answer.
        rows: [n], how often each question is in the table.
        spent: USD so far.
        comparable: False if answers say nothing about each other, other than through gold: they are judged.
    """

    evidence: Evidence
    costs: Float64s
    rows: Int64s
    spent: float
    comparable: bool

    @property
    def bought(self) -> Bools:
        """Whom each question was sent to, [n, e]."""
        ...

    def reserve(self, experts: Int64s) -> float:
        """Return the USD that must be left for an answer of any of these experts to be sent."""
        ...

    def ask(self, pairs: Bools, what: str) -> None:
        """Have questions answered, bool [n, e]."""


@dataclass
class Plan:
    """What was decided, for people.

    Attributes:
        skills: What is known of the experts at the end.
        going_on: The experts that were still asked after the pilot.
        pilot: Questions of the pilot, in the order in which they were sent.
        waves: Waves of the pilot.
        base: The experts that answered everything.
    """

    skills: Skills
    going_on: Int64s
    pilot: Int64s
    waves: int = 0
    base: tuple[int, ...] = ()


# Learns on which questions an expert is better than usual, and enters it into the evidence.
Deviate = Callable[[Plan], None]


def run_pilot(
    asked: Asked,
    prior: Prior,
    order: Int64s,
    usd: float,
    rng: np.random.Generator,
    deviate: Deviate | None = None,
    *,
    all_of_it: bool = False,
) -> Plan:
    """Run the pilot.

    Args:
        asked: The batch.
        prior: What is known beforehand.
        order: [n], the questions in the order in which they are sent.
        usd: Budget of the batch.
        rng: For draws.
        deviate: Learns from the pilot so far on which questions an expert is better than usual.
        all_of_it: Spend the whole budget on the pilot.

    """
    plan = start_plan(asked, prior, rng)
    while len(plan.going_on) > 1:
        k = next_questions(asked, plan, usd, all_of_it=all_of_it)
        if k < 1:
            break
        start = len(plan.pilot)
        pairs = np.zeros(asked.costs.shape, bool)
        pairs[np.ix_(order[start : start + k], plan.going_on)] = True
        asked.ask(pairs & np.isfinite(asked.costs), "pilot")
        plan.pilot = order[: start + k]
        plan.waves += 1
        if deviate is not None and len(plan.pilot) >= _TAUGHT:
            deviate(plan)
        plan.skills = learn_skills(asked.evidence.take(plan.pilot), prior, rng, plan.skills.likely)
        costs = mean_costs(asked.costs, plan.going_on)
        levels = costs[plan.going_on].tolist() if all_of_it else [_left(asked, plan, usd)]
        plan.going_on = _going_on(asked, plan, costs, levels)
    return plan


def start_plan(asked: Asked, prior: Prior, rng: np.random.Generator) -> Plan:
    """Return the plan before the first question: everyone goes on who may answer one."""
    nothing = np.zeros(0, np.int64)
    experts = np.flatnonzero(np.isfinite(asked.costs).any(axis=0))
    return Plan(learn_skills(asked.evidence.take(nothing), prior, rng), experts, nothing)


def next_questions(asked: Asked, plan: Plan, usd: float, *, all_of_it: bool = False) -> int:
    """Return how many questions the next wave of the pilot has; 0 if there is none."""
    costs = mean_costs(asked.costs, plan.going_on)
    each, open_ = float(costs[plan.going_on].sum()), len(asked.costs) - len(plan.pilot)
    most = min(open_, _PILOT_QUESTIONS - len(plan.pilot))
    k = min(_questions_of_wave(each, usd, plan.waves), most)
    if all_of_it:
        return min(k, int((_SPENT * usd - asked.spent - asked.reserve(plan.going_on)) / max(each, 1e-300)))
    # Whatever the pilot costs, the cheapest expert must be able to answer the rest.
    cheapest = _REST_MARGIN * float(costs.min())
    room = usd - asked.spent - asked.reserve(plan.going_on) - cheapest * open_
    if each > cheapest:
        # The first answers say how long answers are; before them they are expected to be as long as they may be.
        first = 0 if plan.waves else min(_FIRST_QUESTIONS, int(_FIRST_PART_OF_MONEY * usd / max(each, 1e-300)))
        k = min(k, max(first, int(room / (each - cheapest))))
    within = asked.spent + k * each <= (_PILOT_PART if plan.waves else 1.0) * usd
    return k if k > 0 and within and _pays(asked, plan, costs, k, usd) else 0


def _questions_of_wave(usd_per_question: float, usd: float, wave: int) -> int:
    """Return how many questions a wave of the pilot has, for the experts that are left."""
    part = _WAVES[min(wave, len(_WAVES) - 1)]
    k = int(part * usd / usd_per_question) if usd_per_question > 0 else _PILOT_QUESTIONS // 5
    return max(k, _FIRST_QUESTIONS if wave == 0 else 1)


def mean_costs(costs: Float64s, experts: Int64s) -> Float64s:
    """Return the mean cost of an answer of each of these experts, infinite for others [e]."""
    found = np.full(costs.shape[1], np.inf)
    for j in experts.tolist():
        own = costs[:, j]
        found[j] = own[np.isfinite(own)].mean() if np.isfinite(own).any() else np.inf
    return found


def _left(asked: Asked, plan: Plan, usd: float) -> float:
    """Return the money for each question that is not in the pilot."""
    return max(usd - asked.spent, 0.0) / max(1, len(asked.costs) - len(plan.pilot))


def _pays(asked: Asked, plan: Plan, costs: Float64s, k: int, usd: float) -> bool:
    """Return whether another wave of k questions finds out more than its money would bring."""
    if plan.waves < _SURE_WAVES or len(plan.pilot) < _TEACHING:
        return True
    left = _left(asked, plan, usd)
    rest = len(asked.costs) - len(plan.pilot) - k
    gain = _FOUND_OUT * value_of_knowing(plan.skills.rates, costs, left) * rest
    extra = costs[plan.going_on].sum() - left  # the questions of the wave are answered by it
    return bool(gain > value_of_money(plan.skills.rates, costs, left) * k * extra)


def _going_on(asked: Asked, plan: Plan, costs: Float64s, levels: Sequence[float]) -> Int64s:
    """Return the experts that are worth asking further, for some of these levels of money for a question."""
    shares_right = plan.skills.rates
    kept = np.zeros(len(costs), bool)
    for level in levels:
        kept |= (best_mixes(shares_right, costs, level)[1] > 0).mean(axis=0) >= _IN_MIX
        kept |= _traffic(asked, plan, level) >= _TRAFFIC
    cheap = np.flatnonzero(costs <= _CHEAP * max(levels))
    if asked.comparable and len(cheap):
        ranked = np.argsort(-shares_right[:, cheap], axis=1)[:, :_OPINIONS]
        often = np.array([(ranked == i).any(axis=1).mean() for i in range(len(cheap))])
        kept[cheap[often >= _IN_OPINIONS]] = True
    found = plan.going_on[kept[plan.going_on]]
    return found if len(found) else plan.going_on


def _traffic(asked: Asked, plan: Plan, usd: float) -> Float64s:
    """Return the part of the other questions that each expert would get if the best were bought now, [e]."""
    e = asked.costs.shape[1]
    rest = np.setdiff1d(np.arange(len(asked.costs)), plan.pilot)
    if len(rest) > _SIMULATED:
        rest = rest[np.linspace(0, len(rest) - 1, _SIMULATED).astype(int)]
    if not len(rest):
        return np.zeros(e)
    scores = rates(plan.skills.likely + asked.evidence.offset[rest])
    costs = np.where(np.isin(np.arange(e), plan.going_on), asked.costs[rest], np.nan)
    chosen = choose(scores, costs, rows=asked.rows[rest], budget_usd=usd * len(rest)).expert
    return np.bincount(chosen[chosen >= 0], minlength=e) / len(rest)


def choose_base(asked: Asked, plan: Plan, usd: float, rng: np.random.Generator) -> tuple[int, ...]:
    """Return the experts that should answer everything, none where the rest is better shared between two."""
    costs, left = mean_costs(asked.costs, plan.going_on), _left(asked, plan, usd)
    cheap = [i for i in plan.going_on.tolist() if costs[i] <= _BASE_EXPERT_PART * left]
    bases: list[tuple[int, ...]] = [()]
    for size in (1, 2):
        bases += [base for base in itertools.combinations(cheap, size) if costs[list(base)].sum() <= _BASE_PART * left]
    if len(bases) == 1 or not asked.comparable:
        return ()
    seed = int(rng.integers(2**32))
    scores = [_simulate(asked, plan, base, left, np.random.default_rng(seed)) for base in bases]
    best = int(np.argmax(scores))
    return bases[best] if scores[best] > scores[0] + _BASE_MARGIN else ()


def spend_rest(asked: Asked, plan: Plan, prior: Prior, usd: float) -> None:
    """Buy answers until the money is spent, or nothing is worth it."""
    if plan.base:
        pairs = np.zeros(asked.costs.shape, bool)
        pairs[:, list(plan.base)] = True
        asked.ask(pairs & ~asked.bought & np.isfinite(asked.costs), "base")
        parts = [(np.arange(len(asked.rows)), 1 / left) for left in range(_PURCHASES, 1, -1)]
    else:
        # Costs are known better after most questions.
        open_rows = np.flatnonzero(~asked.bought.any(axis=1))
        cut = int(_FIRST_PART * len(open_rows))
        parts = [(open_rows[:cut], cut / max(1, len(open_rows))), (open_rows[cut:], 1.0)]
    parts += [(np.arange(len(asked.rows)), _LAST_PART)] * _LAST
    for rows, part in parts:
        theta = refit(asked, prior, plan.skills.likely) if plan.base else plan.skills.likely
        money = part * _money(asked, plan, usd)
        pairs = np.zeros(asked.costs.shape, bool)
        costs = asked.costs[rows]
        pairs[rows] = choose_purchases(asked.evidence.take(rows), theta, plan.going_on, costs, asked.rows[rows], money)
        asked.ask(pairs, "answers")


def _money(asked: Asked, plan: Plan, usd: float) -> float:
    """Return what may be planned: costs may come out higher, and the last answer must still be sent."""
    return max(0.0, _SPENT * (usd - asked.spent) - asked.reserve(plan.going_on))


def spend_on_predictions(asked: Asked, plan: Plan, scores: Float64s, usd: float) -> None:
    """Buy one answer to each question that has none, by the scores that are expected [n, e]."""
    for _ in range(3):  # answers that failed go to others
        open_rows = np.flatnonzero(~asked.bought.any(axis=1))
        if not len(open_rows):
            break
        going_on = np.isin(np.arange(scores.shape[1]), plan.going_on)
        costs = np.where(going_on, asked.costs, np.nan)[open_rows]
        rest = _money(asked, plan, usd)
        chosen = choose(scores[open_rows], costs, rows=asked.rows[open_rows], budget_usd=rest).expert
        pairs = np.zeros(asked.costs.shape, bool)
        found = chosen >= 0
        pairs[open_rows[found], chosen[found]] = True
        if not found.any():
            break
        asked.ask(pairs, "answers")


def refit(asked: Asked, prior: Prior, start: Float64s) -> Float64s:
    """Return skills fitted to the questions with the most answers."""
    evidence = asked.evidence
    if len(evidence.answers) > _FITTED:
        rows = np.argsort(-evidence.bought.sum(axis=1), kind="stable")[:_FITTED]
        evidence = evidence.take(rows)
    return fit(evidence, prior.mean, prior.sd, start)


@dataclass
class Simulated:
    """A batch drawn from the model; the right answer of each question is number 0."""

    answers: Int64s
    evidence: Evidence
    costs: Float64s
    rows: Int64s
    spent: float = 0.0
    comparable: bool = True

    @property
    def bought(self) -> Bools:
        """Whom each question was sent to."""
        return self.evidence.bought

    def reserve(self, experts: Int64s) -> float:  # noqa: ARG002 (of the protocol)
        """Return nothing: costs are known here."""
        return 0.0

    def ask(self, pairs: Bools, what: str) -> None:  # noqa: ARG002 (of the protocol)
        """Show the answers of these pairs."""
        self.spent += float(self.costs[pairs].sum())
        self.evidence = replace(self.evidence, answers=np.where(pairs, self.answers, self.evidence.answers))


def _simulate(asked: Asked, plan: Plan, base: Sequence[int], usd: float, rng: np.random.Generator) -> float:
    """Return the share of right answers of a base and `usd` a question, in a batch drawn from the model."""
    batch = _draw(asked, plan, rng)
    theta = plan.skills.draws.mean(axis=0)
    known = Plan(Skills(theta, plan.skills.draws), plan.going_on, plan.pilot, base=tuple(base))
    prior = Prior(theta, np.full(len(theta), 1e-3), batch.evidence.offset)  # the draws differ, their mean is kept
    spend_rest(batch, known, prior, usd * len(batch.rows))
    return float((posterior(batch.evidence, theta).best == 0).mean())


def _draw(asked: Asked, plan: Plan, rng: np.random.Generator) -> Simulated:
    n, e = _SIMULATED, asked.costs.shape[1]
    theta = plan.skills.draws[rng.integers(0, len(plan.skills.draws), n)]
    options = rng.choice(asked.evidence.options, n)
    right = rng.random((n, e)) < expit(theta + rng.normal(0, SPREAD, (n, 1)))
    popular, other = (1 + np.floor(rng.random((n, k)) * (options[:, None] - 1)).astype(int) for k in (1, e))
    wrong = np.where(rng.random((n, e)) < rng.choice(C, (n, 1)), popular, other)
    empty = replace(
        asked.evidence,
        answers=np.full((n, e), NONE),
        options=options,
        gold=np.full(n, NONE),
        offset=np.zeros((n, e)),
    )
    costs = mean_costs(asked.costs, plan.going_on)
    costs = np.broadcast_to(np.where(np.isfinite(costs), costs, np.nan), (n, e)).copy()
    return Simulated(np.where(right, 0, wrong), empty, costs, np.ones(n, int))
