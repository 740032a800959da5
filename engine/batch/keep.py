"""Keep: take in answers - those that the store has, before anything is sent, and completions when they come back.

Choices for the whole batch are made first, as if nothing had been answered before: where costs keep to the forecast,
what is left goes where it would have gone. Completions are priced, stored and resolved the moment they come back, and
what failed ones were billed is charged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.backends.api.limits.times import least_seconds
from leeroo.engine.backends.protocol import Backend
from leeroo.engine.batch.plan import longest_lane
from leeroo.engine.batch.price import list_cost
from leeroo.engine.batch.progress import ExpertTotals
from leeroo.engine.batch.run import RunState
from leeroo.engine.batch.worktable import RESULTS
from leeroo.engine.store.answers import KEPT
from leeroo.engine.store.runs import PAGE, Run
from leeroo.engine.store.spending import Charge


class Sent(NamedTuple):
    """The columns of the plan that are needed to keep the answer of a request."""

    key: bytes
    asked: str
    question_hash: bytes
    private: bool
    expert: int
    expected: float
    at_most: float
    predicted_score: float | None


@dataclass
class Flight:
    """The requests of one wave: those that are under way, and counts of those that came back."""

    waits: bool  # whether answers come from batches, which may stay open
    claims: bool  # whether requests are claimed in the store before they leave; a recorded answer needs no claim
    at_once: int  # how many may leave until there is a backend; then as many as it has room for
    backend: Backend | None = None
    sent: dict[int, tuple[pa.RecordBatch, int]] = field(default_factory=dict)  # by id: a batch of `Sent`, and its row
    back: int = 0  # how many have come back
    tokens: dict[str, int] = field(default_factory=lambda: {"prompt_tokens": 0, "completion_tokens": 0})  # of those
    doubtful: list[pa.Table] = field(default_factory=list)  # failures since the last answer, `RESULTS`

    def send(self, requests: pa.RecordBatch) -> None:
        """Note that these requests are under way."""
        kept = requests.select(Sent._fields)
        self.sent.update((each, (kept, row)) for row, each in enumerate(requests.column("id").to_pylist()))

    def land(self, ids: Sequence[int]) -> pa.RecordBatch:
        """Return the requests with these ids (`Sent`), in this order; they are under way no more."""
        found = [self.sent.pop(i) for i in ids]
        batch = found[0][0]
        if all(own is batch for own, _ in found):
            return batch.take(pa.array([row for _, row in found]))
        return pa.concat_batches([own.slice(row, 1) for own, row in found])

    def request(self, request: int) -> Sent:
        """Return a request that is under way."""
        batch, row = self.sent[request]
        return Sent(*(column[row].as_py() for column in batch.columns))


def take_in(state: RunState) -> None:
    """Take in the answers that are there already, before anything is sent.

    Those that this run paid for before it was killed come first, and then stored answers of planned questions. Where
    questions are still open, answers that earlier runs of the job paid for count too: a finished command that is
    repeated costs nothing, though its forecast is another by now.
    """
    first, state.resumed = not state.resumed, True
    if first and state.run.resumed:
        _resume(state)
    read_stored(state)
    if first and state.open.any():
        for results in _paid(state, state.store.of_job):
            state.resolve(results, stored=True)
    state.flush()


def _resume(state: RunState) -> None:
    """Take in what this run has paid for so far."""
    spent, bound, forecast = 0.0, 0.0, state.plan.forecast
    for results in _paid(state, state.store.of_run):
        ids, experts, costs = (results.column(name).to_numpy() for name in ("id", "expert", "cost_usd"))
        paid = costs > 0
        state.ledger.observe(experts[paid], forecast.costs[ids, experts][paid], costs[paid])
        state.resolve(results, stored=True)
        spent, bound = spent + float(costs.sum()), bound + float(forecast.at_most[ids, experts][paid].sum())
    state.flush()
    _resume_charges(state)
    # Requests under way at a kill are held at the share of their bound that this run was billed so far.
    state.ledger.reserved = state.store.in_flight(state.run) * (min(1.0, spent / bound) if bound else 1.0)


def _paid(state: RunState, read: Callable[[Run, int | None], pa.Table]) -> Iterator[pa.Table]:
    """Yield the results of open questions that runs of this job have paid for, with the scores predicted now."""
    scores = state.plan.forecast.scores if state.plan.forecast.known else None
    at = RESULTS.get_field_index("predicted_score")
    for batch in state.worktable.paid_results(_pages(state.run, read), state.run.run):
        results = pa.Table.from_batches([batch]).filter(pa.array(state.open[batch.column("id").to_numpy()]))
        if scores is not None:
            own = scores[results.column("id").to_numpy(), results.column("expert").to_numpy()].astype(np.float64)
            results = results.set_column(at, RESULTS.field("predicted_score"), pa.array(own, from_pandas=True))
        yield results


def _pages(run: Run, read: Callable[[Run, int | None], pa.Table]) -> Iterator[pa.Table]:
    """Yield stored answers of runs, a page at a time."""
    page = read(run, None)
    while page.num_rows:
        yield page
        if page.num_rows < PAGE:
            return
        page = read(run, page.column("number")[-1].as_py())


def _resume_charges(state: RunState) -> None:
    """Count what this run was billed for requests that failed before it was killed."""
    for charge in state.store.charges(state.run):
        state.bill(state.worktable.ids_of(charge.asked), [charge.cost_usd])
        tokens = charge.prompt_tokens, charge.completion_tokens
        state.meter.resolve(charge.expert, ExpertTotals(0, *tokens, charge.cost_usd, charge.cost_usd))
        state.ledger.spent += charge.cost_usd


def read_stored(state: RunState, *, duplicates: bool = False) -> None:
    """Take in the stored answers of planned questions, at no cost: of all but duplicates of others, or of these."""
    for batch in state.worktable.wanted_questions(duplicates=duplicates):
        found = state.store.look_up(batch.column("key").unique())
        if found.num_rows:
            private = batch.filter(batch.column("private")).column("key")
            private = private.filter(pc.is_in(private, value_set=found.column("key").combine_chunks()))
            if len(private):
                state.store.mark_private(private)
            state.resolve(state.worktable.stored_results(found, batch), stored=True)
    state.flush()


def plan_left(state: RunState) -> None:
    """Note what the requests that are left are expected to cost, and how long they take at least."""
    expected, requests = np.zeros((2, len(state.plan.experts)))
    for expert, usd, left in state.worktable.left():
        expected[expert], requests[expert] = usd, left
    state.ledger.plan(expected, binding=state.binding)
    seconds = least_seconds(state.plan.experts, requests, requests * state.plan.forecast.mean_tokens)
    state.meter.expect_at_least(longest_lane(state.plan.experts, seconds.tolist()))


def keep(state: RunState, flight: Flight, batch: pa.RecordBatch) -> None:
    """Price completions, store answers and charges, and resolve all rows but those that others may take."""
    ids = batch.column("id").to_pylist()
    sent = flight.land(ids)
    experts = sent.column("expert").to_numpy()
    failed = batch.column("error").is_valid().to_numpy(zero_copy_only=False)
    costs = list_cost(batch, experts, state.plan.prices)
    if not state.plan.criteria.keep_reasoning:
        at = batch.schema.get_field_index("reasoning")
        batch = batch.set_column(at, batch.schema.field(at), pa.nulls(batch.num_rows, pa.string()))
    _store(state, batch, sent, costs, ~failed)
    _charge(state, flight, batch, sent, costs, failed)
    state.ledger.charge(experts, sent.column("expected").to_numpy(), sent.column("at_most").to_numpy(), costs)
    _count(state, flight, batch, experts)
    rows = _results(batch, sent, costs)
    bounced = batch.column("bounced").to_numpy(zero_copy_only=False)
    for at in np.flatnonzero(bounced).tolist():
        state.bounced.setdefault(ids[at], {})[int(experts[at])] = batch.column("error")[at].as_py()
        state.passed_on += 1
    _pass_on(state, rows.filter(pa.array(bounced)))
    flight.doubtful.append(rows.filter(pa.array(~bounced)))
    if not failed.all():
        state.answered.update(experts[~failed].tolist())
        keep_failures(state, flight)


def keep_failures(state: RunState, flight: Flight) -> None:
    """Give rows their latest failures: the expert answers, so that they are at fault."""
    for rows in flight.doubtful:
        state.resolve(rows)
    flight.doubtful.clear()


def give_up(state: RunState, flight: Flight) -> None:
    """Pass the latest failures of an expert that cannot answer on to others, and end its claims."""
    for rows in flight.doubtful:
        _pass_on(state, rows)
    flight.doubtful.clear()
    if flight.claims and flight.sent:
        state.store.release_claims(state.run, [flight.request(i).key for i in flight.sent])


def _pass_on(state: RunState, rows: pa.Table) -> None:
    """Leave these rows open, and keep what they were billed."""
    for expert in pc.unique(rows.column("expert")).to_pylist():
        own = rows.filter(pc.equal(rows.column("expert"), expert))
        cost, prompt, completion = (
            pc.sum(own.column(name)).as_py() or 0 for name in ("cost_usd", "prompt_tokens", "completion_tokens")
        )
        state.bill(own.column("id").to_pylist(), own.column("cost_usd").to_pylist())
        state.meter.resolve(state.plan.experts[expert].name, ExpertTotals(0, prompt, completion, cost, cost))


def _count(state: RunState, flight: Flight, batch: pa.RecordBatch, experts: np.ndarray) -> None:
    """Count what came back, for the speed of the engine and for people."""
    flight.back += batch.num_rows
    for name in flight.tokens:
        flight.tokens[name] += pc.sum(batch.column(name)).as_py() or 0
    cached = batch.filter(batch.column("cached_tokens").is_valid())
    if cached.num_rows:
        state.meter.read(*(pc.sum(cached.column(name)).as_py() or 0 for name in ("prompt_tokens", "cached_tokens")))
    estimated = batch.column("estimated").fill_null(False).to_numpy(zero_copy_only=False)
    for expert, rows in zip(*np.unique(experts[estimated], return_counts=True), strict=True):
        state.meter.guess(state.plan.experts[expert].name, int(rows))


def _results(batch: pa.RecordBatch, sent: pa.RecordBatch, costs: np.ndarray) -> pa.Table:
    own = {name: sent.column(name) for name in ("expert", "predicted_score")}
    return _table(batch, {**own, "cost_usd": pa.array(costs), "list_cost_usd": pa.array(costs)}, RESULTS)


def _table(batch: pa.RecordBatch, own: dict[str, pa.Array], schema: pa.Schema) -> pa.Table:
    """Return a table of our own columns, and of those of completions where we have none."""
    columns = [own[f.name] if f.name in own else batch.column(f.name) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _store(state: RunState, batch: pa.RecordBatch, sent: pa.RecordBatch, costs: np.ndarray, ok: np.ndarray) -> None:
    if not ok.any():
        return
    experts = sent.column("expert")
    own = {
        **{name: sent.column(name) for name in ("key", "asked", "question_hash", "predicted_score", "private")},
        "run": pa.repeat(state.run.run, len(sent)),
        "expert": pa.array([expert.name for expert in state.plan.experts]).take(experts),
        "fingerprint": pa.array(state.plan.fingerprints).take(experts),
        "list_cost_usd": pa.array(costs),
    }
    state.store.append(_table(batch, own, KEPT).filter(pa.array(ok)))


def _charge(
    state: RunState, flight: Flight, batch: pa.RecordBatch, sent: pa.RecordBatch, costs: np.ndarray, failed: np.ndarray
) -> None:
    """Keep what failed requests were billed, and end the claims of those that were not."""
    if not failed.any():
        return
    keys, asked, experts = (sent.column(name).to_pylist() for name in ("key", "asked", "expert"))
    tokens = [batch.column(name).fill_null(0).to_pylist() for name in flight.tokens]
    names = [state.plan.experts[i].name for i in experts]
    charges = [
        Charge(state.run.run, question, expert, prompt, completion, usd, key)
        for question, expert, prompt, completion, usd, key, lost in zip(
            asked, names, *tokens, costs.tolist(), keys, failed.tolist(), strict=True
        )
        if lost and usd > 0
    ]
    if charges:
        state.store.charge(charges)
    free = [keys[at] for at in np.flatnonzero(failed & (costs <= 0)).tolist()]
    if free and flight.claims:
        state.store.release_claims(state.run, free)
    if free and flight.waits:
        state.store.end_lines(free)
