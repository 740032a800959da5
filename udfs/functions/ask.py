"""What the functions ask of the engine: questions with their arguments in, one value for each out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine, Estimate
from leeroo.engine.backends.select import capabilities
from leeroo.engine.batch.layout import filled
from leeroo.engine.jobs.questions import left_usd
from leeroo.engine.jobs.solve.solve import Limits, foresee, solve
from leeroo.engine.pool import Pool
from leeroo.engine.schema import ANSWERS, ASK, SQL_ROUTE, SQL_SCORES, SQL_SOLUTION
from leeroo.udfs.functions.extraction import extract


class Arguments(NamedTuple):
    """What a call may say beside its question; None leaves it to the expert that is chosen."""

    expert: str | None = None
    system: str | None = None
    private: bool = False  # it does not leave local experts
    max_tokens: int | None = None
    temperature: float | None = None  # above 0
    choices: tuple[str, ...] | None = None  # the answer is one of these
    json_schema: str | None = None  # the answer is JSON that is valid under this
    task: str | None = None  # the question is a JSON object, whose fields this text names
    limits: Limits | None = None  # of leeroo_solve


class Group(NamedTuple):
    """All but the question that a value depends on."""

    arguments: Arguments
    criteria: Criteria

    @property
    def sampled(self) -> bool:
        """Whether every row wants a value of its own, however often its question is asked."""
        return self.arguments.temperature is not None


Asked = Sequence[tuple[Group, list[str]]]  # the questions of each group
Ask = Callable[[Engine, Asked, Criteria], pa.ChunkedArray]
Explain = Callable[[Engine, Asked, Criteria], Estimate]


def answer_type(pool: Pool) -> pa.StructType:
    """The struct that `leeroo` returns: the answers columns, as the engine appends them for this pool."""
    replayed = any(capabilities(expert).recorded for expert in pool.experts)
    return pa.struct([*ANSWERS, *([pa.field("recorded_score", pa.float64())] if replayed else [])])


def known_type(pool: Pool) -> pa.StructType:
    """What is kept of an answer: `answer_type`, and the confidence of a choice."""
    return pa.struct([*answer_type(pool), pa.field("confidence", pa.float64())])


def answers(engine: Engine, asked: Asked, criteria: Criteria) -> pa.ChunkedArray:
    """Have all answered as one batch: structs of `known_type`."""
    with engine.answer(_table(asked), _with_arguments(criteria)) as rows:
        values = _structs(rows, known_type(engine.pool))
    return _extracted(asked, values)


def routes(engine: Engine, asked: Asked, criteria: Criteria) -> pa.ChunkedArray:
    """Have an expert chosen for all as one batch: structs of `SQL_ROUTE`; nothing is generated."""
    return _structs(engine.route(_table(asked), _with_arguments(criteria)), SQL_ROUTE)


def scores(engine: Engine, asked: Asked, _criteria: Criteria) -> pa.ChunkedArray:
    """The predicted score of every expert for each: maps of `SQL_SCORES`."""
    rows = engine.scores([_question(group, question) for group, questions in asked for question in questions])
    return pa.chunked_array([pa.array([list(row.items()) for row in rows], SQL_SCORES)])


def solutions(engine: Engine, asked: Asked, criteria: Criteria) -> pa.ChunkedArray:
    """Have all solved step by step, a wave at a time: structs of `SQL_SOLUTION`."""
    parts, spent = [], 0.0
    with engine.delivery():
        for group, questions in asked:
            left = replace(criteria, max_cost_usd=left_usd(criteria, spent))
            private = [group.arguments.private] * len(questions)
            rows = solve(engine, questions, left, group.arguments.limits or Limits(), private).rows
            spent += sum(rows.column("cost_usd").to_pylist())
            parts += _structs(rows.to_reader(), SQL_SOLUTION).chunks
    return pa.chunked_array(parts, SQL_SOLUTION)


def explain_solutions(engine: Engine, asked: Asked, criteria: Criteria) -> Estimate:
    """What solving all would take, as far as it can be seen beforehand."""
    limits = [group.arguments.limits for group, _ in asked]
    return foresee(
        engine, [question for _, questions in asked for question in questions], criteria, limits[0] or Limits()
    )


def explain(engine: Engine, asked: Asked, criteria: Criteria) -> Estimate:
    """What having all answered as one batch would take."""
    return engine.explain(_table(asked), _with_arguments(criteria))


def _with_arguments(criteria: Criteria) -> Criteria:
    """The criteria for a table of `_table`."""
    return replace(criteria, ask_column="ask", private_column="private")


def _table(asked: Asked) -> pa.RecordBatchReader:
    counts = [len(questions) for _, questions in asked]
    arguments = pa.array([group.arguments._asdict() for group, _ in asked], pa.struct(list(ASK)))
    each = pa.array(np.repeat(np.arange(len(asked)), counts))
    columns = dict(zip(ASK.names, arguments.take(each).flatten(), strict=True))
    texts = [_question(group, question) for group, questions in asked for question in questions]
    columns["fields"] = pa.array(
        [None if group.arguments.task is None else question for group, questions in asked for question in questions],
        pa.string(),
    )
    ask = pa.StructArray.from_arrays(list(columns.values()), fields=list(ASK))
    private = np.repeat(np.array([group.arguments.private for group, _ in asked], bool), counts)
    return pa.table({"question": pa.array(texts, pa.string()), "private": private, "ask": ask}).to_reader()


def _extracted(asked: Asked, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same answers, where JSON was asked for with nothing but that, or with the reason why there is none."""
    schemas = [group.arguments.json_schema for group, questions in asked for _ in questions]
    if not any(schemas):
        return values
    rows = values.to_pylist()
    for schema, row in zip(schemas, rows, strict=True):
        if schema is not None and row["answer"] is not None:
            row["answer"], row["error"] = extract(row["answer"], schema)
    return pa.chunked_array([pa.array(rows, values.type)])


def _question(group: Group, question: str) -> str:
    task = group.arguments.task
    return question if task is None else filled(task, json.loads(question))


def _structs(reader: pa.RecordBatchReader, kind: pa.StructType) -> pa.ChunkedArray:
    parts = [
        pa.StructArray.from_arrays([batch.column(field.name) for field in kind], fields=list(kind)) for batch in reader
    ]
    return pa.chunked_array(parts, kind)
