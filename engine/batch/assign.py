"""Assign: ask the orchestrator to choose an expert for every open question of the batch."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from leeroo.engine.batch.job import Job
from leeroo.engine.batch.plan import ASSIGNED
from leeroo.engine.money import usd
from leeroo.engine.orchestrator.choose import choose

# What an answer of an expert is worth of which nothing is known, where the default one counts 1.
_UNKNOWN = 0.5


def assign(job: Job) -> pa.Table:
    """Choose for all open questions at once; those that nobody may answer are settled with the reason.

    Returns:
        A table with `plan.ASSIGNED`, one row for each question that has an expert now.

    """
    allowed = _allowed(job, np.flatnonzero(job.open))
    stranded = ~allowed.any(axis=1)
    ids = np.flatnonzero(job.open)
    if stranded.any():
        job.fail(ids[stranded], [_why_nobody(job, i) for i in ids[stranded].tolist()])
    ids, allowed = ids[~stranded], allowed[~stranded]
    expert = choose_experts(job, ids, allowed)
    left_out = expert < 0
    # As long as others are asked, what they turn out to cost may leave room after all.
    if len(ids) and left_out.all():
        job.fail(ids, [_out_of_budget(job)] * len(ids))
    ids, expert, allowed = ids[~left_out], expert[~left_out], allowed[~left_out]
    expected = _costs(job, ids)[np.arange(len(ids)), expert].astype(np.float64)
    scores = job.forecast.scores[ids, expert].astype(np.float64)
    best = np.where(allowed, _whole(job.forecast.scores, ids), -np.inf).max(axis=1, initial=-np.inf)
    job.binding = bool(left_out.any() or (scores < best).any())
    predicted = pa.array(scores, pa.float64(), from_pandas=True) if job.forecast.known else None
    return pa.Table.from_arrays(
        [
            pa.array(ids, pa.int64()),
            pa.array(expert, pa.int32()),
            pa.array(expected),
            pa.array(job.forecast.at_most[ids, expert].astype(np.float64)),
            predicted if predicted is not None else pa.nulls(len(ids), pa.float64()),
        ],
        schema=ASSIGNED,
    )


def choose_experts(job: Job, ids: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """The chosen candidate of each of these questions, int32 [len(ids)], -1 where the budget does not reach."""
    if len(ids) == 0:
        return np.zeros(0, np.int32)
    criteria = job.criteria
    scores = _whole(job.forecast.scores, ids)
    if criteria.max_cost_usd is not None and not job.forecast.known:
        # Nothing is known of the others, but an answer of theirs is worth more than none.
        scores = np.maximum(scores, _UNKNOWN)
    choice = choose(
        scores,
        _costs(job, ids),
        rows=job.rows[ids],
        latency_s=_whole(job.forecast.seconds, ids) if criteria.latency_weight else None,
        budget_usd=None if criteria.max_cost_usd is None else job.ledger.left,
        cost_weight=criteria.cost_weight,
        latency_weight=criteria.latency_weight,
        allowed=allowed,
    )
    return choice.expert


def _whole(values: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The rows of these questions; without a copy when they are all of them."""
    return values if len(ids) == len(values) else values[ids]


def _costs(job: Job, ids: np.ndarray) -> np.ndarray:
    """Expected cost in USD, float32 [len(ids), e], corrected by what the run has seen so far."""
    costs = _whole(job.forecast.costs, ids)
    correction = job.ledger.correction()
    return costs if (correction == 1).all() else costs * correction.astype(np.float32)


def _allowed(job: Job, ids: np.ndarray) -> np.ndarray:
    """Which candidates each of these questions may be asked of, bool [len(ids), e].

    With a budget only those that cannot cost more than what is left of it.
    """
    up = np.array([i not in job.down for i in range(len(job.experts))])
    local = np.array([e.location == "local" for e in job.experts])
    allowed = np.broadcast_to(up, (len(ids), len(up))).copy()
    allowed[job.private[ids]] &= local
    pinned = job.pinned[ids]
    asks = pinned >= 0
    allowed[asks] &= np.arange(len(up)) == pinned[asks, None]
    if job.bounced:
        place = {question: i for i, question in enumerate(ids.tolist()) if question in job.bounced}
        for question, i in place.items():
            allowed[i, list(job.bounced[question])] = False
    if job.criteria.max_cost_usd is not None:
        allowed &= _at_most(job, ids) <= job.ledger.left
    return allowed


def _at_most(job: Job, ids: np.ndarray) -> np.ndarray:
    """The most that each candidate can cost, as far as is known by now, float64 [len(ids), e]."""
    most: np.ndarray = _whole(job.forecast.at_most, ids).astype(np.float64) * job.ledger.stretch
    return most


def _why_nobody(job: Job, question: int) -> str:
    """The reason why no expert is left for a question, the most particular first."""
    if question in job.bounced:
        return list(job.bounced[question].values())[-1]
    pinned = int(job.pinned[question])
    if pinned in job.down:
        return f"the expert {job.experts[pinned].name!r} cannot answer: {job.down[pinned]}"
    local = [i for i, e in enumerate(job.experts) if e.location == "local"]
    if job.private[question] and ((pinned >= 0 and pinned not in local) or all(i in job.down for i in local)):
        return "the row is private and no local expert can answer it"
    if len(job.down) < len(job.experts):
        return _out_of_budget(job)
    return "; ".join(f"{job.experts[i].name}: {why}" for i, why in job.down.items())


def _out_of_budget(job: Job) -> str:
    return (
        f"the budget of {usd(job.ledger.budget)} does not reach this row: {usd(job.ledger.left)} of it is left, less"
        " than the row can cost; raise it, or lower max_tokens"
    )
