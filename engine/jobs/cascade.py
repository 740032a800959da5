"""Cascades: cheap experts answer everything, and a more expensive one answers what they leave in doubt.

After Chen et al. 2023, "FrugalGPT" (arXiv 2305.05176), but over a whole batch. After each level it is decided for all
rows at once which answers to keep and which rows to send on. So the rest of a budget goes where it is expected to gain
most. An expert's own confidence says how sure its answer is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.arrays import Bools, Float64s, Int64s
from leeroo.engine.backends.select import unavailable
from leeroo.engine.jobs.questions import left_usd, listed_usd
from leeroo.engine.money import DECIMALS
from leeroo.engine.orchestrator.choose import choose
from leeroo.engine.schema import ASK

# Reads the probabilities of k choices, [n, k], from the answers of one expert [n]; NaN where there is none.
ReadProbabilities = Callable[[pa.Table], Float64s]


def answer_in_cascade(
    engine: Engine, table: pa.Table, criteria: Criteria, read: ReadProbabilities, *, enough: float | None
) -> tuple[pa.Table, Float64s]:
    """Answer a table, and send rows whose answer is not sure enough to the next more expensive expert.

    The first level is the cheapest expert's, unless the criteria name one. An expert that the router knows is expected
    to do what the router predicts, any other to reach `enough`. So is each where a prior stands in for the router: its
    scores are those of other tasks. With a budget, the rows that gain most for their cost go on. Call it within
    `engine.delivery`, until the answers are where they should be.

    Args:
        engine: With the pool.
        table: With a column `question`, and `ask` with all of `schema.ASK`.
        criteria: Budget, perhaps one expert for all, and the column of private rows; others are set here.
        read: Reads the answers of an expert.
        enough: An answer of that probability is kept; None keeps all of the first level's.

    Returns:
        The answers that were kept, a row for each of the input, with the costs of all levels together; and their
        probabilities [n, k].

    Raises:
        InputError, PoolError, OutputError: as `Engine.answer`.

    """
    criteria = replace(criteria, column="question", ask_column="ask", prefix="")
    expected = None if criteria.expert or enough is None else engine.expect(table.to_reader(), criteria)
    able = [i for i, name in enumerate(expected.experts if expected else ()) if unavailable(engine.pool[name]) is None]
    if expected is None or enough is None or not able:
        answers = engine.answer_table(table.to_reader(), criteria)
        return answers, read(answers)
    ladder = sorted(able, key=lambda i: float(np.nansum(expected.costs[:, i])))
    known = set(engine.router.experts) if engine.router and not engine.prior else set()
    kept: pa.Table | None = None
    probabilities = np.zeros((len(table), 0))
    spent = 0.0
    rows = np.arange(len(table))
    for i in ladder:
        name = expected.experts[i]
        left = replace(criteria, max_cost_usd=left_usd(criteria, spent))
        if kept is not None:
            hoped = expected.scores[:, i].astype(np.float64) if name in known else np.full(len(table), enough)
            rows = _to_send_on(
                probabilities.max(axis=1), hoped, expected.costs[:, i], expected.seconds[:, i], enough, left
            )
            if not len(rows):
                continue
        request = _to_expert(table.take(pa.array(rows)), name)
        answers = engine.answer_table(request.to_reader(), left)
        spent += listed_usd(request, answers)
        own = read(answers)
        if kept is None:
            kept, probabilities = answers, own
            continue
        better = pc.is_null(answers.column("error")).to_numpy()
        kept = _replace_rows(kept, answers, rows, better)
        probabilities[rows[better]] = own[better]
    assert kept is not None
    return kept, probabilities


def _to_send_on(
    sure: Float64s, hoped: Float64s, costs: Float64s, seconds: Float64s, enough: float, criteria: Criteria
) -> Int64s:
    """Return the rows for the next expert: not sure enough, with something to gain, within the criteria's money."""
    sure = np.nan_to_num(sure)  # where there is no answer, everything can be gained
    open_ = np.flatnonzero((sure < enough) & (hoped > sure) & np.isfinite(costs))
    if not len(open_):
        return open_
    free = np.zeros(len(open_))
    choice = choose(
        np.column_stack([sure[open_], hoped[open_]]),
        np.column_stack([free, costs[open_]]).astype(np.float64),
        latency_s=np.column_stack([free, seconds[open_]]).astype(np.float64),
        budget_usd=criteria.max_cost_usd,
        cost_weight=criteria.cost_weight,
        latency_weight=criteria.latency_weight,
    )
    sent: Int64s = open_[choice.expert == 1]
    return sent


def _to_expert(table: pa.Table, expert: str) -> pa.Table:
    """Return the table with one expert for all rows."""
    ask = table.column("ask").combine_chunks()
    named = pa.array([expert] * len(table), pa.string())
    columns = [named if field.name == "expert" else ask.field(field.name) for field in ASK]
    at = table.column_names.index("ask")
    return table.set_column(at, "ask", pa.StructArray.from_arrays(columns, fields=list(ASK)))


def _replace_rows(kept: pa.Table, answers: pa.Table, rows: Int64s, better: Bools) -> pa.Table:
    """Replace the kept answers of `rows` where the new ones are better, and add up what was paid."""
    source = np.arange(len(kept))
    source[rows[better]] = len(kept) + np.flatnonzero(better)
    both = pa.concat_tables([kept, answers]).take(pa.array(source))
    for name in ("cost_usd", "list_cost_usd"):
        paid = kept.column(name).to_numpy().copy()
        paid[rows] += answers.column(name).to_numpy()
        both = both.set_column(both.column_names.index(name), both.schema.field(name), pa.array(paid.round(DECIMALS)))
    return both
