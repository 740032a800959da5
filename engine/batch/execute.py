"""Execute: hand the rows of a wave to its engine, as the budget and other runs permit."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.backends.identity import engine_key
from leeroo.engine.backends.protocol import AMPLE, Backend
from leeroo.engine.backends.residency import Engines
from leeroo.engine.backends.select import capabilities
from leeroo.engine.batch.job import SETTLED, Job
from leeroo.engine.batch.keep import Flight, Sent, give_up, keep, settle
from leeroo.engine.batch.plan import Wave
from leeroo.engine.batch.progress import ExpertTotals
from leeroo.engine.errors import ExpertUnavailable
from leeroo.engine.schema import REQUESTS
from leeroo.engine.store.timings import WaveTime

# Rows handed to a backend at a time: it pulls more when it has room.
_HAND_OUT_ROWS = 1024
_LOOK_UP_ROWS = 50_000
_LOOK_S = 0.1
# How long what is in flight may take to come back when a run is stopped: it is paid for already.
_GRACE_S = 1.0
_NOTHING = pa.RecordBatch.from_pylist([], schema=REQUESTS)

_PENDING = f"""
SELECT expert, expected, at_most, predicted_score, asked, question_hash, private, key, {", ".join(REQUESTS.names)}
FROM plan ANTI JOIN settled USING (id) ANTI JOIN twins USING (id)
WHERE wave = {{wave}} ORDER BY system, turns, prompt, id
"""

_SETTLE_FOUND = """
SELECT w.id, w.expert, w.predicted_score, f.answer, f.prompt_tokens, f.completion_tokens, 0.0::DOUBLE AS cost_usd,
       f.list_cost_usd, f.latency_ms, f.finish_reason, NULL::VARCHAR AS error, f.recorded_score, f.choice_logprobs,
       f.logprobs
FROM found f JOIN wanted w USING (key)
"""

# Answers of this job: those of the same expert as now, and of this run alone where an answer is sampled.
_SETTLE_OWN = """
SELECT q.id, e.expert, NULL::DOUBLE AS predicted_score, o.answer, o.prompt_tokens, o.completion_tokens,
       CASE WHEN o.run = '{run}' THEN o.list_cost_usd ELSE 0 END AS cost_usd, o.list_cost_usd, o.latency_ms,
       o.finish_reason, NULL::VARCHAR AS error, o.recorded_score, o.choice_logprobs, o.logprobs
FROM own o JOIN questions q ON hex(q.key) = o.asked
     JOIN experts e ON e.name = o.expert AND e.fingerprint = o.fingerprint
WHERE o.run = '{run}' OR q.temperature IS NULL
QUALIFY row_number() OVER (PARTITION BY q.id ORDER BY o.run != '{run}', e.expert) = 1
"""


def take_up(job: Job) -> None:
    """Settle what was paid for already: by this run before it was killed, and by earlier runs of the same job.

    The choice for the whole batch was made first, as if nothing had happened: where the costs keep to the forecast,
    what is left goes where it would have gone. A finished command that is repeated costs nothing, though its forecast
    is another by now.
    """
    if job.taken_up:
        return
    job.taken_up = True
    cursor = job.scratch.cursor()
    earlier = job.store.of_job(job.run)
    cursor.register("own", pa.concat_tables([job.store.of_run(job.run), earlier]) if job.run.resumed else earlier)
    own = cursor.sql(_SETTLE_OWN.format(run=job.run.run)).to_arrow_table().cast(SETTLED)
    ids, experts = own.column("id").to_numpy(), own.column("expert").to_numpy()
    costs = own.column("cost_usd").to_numpy()
    paid = costs > 0
    job.ledger.observe(experts[paid], job.forecast.costs[ids, experts][paid], costs[paid])
    if job.run.resumed:
        _take_up_charges(job)
        # What was in flight at a kill is held at what this run was billed so far of the most it could have been.
        bound = float(job.forecast.at_most[ids, experts][paid].sum())
        job.ledger.reserved = job.store.in_flight(job.run) * (min(1.0, float(costs.sum()) / bound) if bound else 1.0)
    if job.forecast.known:
        scores = pa.array(job.forecast.scores[ids, experts].astype(np.float64), from_pandas=True)
        own = own.set_column(SETTLED.get_field_index("predicted_score"), SETTLED.field("predicted_score"), scores)
    job.settle(own, stored=True)
    job.flush()


def _take_up_charges(job: Job) -> None:
    """Count what this run was billed for requests that failed before it was killed."""
    for charge in job.store.charges(job.run):
        at = job.scratch.con.execute("SELECT id FROM questions WHERE hex(key) = ?", [charge.asked]).fetchall()
        job.bill([question for (question,) in at], [charge.cost_usd])
        tokens = charge.prompt_tokens, charge.completion_tokens
        job.meter.settle(charge.expert, ExpertTotals(0, *tokens, charge.cost_usd, charge.cost_usd))
        job.ledger.spent += charge.cost_usd


def look_up(job: Job, *, twins: bool = False) -> None:
    """Settle the planned questions whose answers the store has, at no cost: all but the twins, or the twins."""
    cursor = job.scratch.cursor()
    which = "SEMI" if twins else "ANTI"
    wanted = job.scratch.cursor().sql(
        "SELECT id, key, expert, predicted_score, private"
        f" FROM plan {which} JOIN twins USING (id) ANTI JOIN settled USING (id)"
    )
    for batch in wanted.to_arrow_reader(_LOOK_UP_ROWS):
        found = job.store.look_up(batch.column("key").unique())
        if found.num_rows:
            private = batch.filter(batch.column("private")).column("key")
            job.store.mark_private(private.filter(pc.is_in(private, value_set=found.column("key").combine_chunks())))
            cursor.register("found", found)
            cursor.register("wanted", pa.Table.from_batches([batch]))
            job.settle(cursor.sql(_SETTLE_FOUND).to_arrow_table().cast(SETTLED), stored=True)
    job.flush()
    left = (
        "SELECT expert, sum(expected) FROM plan ANTI JOIN settled USING (id) ANTI JOIN twins USING (id) GROUP BY expert"
    )
    expected = np.zeros(len(job.experts))
    for expert, usd in cursor.execute(left).fetchall():
        expected[expert] = usd
    job.ledger.plan(expected, binding=job.binding)


def execute(job: Job, wave: Wave, engines: Engines, later: Sequence[Wave]) -> None:
    """Generate the answers of one wave and settle its questions.

    Questions that bounce, and all that are left when the engine breaks or the run is halted, stay open.
    """
    pending = job.scratch.cursor().sql(_PENDING.format(wave=wave.number)).to_arrow_reader(_HAND_OUT_ROWS)
    expert = job.experts[wave.experts[0]]
    flight = Flight(wave, claims=not capabilities(expert).recorded)
    room = _Room(1 if capabilities(expert).runs_elsewhere else AMPLE)
    requests = _hand_out(job, flight, pending, room)
    first = next(requests, None)  # an engine with nothing to do is not loaded
    if first is None:
        return
    began, was_loaded = time.monotonic(), engines.loaded(expert)
    try:
        with engines.lend(expert, [job.experts[other.experts[0]] for other in later], job.halt) as backend:
            loaded = time.monotonic()
            room.of = backend
            _generate(job, flight, backend, _chain(first, requests))
            with job.lock:
                settle(job, flight)
            took = WaveTime(
                engine_key(expert),
                flight.back,
                load_s=None if was_loaded else loaded - began,
                generate_s=time.monotonic() - loaded,
                memory_bytes=engines.memory_bytes(expert),
                **flight.tokens,
            )
        job.store.measured(took)
    except ExpertUnavailable as error:
        with job.lock:
            give_up(job, flight)
            job.lose(wave.experts, str(error))
    finally:
        requests.close()
        with job.lock:
            job.ledger.drop(list(flight.sent))
            job.flush()


def _generate(job: Job, flight: Flight, backend: Backend, requests: Iterator[pa.RecordBatch]) -> None:
    """Keep all completions; when the run is halted, those that come back within a short grace."""
    until: float | None = None
    with contextlib.closing(backend.generate(requests)) as completions:
        for batch in completions:
            if batch.num_rows:
                with job.lock:
                    keep(job, flight, batch)
                    job.back.notify_all()
            if job.halt.is_set():
                until = until or time.monotonic() + _GRACE_S
                if time.monotonic() >= until:
                    return


def _chain(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


@dataclass
class _Room:
    """How many requests may leave at once: as many as the backend has room for, `first` until there is one."""

    first: int
    of: Backend | None = None

    def __call__(self) -> int:
        return self.first if self.of is None else max(self.of.room, 1)


def _hand_out(
    job: Job, flight: Flight, pending: Iterator[pa.RecordBatch], room: Callable[[], int]
) -> Generator[pa.RecordBatch]:
    """Requests in the order of the plan, as the budget permits; empty batches while it waits for answers.

    Ends early when the run is halted, and when what is open should be chosen anew. What does not fit the budget, or is
    being asked by another run, stays open.
    """
    for batch in pending:
        while batch.num_rows:
            experts, most = batch.column("expert").to_numpy(), batch.column("at_most").to_numpy()
            with job.lock:
                job.anew = job.anew or (bool(flight.back) and job.ledger.drifted())
                if job.halt.is_set() or job.anew:
                    return
                at_once = room()
                fits = job.ledger.admit(experts[:at_once], most[:at_once])
                part = _claimed(job, flight, batch.slice(0, fits))
                _send(job, flight, part)
                if not fits and not job.ledger.busy:
                    batch = batch.filter(pa.array(job.ledger.fits(experts, most)))
                elif not fits and not flight.sent:  # other lanes have what is left of the budget in flight
                    job.back.wait(_LOOK_S)
                batch = batch.slice(fits)
            if part.num_rows:
                yield _requests(part)
            elif flight.sent:
                yield _NOTHING


def _claimed(job: Job, flight: Flight, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Without the rows that another run has answered, or is asking, since the plan was made."""
    if not flight.claims or not batch.num_rows:
        return batch
    granted = job.store.claim(job.run, batch.column("key"), batch.column("at_most").to_pylist())
    mine = batch.filter(granted)
    job.refused += batch.num_rows - mine.num_rows
    return mine


def _send(job: Job, flight: Flight, batch: pa.RecordBatch) -> None:
    ids = batch.column("id").to_pylist()
    amounts = (batch.column(name).to_numpy() for name in ("expert", "expected", "at_most"))
    job.ledger.hand_out(ids, *amounts)
    job.sent += len(ids)
    columns = (batch.column(name).to_pylist() for name in Sent._fields)
    flight.sent.update(zip(ids, map(Sent._make, zip(*columns, strict=True)), strict=True))


def _requests(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([batch.column(name) for name in REQUESTS.names], schema=REQUESTS)
