"""Resume: take in what the store has already, before anything is sent.

Choices for the whole batch are made first, as if nothing had happened: where costs keep to the forecast, what is left
goes where it would have gone.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.batch.progress import ExpertTotals
from leeroo.engine.batch.run import RunState
from leeroo.engine.batch.worktable import RESULTS


def resume(state: RunState) -> None:
    """Take in what was paid for by this run before it was killed, and by earlier runs of the same job.

    A finished command that is repeated costs nothing, though its forecast is another by now.
    """
    if state.resumed:
        return
    state.resumed = True
    store, forecast = state.store, state.plan.forecast
    earlier = store.of_job(state.run)
    own = pa.concat_tables([store.of_run(state.run), earlier]) if state.run.resumed else earlier
    results = state.worktable.paid_before(own, state.run.run)
    ids, experts = results.column("id").to_numpy(), results.column("expert").to_numpy()
    costs = results.column("cost_usd").to_numpy()
    paid = costs > 0
    state.ledger.observe(experts[paid], forecast.costs[ids, experts][paid], costs[paid])
    if state.run.resumed:
        _resume_charges(state)
        # Requests under way at a kill are held at the share of their bound that this run was billed so far.
        bound = float(forecast.at_most[ids, experts][paid].sum())
        share = min(1.0, float(costs.sum()) / bound) if bound else 1.0
        state.ledger.reserved = store.in_flight(state.run) * share
    if forecast.known:
        scores = pa.array(forecast.scores[ids, experts].astype(np.float64), from_pandas=True)
        at = RESULTS.get_field_index("predicted_score")
        results = results.set_column(at, RESULTS.field("predicted_score"), scores)
    state.resolve(results, stored=True)
    state.flush()


def _resume_charges(state: RunState) -> None:
    """Count what this run was billed for requests that failed before it was killed."""
    for charge in state.store.charges(state.run):
        state.bill(state.worktable.ids_of(charge.asked), [charge.cost_usd])
        tokens = charge.prompt_tokens, charge.completion_tokens
        state.meter.resolve(charge.expert, ExpertTotals(0, *tokens, charge.cost_usd, charge.cost_usd))
        state.ledger.spent += charge.cost_usd


def read_stored(state: RunState, *, duplicates: bool = False) -> None:
    """Take in the stored answers of planned questions, at no cost: of all but duplicates of others, or of these."""
    for batch in state.worktable.wanted(duplicates=duplicates):
        found = state.store.look_up(batch.column("key").unique())
        if found.num_rows:
            private = batch.filter(batch.column("private")).column("key")
            state.store.mark_private(private.filter(pc.is_in(private, value_set=found.column("key").combine_chunks())))
            state.resolve(state.worktable.stored(found, batch), stored=True)
    state.flush()
    expected = np.zeros(len(state.plan.experts))
    for expert, usd in state.worktable.left_usd().items():
        expected[expert] = usd
    state.ledger.plan(expected, binding=state.binding)
