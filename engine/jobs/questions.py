"""Questions of a job: a list of them answered in one run, and the money that the runs of one job share.

Knows nothing of what the questions are for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.batch.prompts import build_asks


def answer_questions(
    engine: Engine, questions: Sequence[str], arguments: Mapping[str, Sequence[Any] | pa.Array], criteria: Criteria
) -> pa.Table:
    """Answer questions in one run; call it within `engine.delivery` where the answers go into a larger result.

    Args:
        engine: With the pool.
        questions: [n].
        arguments: Columns of `schema.ASK` [n] by name; what is missing is NULL.
        criteria: Budget, weights, or one expert for all.

    Raises:
        PoolError, OutputError: as `Engine.answer`.

    """
    ask = build_asks(len(questions), arguments)
    table = pa.table({"question": pa.array(questions, pa.string()), "ask": ask})
    return engine.answer_table(table.to_reader(), replace(criteria, ask_column="ask"))


def paid_usd(answers: pa.Table) -> float:
    """Return what a run paid for its answers."""
    return float(pc.sum(answers.column("cost_usd")).as_py() or 0.0)


def listed_usd(requests: pa.Table, answers: pa.Table) -> float:
    """Return what a run costs by list prices, equal rows once, or what it paid where that is more.

    So a job that is repeated, whose answers are in the store by then, has as much left for its next run as at first.
    """
    private = requests.column("private") if "private" in requests.column_names else pa.nulls(len(requests))
    keys = zip(requests.column("question").to_pylist(), private.to_pylist(), strict=True)
    distinct = dict(zip(keys, answers.column("list_cost_usd").to_pylist(), strict=True))
    return max(paid_usd(answers), sum(usd or 0.0 for usd in distinct.values()))


def left_usd(criteria: Criteria, spent: float) -> float | None:
    """Return what is left of a budget; None where there is none."""
    return None if criteria.max_cost_usd is None else max(0.0, criteria.max_cost_usd - spent)
