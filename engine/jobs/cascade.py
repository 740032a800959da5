"""Rounds: cheap experts answer everything, and what they leave in doubt goes on to a dearer one.

A cascade (Chen et al. 2023, "FrugalGPT", arXiv 2305.05176) over a whole batch: after each round it is decided for all
rows at once which answers to keep and which rows to ask again, so that what is left of a budget goes where it is
expected to gain most. An expert's own confidence says how
sure its answer is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.arrays import Float64s, Int64s
from leeroo.engine.backends.select import unavailable
from leeroo.engine.batch.prompts import asking
from leeroo.engine.orchestrator.choose import choose
from leeroo.engine.schema import ASK

# From the answers of one expert [n] to the probabilities of k choices, [n, k]; NaN where there is none.
Chances = Callable[[pa.Table], Float64s]


@dataclass(frozen=True)
class Answered:
    """The answers that were kept, a row for each of the input.

    Attributes:
        answers: With costs of all rounds together.
        chances: [n, k], of the answer that was kept.
        rounds: [n], how many experts were asked.
    """

    answers: pa.Table
    chances: Float64s
    rounds: Int64s


def answer_in_rounds(
    engine: Engine, table: pa.Table, criteria: Criteria, chances: Chances, *, enough: float | None
) -> Answered:
    """Answer a table, and ask the next dearer expert where an answer is not sure enough.

    The first round is the cheapest expert's, where the criteria name none. Of an expert that the router knows, what it
    predicts is what to expect of asking it; of others, `enough`. With a budget the rows that gain most for their cost
    go on. Call `engine.delivered` when the answers are where they should be.

    Args:
        engine: With the pool.
        table: With a column `question`, and `ask` with all of `schema.ASK`.
        criteria: Budget, perhaps one expert for all, and the column of private rows; others are set here.
        chances: Reads the answers of an expert.
        enough: An answer of that probability is kept; None keeps all of the first round's.

    Raises:
        InputError, PoolError, OutputError: as `Engine.answer`.

    """
    criteria = replace(criteria, column="question", ask_column="ask", prefix="")
    expected = None if criteria.expert or enough is None else engine.expect(table.to_reader(), criteria)
    able = [i for i, name in enumerate(expected.experts if expected else ()) if unavailable(engine.pool[name]) is None]
    if expected is None or enough is None or not able:
        answers = engine.answer(table.to_reader(), criteria).read_all()
        return Answered(answers, chances(answers), np.ones(len(table), np.int64))
    ladder = sorted(able, key=lambda i: float(np.nansum(expected.costs[:, i])))
    known = set(engine.router.experts) if engine.router else set()
    kept: pa.Table | None = None
    told, rounds = np.zeros((len(table), 0)), np.zeros(len(table), np.int64)
    spent = 0.0
    rows = np.arange(len(table))
    for i in ladder:
        name = expected.experts[i]
        if kept is not None:
            hoped = expected.scores[:, i].astype(np.float64) if name in known else np.full(len(table), enough)
            paid = expected.costs[:, i], expected.seconds[:, i]
            rows = _going_on(
                told.max(axis=1), hoped, *paid, enough, replace(criteria, max_cost_usd=left_usd(criteria, spent))
            )
            if not len(rows):
                continue
        asked = _asking(table.take(pa.array(rows)), [name] * len(rows))
        answers = engine.answer(asked.to_reader(), replace(criteria, max_cost_usd=left_usd(criteria, spent))).read_all()
        spent += paid_usd(answers)
        rounds[rows] += 1
        own = chances(answers)
        if kept is None:
            kept, told = answers, own
            continue
        better = pc.is_null(answers.column("error")).to_numpy()
        kept = _put(kept, answers, rows, better)
        told[rows[better]] = own[better]
    assert kept is not None
    return Answered(kept, told, rounds)


def ask_at_once(
    engine: Engine, questions: Sequence[str], given: Mapping[str, Sequence[Any] | pa.Array], criteria: Criteria
) -> pa.Table:
    """Answers to questions, with arguments of `schema.ASK` for each; call `engine.delivered` as for `Engine.answer`.

    Raises:
        PoolError, OutputError: as `Engine.answer`.

    """
    ask = asking(len(questions), given)
    table = pa.table({"question": pa.array(questions, pa.string()), "ask": ask})
    return engine.answer(table.to_reader(), replace(criteria, ask_column="ask")).read_all()


def paid_usd(answers: pa.Table) -> float:
    """What a run paid for its answers."""
    return float(pc.sum(answers.column("cost_usd")).as_py() or 0.0)


def left_usd(criteria: Criteria, spent: float) -> float | None:
    """What is left of a budget; None where there is none."""
    return None if criteria.max_cost_usd is None else max(0.0, criteria.max_cost_usd - spent)


def _going_on(
    sure: Float64s, hoped: Float64s, costs: Float64s, seconds: Float64s, enough: float, criteria: Criteria
) -> Int64s:
    """The rows that are asked again: not sure enough, with something to gain, by what the criteria say of money."""
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
    going_on: Int64s = open_[choice.expert == 1]
    return going_on


def _asking(table: pa.Table, experts: Sequence[str]) -> pa.Table:
    """The table with each row asking one of these experts."""
    ask = table.column("ask").combine_chunks()
    columns = [pa.array(experts, pa.string()) if field.name == "expert" else ask.field(field.name) for field in ASK]
    at = table.column_names.index("ask")
    return table.set_column(at, "ask", pa.StructArray.from_arrays(columns, fields=list(ASK)))


def _put(kept: pa.Table, answers: pa.Table, rows: Int64s, better: np.ndarray) -> pa.Table:
    """The kept answers with those of `rows` replaced where they are better; what was paid is added up."""
    source = np.arange(len(kept))
    source[rows[better]] = len(kept) + np.flatnonzero(better)
    both = pa.concat_tables([kept, answers]).take(pa.array(source))
    for name in ("cost_usd", "list_cost_usd"):
        paid = kept.column(name).to_numpy().copy()
        paid[rows] += answers.column(name).to_numpy()
        both = both.set_column(both.column_names.index(name), both.schema.field(name), pa.array(paid))
    return both
