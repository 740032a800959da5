"""Keep: completions are priced, stored and settled the moment they are there, with what failed ones were billed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.batch.job import SETTLED, Job
from leeroo.engine.batch.plan import Wave
from leeroo.engine.batch.price import list_cost
from leeroo.engine.batch.progress import ExpertTotals
from leeroo.engine.store.answers import KEPT
from leeroo.engine.store.charges import Charge


class Sent(NamedTuple):
    """What is needed of a planned question to keep its answer: columns of the plan."""

    key: bytes
    asked: str
    question_hash: bytes
    private: bool
    expert: int
    predicted_score: float | None


@dataclass
class Flight:
    """The requests of one wave: those handed out and not back yet, and what came back."""

    wave: Wave
    claims: bool  # whether requests are claimed in the store before they leave; a recorded answer needs no claim
    sent: dict[int, Sent] = field(default_factory=dict)  # by id
    back: int = 0  # how many have come back
    tokens: dict[str, int] = field(default_factory=lambda: {"prompt_tokens": 0, "completion_tokens": 0})  # of those
    doubtful: list[pa.Table] = field(default_factory=list)  # failures since the last answer, `SETTLED`


def keep(job: Job, flight: Flight, batch: pa.RecordBatch) -> None:
    """Price completions, store answers and charges, settle all rows but those that others may take."""
    ids = batch.column("id").to_pylist()
    sent = [flight.sent.pop(i) for i in ids]
    experts = np.array([each.expert for each in sent], dtype=np.int32)
    failed = batch.column("error").is_valid().to_numpy(zero_copy_only=False)
    costs = list_cost(batch, job.usd_per_m[experts])
    _store(job, batch, sent, costs, ~failed)
    _charge(job, flight, batch, sent, costs, failed)
    job.ledger.settle(ids, costs)
    _count(job, flight, batch, experts)
    rows = _settled(batch, sent, experts, costs)
    bounced = batch.column("bounced").to_numpy(zero_copy_only=False)
    for at in np.flatnonzero(bounced).tolist():
        job.bounced.setdefault(ids[at], {})[int(experts[at])] = batch.column("error")[at].as_py()
    _pass_on(job, rows.filter(pa.array(bounced)))
    flight.doubtful.append(rows.filter(pa.array(~bounced)))
    if not failed.all():
        job.answered.update(experts[~failed].tolist())
        settle(job, flight)


def settle(job: Job, flight: Flight) -> None:
    """The expert answers, so that its latest failures are those of the rows."""
    for rows in flight.doubtful:
        job.settle(rows)
    flight.doubtful.clear()


def give_up(job: Job, flight: Flight) -> None:
    """The expert cannot answer, so that its latest failures go to others, and nothing of its is under way."""
    for rows in flight.doubtful:
        _pass_on(job, rows)
    flight.doubtful.clear()
    if flight.claims and flight.sent:
        job.store.release_claims(job.run, [each.key for each in flight.sent.values()])


def _pass_on(job: Job, rows: pa.Table) -> None:
    """These rows stay open; what they were billed is kept with them."""
    for expert in pc.unique(rows.column("expert")).to_pylist():
        own = rows.filter(pc.equal(rows.column("expert"), expert))
        cost, prompt, completion = (
            pc.sum(own.column(name)).as_py() or 0 for name in ("cost_usd", "prompt_tokens", "completion_tokens")
        )
        job.bill(own.column("id").to_pylist(), own.column("cost_usd").to_pylist())
        job.meter.settle(job.experts[expert].name, ExpertTotals(0, prompt, completion, cost, cost))


def _count(job: Job, flight: Flight, batch: pa.RecordBatch, experts: np.ndarray) -> None:
    """Count what came back, for the speed of the engine and for people."""
    flight.back += batch.num_rows
    for name in flight.tokens:
        flight.tokens[name] += pc.sum(batch.column(name)).as_py() or 0
    cached = batch.filter(batch.column("cached_tokens").is_valid())
    if cached.num_rows:
        job.meter.read(*(pc.sum(cached.column(name)).as_py() or 0 for name in ("prompt_tokens", "cached_tokens")))
    estimated = batch.column("estimated").fill_null(False).to_numpy(zero_copy_only=False)
    for expert, rows in zip(*np.unique(experts[estimated], return_counts=True), strict=True):
        job.meter.guess(job.experts[expert].name, int(rows))


def _settled(batch: pa.RecordBatch, sent: list[Sent], experts: np.ndarray, costs: np.ndarray) -> pa.Table:
    own = {
        "expert": pa.array(experts),
        "predicted_score": pa.array([each.predicted_score for each in sent], pa.float64()),
        "cost_usd": pa.array(costs),
        "list_cost_usd": pa.array(costs),
    }
    columns = [own[f.name] if f.name in own else batch.column(f.name) for f in SETTLED]
    return pa.Table.from_arrays(columns, schema=SETTLED)


def _store(job: Job, batch: pa.RecordBatch, sent: list[Sent], costs: np.ndarray, ok: np.ndarray) -> None:
    if not ok.any():
        return
    own = {
        "key": pa.array([each.key for each in sent], pa.binary()),
        "run": pa.array([job.run.run] * len(sent)),
        "asked": pa.array([each.asked for each in sent], pa.string()),
        "expert": pa.array([job.experts[each.expert].name for each in sent]),
        "fingerprint": pa.array([job.fingerprints[each.expert] for each in sent]),
        "list_cost_usd": pa.array(costs),
        "question_hash": pa.array([each.question_hash for each in sent], pa.binary()),
        "predicted_score": pa.array([each.predicted_score for each in sent], pa.float64()),
        "private": pa.array([each.private for each in sent], pa.bool_()),
    }
    columns = [own[f.name] if f.name in own else batch.column(f.name) for f in KEPT]
    job.store.append(pa.Table.from_arrays(columns, schema=KEPT).filter(pa.array(ok)))


def _charge(
    job: Job, flight: Flight, batch: pa.RecordBatch, sent: list[Sent], costs: np.ndarray, failed: np.ndarray
) -> None:
    """Keep what failed requests were billed, and end the claims of those that were not."""
    tokens = [batch.column(name).fill_null(0).to_pylist() for name in flight.tokens]
    charges = [
        Charge(job.run.run, each.asked, job.experts[each.expert].name, prompt, completion, usd, each.key)
        for each, prompt, completion, usd, lost in zip(sent, *tokens, costs.tolist(), failed.tolist(), strict=True)
        if lost and usd > 0
    ]
    if charges:
        job.store.charge(charges)
    free = [sent[at].key for at in np.flatnonzero(failed & (costs <= 0)).tolist()]
    if free and flight.claims:
        job.store.release_claims(job.run, free)
