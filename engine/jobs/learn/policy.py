"""The policy: what to ask next, from the first question of a batch to the last cent of its budget.

1. Pilot: the experts that are left answer a few questions, wave by wave, cheap ones more. After each, an expert goes on
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
from leeroo.engine.jobs.learn.mixes import best_mixes, value_of_knowing, value_of_money, values_of_each
from leeroo.engine.jobs.learn.purchases import choose_purchases
from leeroo.engine.jobs.learn.skills import Skills, learn_skills
from leeroo.engine.jobs.learn.truth import NONE, SPREAD, C, Evidence, Prior, expit, fit, posterior, rates
from leeroo.engine.orchestrator.choose import choose

# The parts of the budget that the first waves of the pilot take, and the part that all of them may take.
_WAVES, _PILOT_PART = (0.05, 0.05, 0.06), 0.3
# The first questions are sent if they are expected to cost no more than this part of the money. As many experts are
# tried as it is enough for, with that many questions to each: fewer show too little of an expert.
_FIRST_PART_OF_MONEY, _LEARNED_FROM = 0.25, 16
# Waves before it is weighed whether another one pays; questions of the first one at least, of one and of all at most.
_SURE_WAVES, _FIRST_QUESTIONS, _WAVE_QUESTIONS, _PILOT_QUESTIONS = 3, 4, 200, 1000
# An expert goes on that is in the best mix in this part of the draws.
_IN_MIX = 0.04
# Or that would get this part of the questions. The least questions from which deviations are learned.
_TRAFFIC, _TAUGHT = 0.1, 30
# With fewer questions little can be learned of which expert is better on which: a pilot has as many, where it can.
_TEACHING = 100
# The rest of the questions is kept in reach of the cheapest expert, at this multiple of its cost.
_REST_MARGIN = 1.1
# As many are asked at least, so that answers can be compared.
_COMPARED = 3
# A further wave finds out about this part of what perfect knowledge would bring.
_FOUND_OUT = 0.5
# Cheap experts, of less than this part of the money for a question, may give second opinions: the best two go on.
_CHEAP, _OPINIONS, _IN_OPINIONS = 0.15, 2, 0.25
# A base costs at most this part of what is left, and one expert of it this.
_BASE_PART, _BASE_EXPERT_PART = 0.75, 0.6
# A base teaches more of the experts than the simulation knows, which takes their skills as known. It may be worse there
# by this part of the questions, if one of it is right this often beside the best expert, and it costs no more than this
# part of what is left. The best of several bases is in part luck, so few are tried, of the best cheap experts.
_BASE_TEACHES, _OFTEN, _CHEAP_BASE, _BASE_EXPERTS = 0.025, 0.7, 0.3, 4
_SIMULATED = 1000
# The waves that spend the rest. The last ones plan with a part of it each: answers to hard questions are longer.
_PURCHASES, _LAST, _LAST_PART = 3, 2, 0.75
# Without a base, this part of the questions is answered first; and what is spent of the money, as costs may be higher.
_FIRST_PART, _SPENT = 0.7, 0.97
# Skills are fitted to this many questions.
_FITTED = 4000


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
        heard: How many of them each expert was asked: the first ones, more of a cheap expert.
        waves: Waves of the pilot.
        base: The experts that answered everything.
    """

    skills: Skills
    going_on: Int64s
    pilot: Int64s
    heard: Int64s
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
    plan = start_plan(asked, prior, rng, None if all_of_it else usd)
    while len(plan.going_on) > 1:
        wave = next_wave(asked, plan, usd, all_of_it=all_of_it)
        if not wave.any():
            break
        pairs = np.zeros(asked.costs.shape, bool)
        for j in np.flatnonzero(wave).tolist():
            pairs[order[plan.heard[j] : plan.heard[j] + wave[j]], j] = True
        asked.ask(pairs & np.isfinite(asked.costs), "pilot")
        plan.heard = plan.heard + wave
        plan.pilot = order[: max(len(plan.pilot), int(plan.heard.max()))]
        plan.waves += 1
        if deviate is not None and len(plan.pilot) >= _TAUGHT:
            deviate(plan)
        plan.skills = learn_skills(asked.evidence.take(plan.pilot), prior, rng, plan.skills.likely)
        costs = mean_costs(asked.costs, plan.going_on)
        levels = costs[plan.going_on].tolist() if all_of_it else [_left(asked, plan, usd)]
        plan.going_on = _going_on(asked, plan, costs, levels, usd)
    return plan


def start_plan(asked: Asked, prior: Prior, rng: np.random.Generator, usd: float | None) -> Plan:
    """Return the plan before the first question: those that are tried for this budget, or everyone without one."""
    nothing = np.zeros(0, np.int64)
    experts = np.flatnonzero(np.isfinite(asked.costs).any(axis=0))
    skills = learn_skills(asked.evidence.take(nothing), prior, rng)
    plan = Plan(skills, experts, nothing, np.zeros(len(prior.mean), np.int64))
    return plan if usd is None else replace(plan, going_on=_tried(asked, plan, prior.mean, usd))


def _tried(asked: Asked, plan: Plan, expected: Float64s, usd: float) -> Int64s:
    """Return the experts that a pilot tries: as many as the money can tell apart, the likely best of each price range.

    Where not all can be tried, those are left out of which even perfect knowledge is worth less than trying them costs.
    `expected` are the skills as known beforehand [e].
    """
    experts, costs = plan.going_on, mean_costs(asked.costs, plan.going_on)
    trying, most = _LEARNED_FROM * costs, _FIRST_PART_OF_MONEY * usd
    if trying[experts].sum() <= most:
        return experts
    level = usd / len(asked.costs)
    worth = values_of_each(plan.skills.rates, costs, level) * len(asked.costs)
    money = value_of_money(plan.skills.rates, costs, level) * trying[experts]
    if (worth[experts] > money).sum() >= _COMPARED:
        experts = experts[worth[experts] > money]
    by_price = experts[np.argsort(costs[experts], kind="stable")]
    for k in range(len(experts), _COMPARED, -1):
        tried = _best_of_ranges(by_price, expected, k)
        if trying[tried].sum() <= most:
            return tried
    return _best_of_ranges(by_price, expected, min(_COMPARED, len(experts)))


def _best_of_ranges(by_price: Int64s, expected: Float64s, k: int) -> Int64s:
    """Return the experts of which most is expected in each of k ranges of price."""
    return np.sort([each[np.argmax(expected[each])] for each in np.array_split(by_price, k)])


def next_wave(asked: Asked, plan: Plan, usd: float, *, all_of_it: bool = False) -> Int64s:
    """Return how many more questions each expert answers in the next wave of the pilot [e]; all 0 if there is none."""
    costs = mean_costs(asked.costs, plan.going_on)
    most = np.minimum(min(len(asked.costs), _PILOT_QUESTIONS) - plan.heard, _WAVE_QUESTIONS)
    money = _money_of_wave(asked, plan, costs, usd, all_of_it=all_of_it)
    if all_of_it:
        return shared_out(costs, money, most)
    # Those of whom more is worth its money are asked, with the cheapest ones beside them to compare with.
    asking = _worth_asking(asked, plan, costs, usd, _left(asked, plan, usd))
    asking[np.argsort(costs, kind="stable")[:_COMPARED]] = True
    wave = shared_out(np.where(asking, costs, np.inf), money, most)
    paid = float(wave[wave > 0] @ costs[wave > 0])
    within = asked.spent + paid <= (_PILOT_PART if plan.waves else 1.0) * usd
    return wave if within and _pays(asked, plan, costs, wave, paid, usd) else np.zeros_like(wave)


def _money_of_wave(asked: Asked, plan: Plan, costs: Float64s, usd: float, *, all_of_it: bool) -> float:
    """Return the USD that the next wave may take."""
    question = float(costs[plan.going_on].sum())  # if everybody answers it
    money = max(_planned(plan, usd), question * (1 if plan.waves else _FIRST_QUESTIONS))
    room = usd - asked.spent - asked.reserve(plan.going_on)
    if all_of_it:
        return min(money, room - (1 - _SPENT) * usd)
    # Whatever the pilot costs, the cheapest expert must be able to answer the rest.
    room -= _REST_MARGIN * float(costs.min()) * (len(asked.costs) - len(plan.pilot))
    if plan.waves:
        return min(money, room)
    # The first answers say how long answers are; before them they are expected to be as long as they may be.
    return min(money, max(room, min(_FIRST_QUESTIONS * question, _FIRST_PART_OF_MONEY * usd)))


def _planned(plan: Plan, usd: float) -> float:
    """Return the part of the budget, in USD, that the next wave is meant to take."""
    return _WAVES[min(plan.waves, len(_WAVES) - 1)] * usd


def _worth_asking(asked: Asked, plan: Plan, costs: Float64s, usd: float, level: float) -> Bools:
    """Return of whom a wave would find out more than its money would bring, at `level` for another question [e]."""
    rest = len(asked.costs) - len(plan.pilot)
    worth = _FOUND_OUT * values_of_each(plan.skills.rates, costs, level) * rest
    share = np.sqrt(np.where(np.isfinite(costs), costs, 0.0))  # of the wave's money
    share *= _planned(plan, usd) / max(share.sum(), 1e-300)
    return np.asarray((worth > value_of_money(plan.skills.rates, costs, level) * share) & np.isfinite(costs))


def shared_out(costs: Float64s, usd: float, most: Int64s) -> Int64s:
    """Return how many questions each expert answers for `usd` in all [e].

    The number falls with the root of the price, which makes the sum of the variances least (Neyman, "On the Two
    Different Aspects of the Representative Method", 1934). No expert answers more than the third most, so that there
    is always somebody to compare with.

    Args:
        costs: [e], mean USD of an answer; infinite for an expert that is not asked.
        usd: What may be spent.
        most: [e], questions that are left for each.

    """
    there = np.flatnonzero(np.isfinite(costs))
    wave = np.zeros(len(costs), np.int64)
    if usd < 0 or not len(there):
        return wave
    root = 1 / np.sqrt(np.maximum(costs[there], max(float(costs[there].max()), 1e-300) * 1e-4))
    root = np.minimum(root, np.sort(root)[-min(3, len(root))])

    def asked(x: float) -> Int64s:
        return np.asarray(np.minimum((x * root).astype(np.int64), np.maximum(most[there], 0)))

    low, high = 0.0, float(most.max() + 1) / float(root.min())
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if float(asked(middle) @ costs[there]) <= usd else (low, middle)
    wave[there] = asked(low)
    return wave


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


def _pays(asked: Asked, plan: Plan, costs: Float64s, wave: Int64s, paid: float, usd: float) -> bool:
    """Return whether another wave finds out more than its money would bring."""
    if plan.waves < _SURE_WAVES or len(plan.pilot) < _TEACHING:
        return True
    left = _left(asked, plan, usd)
    more = max(0, int((plan.heard + wave).max()) - len(plan.pilot))  # questions that the wave answers
    rest = len(asked.costs) - len(plan.pilot) - more
    gain = _FOUND_OUT * value_of_knowing(plan.skills.rates, costs, left) * rest
    return bool(gain > value_of_money(plan.skills.rates, costs, left) * (paid - left * more))


def _going_on(asked: Asked, plan: Plan, costs: Float64s, levels: Sequence[float], usd: float) -> Int64s:
    """Return the experts that are worth asking further, for some of these levels of money for a question."""
    shares_right = plan.skills.rates
    kept = np.zeros(len(costs), bool)
    for level in levels:
        kept |= (best_mixes(shares_right, costs, level)[1] > 0).mean(axis=0) >= _IN_MIX
        kept |= _traffic(asked, plan, level) >= _TRAFFIC
        kept |= _worth_asking(asked, plan, costs, usd, level)
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
    cheap = sorted(cheap, key=lambda i: -plan.skills.likely[i])[:_BASE_EXPERTS]
    bases: list[tuple[int, ...]] = [()]
    for size in (1, 2):
        bases += [base for base in itertools.combinations(cheap, size) if costs[list(base)].sum() <= _BASE_PART * left]
    if len(bases) == 1 or not asked.comparable or not len(plan.pilot):
        return ()
    seed = int(rng.integers(2**32))
    scores = [_simulate(asked, plan, base, left, np.random.default_rng(seed)) for base in bases]
    teaches = [_teaches(plan, base, costs, left) for base in bases]
    return bases[int(np.argmax(np.array(scores) + _BASE_TEACHES * np.array(teaches)))]


def _teaches(plan: Plan, base: tuple[int, ...], costs: Float64s, usd: float) -> bool:
    """Return whether a base shows much of the experts for little: it is cheap, and one of it often right."""
    right = rates(plan.skills.likely)
    often = any(right[i] >= _OFTEN * right[plan.going_on].max() for i in base)
    return bool(often and costs[list(base)].sum() <= _CHEAP_BASE * usd)


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
        theta = refit(asked, prior, plan.skills.likely)
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
    """Return skills fitted to all questions, around the level of those known before.

    Questions with the most answers alone would be the hard ones, on which everybody looks worse. And two answers to a
    question hardly tell likely truths from popular errors: the level of all skills is what the pilot says.
    """
    evidence = asked.evidence
    if len(evidence.answers) > _FITTED:
        evidence = evidence.take(np.linspace(0, len(evidence.answers) - 1, _FITTED).astype(int))
    found = fit(evidence, prior, start)
    return np.asarray(found + (start - found).mean())


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
    theta = plan.skills.draws.mean(axis=0)
    drawn = plan.skills.draws[rng.integers(0, len(plan.skills.draws), _SIMULATED)]
    batch = _draw(asked, plan, drawn, rng)
    known = Plan(Skills(theta, plan.skills.draws), plan.going_on, plan.pilot, plan.heard, base=tuple(base))
    sure = np.full(len(theta), 1e-3)  # the draws differ, their mean is kept
    prior = Prior(theta, sure, np.zeros((len(theta), 1)), np.zeros(1), batch.evidence.offset)
    spend_rest(batch, known, prior, usd * len(batch.rows))
    best = posterior(batch.evidence, theta).best
    # The probability of being right, by the skills that were drawn: it varies less than being right does.
    truth = posterior(replace(batch.evidence, offset=drawn - theta), theta).truth
    return float(np.where(best >= 0, truth[np.arange(len(best)), np.maximum(best, 0)], 0.0).mean())


def _draw(asked: Asked, plan: Plan, theta: Float64s, rng: np.random.Generator) -> Simulated:
    n, e = theta.shape
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
