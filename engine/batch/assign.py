"""Assign: choose an expert for every open question of the batch at once. Changes nothing of the run."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from leeroo.engine.backends.images.limits import sees
from leeroo.engine.batch.progress import HalfTheMoney
from leeroo.engine.batch.run import RunPlan, RunState
from leeroo.engine.batch.worktable import ASSIGNED
from leeroo.engine.money import usd
from leeroo.engine.orchestrator.choose import choose
from leeroo.engine.store.caps import closed_for

# Entries of the table of scores, up to which a second choice takes less than about a second.
_MOST_COMPARED = 2_000_000
# The value of an answer by an expert of which nothing is known, where that of the default expert counts 1.
_UNKNOWN = 0.5


# How the error of a row begins that the budget does not reach.
BEYOND_BUDGET = "the budget"


@dataclass(frozen=True)
class Assignment:
    """A choice for all open questions.

    Attributes:
        table: `ASSIGNED`, a row for each question that has an expert.
        failed: By question, why nobody may answer it.
        binding: Whether more money would have bought better answers.

    """

    table: pa.Table
    failed: dict[int, str]
    binding: bool


def assign(state: RunState) -> Assignment:
    """Choose experts for all open questions."""
    plan = state.plan
    parked = np.array(sorted(state.parked), np.int64)
    ids = np.setdiff1d(np.flatnonzero(state.open), parked, assume_unique=True)
    allowed = _allowed_experts(state, ids)
    stranded = ~allowed.any(axis=1)
    failed = {i: _why_nobody(state, i) for i in ids[stranded].tolist()}
    ids, allowed = ids[~stranded], allowed[~stranded]
    expert = _choose(state, ids, allowed)
    left_out = expert < 0
    # As long as others are under way, their actual costs may leave room after all.
    if len(ids) and left_out.all():
        failed |= {i: _out_of_money(state, i) for i in ids.tolist()}
    ids, expert, allowed = ids[~left_out], expert[~left_out], allowed[~left_out]
    binding = bool(left_out.any()) or _any_better(_whole(plan.forecast.scores, ids), expert, allowed)
    table = _table(state, ids, expert, parked=False)
    if len(parked):
        table = pa.concat_tables([table, _table(state, parked, _parked_experts(state, parked), parked=True)])
    return Assignment(table, failed, binding)


def _any_better(scores: np.ndarray, expert: np.ndarray, allowed: np.ndarray) -> bool:
    """Return whether another allowed expert has a better score than the chosen one [n], for any question."""
    chosen = scores[np.arange(len(expert)), expert]
    return any(bool((allowed[:, i] & (scores[:, i] > chosen)).any()) for i in range(scores.shape[1]))


def compare_half(state: RunState) -> HalfTheMoney | None:
    """Return what half of the expected cost would bring, for all questions of a run without a budget.

    None where nothing is predicted, where no choice costs that little, and where the choice would take long.
    """
    plan, criteria = state.plan, state.plan.criteria
    scores, costs, rows = plan.forecast.scores, plan.forecast.costs, plan.facts.rows
    if criteria.max_cost_usd is not None or not plan.forecast.known or not 0 < scores.size <= _MOST_COMPARED:
        return None
    allowed = _allowed_experts(state, np.arange(len(rows)))
    reached = allowed.any(axis=1)
    scores, costs, rows, allowed = scores[reached], costs[reached], rows[reached], allowed[reached]
    expected = []
    usd = math.inf
    for share in (1.0, 0.5):
        within = None if share == 1 else usd * share
        expert = choose(scores, costs, rows=rows, budget_usd=within, allowed=allowed).expert
        if len(expert) == 0 or (expert < 0).any():
            return None
        at = np.arange(len(expert))
        usd = float(costs[at, expert].sum(dtype=np.float64)) if share == 1 else usd
        expected.append(float(np.average(scores[at, expert], weights=rows)))
    return HalfTheMoney(usd, *expected)


def _table(state: RunState, ids: np.ndarray, expert: np.ndarray, *, parked: bool) -> pa.Table:
    """Return these questions with their experts, as `ASSIGNED`."""
    forecast = state.plan.forecast
    scores = forecast.scores[ids, expert].astype(np.float64)
    columns = [
        pa.array(ids, pa.int64()),
        pa.array(expert, pa.int32()),
        pa.array(forecast.costs[ids, expert].astype(np.float64)),
        pa.array(forecast.at_most[ids, expert].astype(np.float64)),
        pa.array(scores, pa.float64(), from_pandas=True) if forecast.known else pa.nulls(len(ids), pa.float64()),
        pa.array(np.full(len(ids), parked)),
    ]
    return pa.Table.from_arrays(columns, schema=ASSIGNED)


def _parked_experts(state: RunState, parked: np.ndarray) -> np.ndarray:
    return np.array([state.parked[question] for question in parked.tolist()], np.int32)


def _parked_usd(state: RunState) -> float:
    """Return the expected cost of the lines of open batches."""
    parked = np.array(sorted(state.parked), np.int64)
    return float(_costs(state, parked)[np.arange(len(parked)), _parked_experts(state, parked)].sum())


def _choose(state: RunState, ids: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Return the chosen expert of each of these questions, int32 [len(ids)], -1 where the budget does not reach."""
    if len(ids) == 0:
        return np.zeros(0, np.int32)
    plan, criteria = state.plan, state.plan.criteria
    scores = _whole(plan.forecast.scores, ids)
    limited = math.isfinite(state.ledger.left)
    if limited and not plan.forecast.known:
        # Nothing is known of the others, but their answer is better than none.
        scores = np.maximum(scores, _UNKNOWN)
    costs = _costs(state, ids)

    def choose_among(allowed: np.ndarray) -> np.ndarray:
        return choose(
            scores,
            costs,
            rows=plan.facts.rows[ids],
            latency_s=_whole(plan.forecast.seconds, ids) if criteria.latency_weight else None,
            budget_usd=max(state.ledger.left - _parked_usd(state), 0.0) if limited else None,
            cost_weight=criteria.cost_weight,
            latency_weight=criteria.latency_weight,
            allowed=allowed,
        ).expert

    return _within_caps(state, choose_among, allowed, scores, costs)


def _within_caps(
    state: RunState,
    choose_among: Callable[[np.ndarray], np.ndarray],
    allowed: np.ndarray,
    scores: np.ndarray,
    costs: np.ndarray,
) -> np.ndarray:
    """Choose experts [n]; one with a cap of its own keeps the rows for which it is worth most, the others go on.

    Args:
        state: Has the caps.
        choose_among: Chooses among allowed experts.
        allowed: [n, e], bool.
        scores: [n, e], expected.
        costs: [n, e], USD expected.

    """
    expert = choose_among(allowed)
    for capped in np.flatnonzero(state.leaves < state.ledger.left).tolist():
        own = np.flatnonzero(expert == capped)
        if costs[own, capped].sum(dtype=np.float64) <= state.leaves[capped]:
            continue
        others = allowed[own].copy()
        others[:, capped] = False
        gain = scores[own, capped] - np.where(others, scores[own], -np.inf).max(axis=1)
        order = np.argsort(-gain / np.maximum(costs[own, capped], 1e-12), kind="stable")
        beyond = np.cumsum(costs[own[order], capped], dtype=np.float64) > state.leaves[capped]
        # Nobody else may take some of them: they wait for what answers really cost.
        moved = order[beyond & others[order].any(axis=1)]
        allowed = allowed.copy()
        allowed[own[moved], capped] = False
        expert = choose_among(allowed)
    return expert


def _whole(values: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Return the rows of these questions; without a copy when they are all of them."""
    return values if len(ids) == len(values) else values[ids]


def _costs(state: RunState, ids: np.ndarray) -> np.ndarray:
    """Return expected costs in USD, float32 [len(ids), e], corrected by the actual costs of the run so far."""
    costs = _whole(state.plan.forecast.costs, ids)
    correction = state.ledger.correction()
    return costs if (correction == 1).all() else costs * correction.astype(np.float32)


def _allowed_experts(state: RunState, ids: np.ndarray) -> np.ndarray:
    """Return which experts each of these questions may go to, bool [len(ids), e].

    With a budget or spending caps, these are only experts whose answer cannot cost more than what is left.
    """
    plan = state.plan
    late = _too_slow(state)
    up = np.array([i not in state.down and not late[i] for i in range(len(plan.experts))])
    local = np.array([e.location == "local" for e in plan.experts])
    allowed = np.broadcast_to(up, (len(ids), len(up))).copy()
    allowed[plan.facts.private[ids]] &= local
    if plan.facts.pictured.any():
        allowed[plan.facts.pictured[ids]] &= np.array([sees(e) for e in plan.experts])
        allowed[np.isin(ids, list(plan.facts.no_image))] = False
    named = plan.facts.named[ids]
    names = named >= 0
    allowed[names] &= np.arange(len(up)) == named[names, None]
    for refused in (plan.facts.excluded, state.bounced):
        if refused:
            place = {question: i for i, question in enumerate(ids.tolist()) if question in refused}
            for question, i in place.items():
                allowed[i, list(refused[question])] = False
    if np.isfinite(plan.facts.max_cost_usd).any():
        allowed &= ~(_whole(plan.forecast.costs, ids) > plan.facts.max_cost_usd[ids, None])
    left = np.minimum(state.ledger.left, state.leaves)
    if np.isfinite(left).any():
        at_most = _whole(plan.forecast.at_most, ids)
        # The most that each can cost, as far as is known by now: by expert, as all of them in float64 may take GiB.
        for i, stretch in enumerate(state.ledger.stretch):
            allowed[:, i] &= at_most[:, i].astype(np.float64) * stretch <= left[i]
    return allowed


def _too_slow(state: RunState) -> np.ndarray:
    """Return which experts answer in batches that are not expected to end by the deadline, bool [e]."""
    waits = state.plan.forecast.waits
    late: np.ndarray = (waits > 0) & (waits > (np.inf if state.due is None else state.due - time.time()))
    return late


def _why_nobody(state: RunState, question: int) -> str:
    """Return why no expert is left for a question, the most particular reason first."""
    plan = state.plan
    if question in plan.facts.no_image:
        return plan.facts.no_image[question]
    if question in state.bounced:
        return list(state.bounced[question].values())[-1]
    named = int(plan.facts.named[question])
    if plan.facts.pictured[question] and (why := _why_unseen(plan, named)) is not None:
        return why
    if named in state.down:
        return f"the expert {plan.experts[named].name!r} cannot answer: {state.down[named]}"
    local = [i for i, e in enumerate(plan.experts) if e.location == "local"]
    if plan.facts.private[question] and ((named >= 0 and named not in local) or all(i in state.down for i in local)):
        return "the row is private and no local expert can answer it"
    if (why := _why_not_permitted(plan, question)) is not None:
        return why
    late = [e.name for e, slow in zip(plan.experts, _too_slow(state), strict=True) if slow]
    if len(late) + len(state.down) >= len(plan.experts) and late:
        return f"no batch of {', '.join(late)} is expected to end by the deadline: give more time, or another expert"
    if len(state.down) < len(plan.experts):
        return _out_of_money(state, question)
    return "; ".join(f"{plan.experts[i].name}: {why}" for i, why in state.down.items())


def _why_unseen(plan: RunPlan, named: int) -> str | None:
    """Return why no expert can see the images of a question, None where one can."""
    candidates = plan.experts if named < 0 else [plan.experts[named]]
    if any(sees(expert) for expert in candidates):
        return None
    who = f"the expert {candidates[0].name!r} cannot" if named >= 0 else "no expert of the pool can"
    return f"{who} see images: write images = true into the pool file for one whose model can"


def _why_not_permitted(plan: RunPlan, question: int) -> str | None:
    """Return why a question's own constraints leave no expert, None where they leave one."""
    excluded = plan.facts.excluded.get(question, ())
    if len(excluded) == len(plan.experts):
        return "all experts are excluded for this row"
    limit = float(plan.facts.max_cost_usd[question])
    costs = plan.forecast.costs[question]
    if all(i in excluded or costs[i] > limit for i in range(len(plan.experts))):
        return f"no expert is expected to stay within {usd(limit)}, what is left of the row's limit"
    return None


def _out_of_money(state: RunState, question: int) -> str:
    """Return which budget or spending cap keeps a question from all experts; of caps, the one that opens first."""
    plan, ledger = state.plan, state.ledger
    excluded = (*plan.facts.excluded.get(question, ()), *state.down)
    named, private = int(plan.facts.named[question]), bool(plan.facts.private[question])
    pictured = bool(plan.facts.pictured[question])
    closed = []
    for i, expert in enumerate(plan.experts):
        may = i not in excluded and named in (-1, i) and (not private or expert.location == "local")
        may = may and (not pictured or sees(expert))
        needed = float(plan.forecast.at_most[question, i]) * ledger.stretch[i]
        cap = closed_for(state.caps, expert.name, needed, held=state.impatient) if may else None
        if cap is not None and needed <= ledger.left_of_budget:
            closed.append((cap.opens, cap.why_closed(needed)))
    if closed:
        return min(closed)[1]
    if ledger.left < ledger.left_of_budget:  # a cap for all leaves less than the row is expected to cost
        return min((cap for cap in state.caps if not cap.expert), key=lambda cap: cap.left).why_closed(math.inf)
    return (
        f"{BEYOND_BUDGET} of {usd(ledger.budget)} does not reach this row: {usd(ledger.left_of_budget)} of it is left,"
        " less than the row can cost; raise it, or lower max_tokens"
    )
