"""Execute: hand the rows of a wave to its engine, and keep every answer the moment it is there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.backends.base import Backend, engine_key, resolve
from leeroo.engine.batch.job import SETTLED, Job
from leeroo.engine.batch.plan import Wave, at_most
from leeroo.engine.batch.price import list_cost
from leeroo.engine.batch.residency import Engines
from leeroo.engine.errors import ExpertUnavailable
from leeroo.engine.schema import REQUESTS
from leeroo.engine.store.answers import KEPT
from leeroo.engine.store.timings import WaveTime

# Rows handed to a backend at a time: it pulls more when it has room.
_HAND_OUT_ROWS = 1024
_LOOK_UP_ROWS = 50_000
_LOOK_S = 0.1
# How long what is in flight may take to come back when a run is stopped: it is paid for already.
_GRACE_S = 1.0
_NOTHING = pa.RecordBatch.from_pylist([], schema=REQUESTS)

_PENDING = f"""
SELECT expert, expected, predicted_score, asked, question_hash, private, key, {", ".join(REQUESTS.names)}
FROM plan ANTI JOIN settled USING (id) ANTI JOIN twins USING (id)
WHERE wave = {{wave}} ORDER BY system, turns, prompt, id
"""

_SETTLE_FOUND = """
SELECT w.id, w.expert, w.predicted_score, f.answer, f.prompt_tokens, f.completion_tokens, 0.0::DOUBLE AS cost_usd,
       f.list_cost_usd, f.latency_ms, f.finish_reason, NULL::VARCHAR AS error, f.recorded_score, f.choice_logprobs
FROM found f JOIN wanted w USING (key)
"""

_SETTLE_OWN = """
SELECT q.id, e.expert, NULL::DOUBLE AS predicted_score, o.answer, o.prompt_tokens, o.completion_tokens,
       o.list_cost_usd AS cost_usd, o.list_cost_usd, o.latency_ms, o.finish_reason, NULL::VARCHAR AS error,
       o.recorded_score, o.choice_logprobs
FROM own o JOIN questions q ON hex(q.key) = o.asked JOIN experts e ON e.name = o.expert
QUALIFY row_number() OVER (PARTITION BY q.id ORDER BY e.expert) = 1
"""


def take_up(job: Job) -> None:
    """Settle what this run has paid for before it was killed, by whichever expert the run had chosen then.

    The choice for the whole batch was made first, as if nothing had happened: where the costs keep to the forecast,
    what is left goes where it would have gone.
    """
    if not job.run.resumed or job.taken_up:
        return
    job.taken_up = True
    cursor = job.scratch.cursor()
    cursor.register("own", job.store.of_run(job.run))
    own = cursor.sql(_SETTLE_OWN).to_arrow_table().cast(SETTLED)
    ids, experts = own.column("id").to_numpy(), own.column("expert").to_numpy()
    job.ledger.observe(experts, job.forecast.costs[ids, experts], own.column("cost_usd").to_numpy())
    if job.forecast.known:
        scores = pa.array(job.forecast.scores[ids, experts].astype(np.float64), from_pandas=True)
        own = own.set_column(SETTLED.get_field_index("predicted_score"), SETTLED.field("predicted_score"), scores)
    job.settle(own, stored=True)
    job.flush()


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
    left = "SELECT coalesce(sum(expected), 0) FROM plan ANTI JOIN settled USING (id) ANTI JOIN twins USING (id)"
    job.ledger.plan(float(cursor.execute(left).fetchall()[0][0]))


Sent = tuple[bytes, str, bytes, bool, int, float | None]  # the columns `_SENT` of the plan


_SENT = ("key", "asked", "question_hash", "private", "expert", "predicted_score")


@dataclass
class _Flight:
    """Requests handed out and not back yet: what is needed to keep their answers."""

    wave: Wave
    sent: dict[int, Sent] = field(default_factory=dict)  # by id
    back: int = 0  # how many have come back
    tokens: dict[str, int] = field(default_factory=lambda: {"prompt_tokens": 0, "completion_tokens": 0})  # of those


def execute(job: Job, wave: Wave, engines: Engines, later: Sequence[Wave]) -> None:
    """Generate the answers of one wave and settle its questions.

    Questions that bounce, and all that are left when the engine breaks or the run is halted, stay open.
    """
    pending = job.scratch.cursor().sql(_PENDING.format(wave=wave.number)).to_arrow_reader(_HAND_OUT_ROWS)
    flight = _Flight(wave)
    room = _Room()
    requests = _hand_out(job, flight, pending, room)
    first = next(requests, None)  # an engine with nothing to do is not loaded
    if first is None:
        return
    expert = job.experts[wave.experts[0]]
    began, was_loaded = time.monotonic(), engines.loaded(expert)
    try:
        with engines.lend(expert, [job.experts[other.experts[0]] for other in later], job.halt) as backend:
            loaded = time.monotonic()
            room.of = backend
            _generate(job, flight, backend, _chain(first, requests))
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
        job.lose(wave.experts, str(error))
    finally:
        requests.close()
        with job.lock:
            job.ledger.drop(list(flight.sent))
            job.flush()


def _generate(job: Job, flight: _Flight, backend: Backend, requests: Iterator[pa.RecordBatch]) -> None:
    """Keep all completions; when the run is halted, those that come back within a short grace."""
    until: float | None = None
    with contextlib.closing(backend.generate(requests)) as completions:
        for batch in completions:
            if batch.num_rows:
                with job.lock:
                    _keep(job, flight, batch)
                    job.back.notify_all()
            if job.halt.is_set():
                until = until or time.monotonic() + _GRACE_S
                if time.monotonic() >= until:
                    return


def _chain(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


class _Room:
    """How many requests may leave at once: one, to see whether there are any, until their backend is there."""

    of: Backend | None = None

    def __call__(self) -> int:
        return 1 if self.of is None else max(self.of.room, 1)


def _hand_out(
    job: Job, flight: _Flight, pending: Iterator[pa.RecordBatch], room: Callable[[], int]
) -> Generator[pa.RecordBatch]:
    """Requests in the order of the plan, as the budget permits; empty batches while it waits for answers.

    Ends early when the run is halted, and when what is open should be chosen anew.
    """
    recorded = np.array([resolve(e) == "replay" for e in job.experts])
    for planned in pending:
        batch = _unanswered(job, planned)
        while batch.num_rows:
            experts = batch.column("expert").to_numpy()
            most = at_most(batch, job.usd_per_m[experts], recorded[experts])
            with job.lock:
                job.anew = job.anew or (bool(flight.back) and job.ledger.drifted())
                if job.halt.is_set() or job.anew:
                    return
                fits = job.ledger.admit(most[: room()])
                if fits:
                    part, batch = batch.slice(0, fits), batch.slice(fits)
                    _send(job, flight, part, most[:fits])
                elif not job.ledger.busy:
                    job.too_dear.add(int(experts[0]))
                    job.anew = True
                elif not flight.sent:  # others have what is left of the budget in flight
                    job.back.wait(_LOOK_S)
                    continue
            yield _requests(part) if fits else _NOTHING


def _unanswered(job: Job, batch: pa.RecordBatch) -> pa.RecordBatch:
    """Without the rows that another process sharing the store has answered since the plan was made."""
    found = job.store.look_up(batch.column("key")).column("key")
    # They stay open, and the look-up that follows the wave settles them.
    return batch.filter(pc.invert(pc.is_in(batch.column("key"), value_set=found.combine_chunks())))


def _send(job: Job, flight: _Flight, batch: pa.RecordBatch, most: np.ndarray) -> None:
    ids = batch.column("id").to_pylist()
    job.ledger.hand_out(ids, batch.column("expected").to_numpy(), most)
    columns = (batch.column(name).to_pylist() for name in _SENT)
    flight.sent.update(zip(ids, zip(*columns, strict=True), strict=True))


def _requests(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([batch.column(name) for name in REQUESTS.names], schema=REQUESTS)


def _keep(job: Job, flight: _Flight, batch: pa.RecordBatch) -> None:
    """Price completions, store the answers, settle all but those that bounced."""
    ids = batch.column("id").to_pylist()
    sent = [flight.sent.pop(i) for i in ids]
    flight.back += len(ids)
    for name in flight.tokens:
        flight.tokens[name] += pc.sum(batch.column(name)).as_py() or 0
    told = batch.filter(batch.column("cached_tokens").is_valid())
    if told.num_rows:
        job.meter.read(*(pc.sum(told.column(name)).as_py() or 0 for name in ("prompt_tokens", "cached_tokens")))
    experts = np.array([expert for *_, expert, _ in sent], dtype=np.int32)
    failed = batch.column("error").is_valid().to_numpy(zero_copy_only=False)
    costs = np.where(failed, 0.0, list_cost(batch, job.usd_per_m[experts]))
    _store(job, batch, sent, costs, ~failed)
    job.ledger.settle(ids, experts, costs, failed)
    bounced = batch.column("bounced").to_numpy(zero_copy_only=False)
    for at in np.flatnonzero(bounced).tolist():
        job.bounced.setdefault(ids[at], {})[int(experts[at])] = batch.column("error")[at].as_py()
    own = {
        "expert": pa.array(experts),
        "predicted_score": pa.array([score for *_, score in sent], pa.float64()),
        "cost_usd": pa.array(costs),
        "list_cost_usd": pa.array(costs),
    }
    columns = [own[f.name] if f.name in own else batch.column(f.name) for f in SETTLED]
    job.settle(pa.Table.from_arrays(columns, schema=SETTLED).filter(pa.array(~bounced)))


def _store(job: Job, batch: pa.RecordBatch, sent: list[Sent], costs: np.ndarray, ok: np.ndarray) -> None:
    if not ok.any():
        return
    keys, asked, hashes, private, experts, predicted = zip(*sent, strict=True)
    own = {
        "key": pa.array(keys, pa.binary()),
        "run": pa.array([job.run.run] * len(sent)),
        "asked": pa.array(asked, pa.string()),
        "expert": pa.array([job.experts[i].name for i in experts]),
        "fingerprint": pa.array([job.fingerprints[i] for i in experts]),
        "list_cost_usd": pa.array(costs),
        "question_hash": pa.array(hashes, pa.binary()),
        "predicted_score": pa.array(predicted, pa.float64()),
        "private": pa.array(private, pa.bool_()),
    }
    columns = [own[f.name] if f.name in own else batch.column(f.name) for f in KEPT]
    job.store.append(pa.Table.from_arrays(columns, schema=KEPT).filter(pa.array(ok)))
