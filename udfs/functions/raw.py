"""The raw functions that DuckDB calls, a vector at a time, as Arrow in and Arrow out.

People call the macros of leeroo/sql, which fill in the arguments not given and add the plan: a constant number, by
which the call's `Plan` is found.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from inspect import Parameter, Signature
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

from leeroo.engine.errors import PoolError, UsageError
from leeroo.engine.schema import SQL_CHOICE, SQL_EXTRACT, SQL_LABEL, SQL_ROUTE, SQL_SCORES, SQL_SOLUTION
from leeroo.udfs.functions import forms
from leeroo.udfs.functions.ask import Arguments, Group, answer_type
from leeroo.udfs.functions.calls import Calls, Function, Plan, naming
from leeroo.udfs.tables import TABLES

_TEXT, _NUMBER, _COUNT, _TEXTS, _MARK = pa.string(), pa.float64(), pa.int64(), pa.list_(pa.string()), pa.bool_()
_SQL = {_TEXT: "VARCHAR", _NUMBER: "DOUBLE", _COUNT: "BIGINT", pa.int32(): "INTEGER", pa.bool_(): "BOOLEAN"}
_SQL |= {pa.date32(): "DATE"}
# Text comes as a struct: a function that gives plain text DuckDB works out for a whole dictionary of compressed
# questions, those of rows that nobody wants among them.
_ANSWER = pa.struct([pa.field("answer", _TEXT)])
_MOST_TOKENS = 2**31 - 1

Vector = Callable[..., pa.Array]


class _Raw(NamedTuple):
    """A function as DuckDB calls it."""

    vector: Vector
    takes: list[pa.DataType]
    gives: pa.DataType
    # With side effects it is neither folded nor moved, and called once for each row and place it stands in.
    side_effects: bool = False


def create(con: duckdb.DuckDBPyConnection, calls: Calls, own: str) -> list[str]:
    """Create the raw functions on a connection, with names that end in `own`.

    They are seen by every connection of the same database instance until they are removed.

    Returns:
        Their names.

    """
    for name, raw in _functions(calls).items():
        con.create_function(
            f"_leeroo_{name}_{own}",
            _remembering(calls, raw.vector, len(raw.takes)),
            [_sql(each) for each in raw.takes],
            _sql(raw.gives),
            type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,
            side_effects=raw.side_effects,
        )
    return [f"_leeroo_{name}_{own}" for name in _functions(calls)]


def _functions(calls: Calls) -> dict[str, _Raw]:
    def raw(
        of: Function,
        wants: forms.Wants,
        read: forms.Read,
        takes: Sequence[pa.DataType],
        gives: pa.DataType,
        field: str | None = None,
    ) -> _Raw:
        return _Raw(functools.partial(_vector, calls, of, wants, read, field), [*takes, _COUNT], gives)

    question = (_TEXT, _TEXT, _TEXT, _TEXT, _MARK, _COUNT, _NUMBER)
    answers = raw(calls.answers, forms.asked, forms.whole, question, answer_type(calls.engine.pool))
    among = (_TEXT, _TEXTS, _TEXT, _TEXT, _MARK)
    shaped = (_TEXT, _TEXT, _TEXT, _TEXT, _MARK, _COUNT)
    limited = (_TEXT, _MARK, _COUNT, _COUNT, _NUMBER, _TEXT)
    return {
        "plan": _Raw(functools.partial(_plan, calls), [_TEXT, _NUMBER, _NUMBER, _NUMBER, _TEXT], _COUNT),
        "given": _Raw(calls.given.check, [_TEXT, _TEXT, _TEXT, _NUMBER, _TEXT], pa.bool_()),
        "answers": answers,
        "samples": answers._replace(side_effects=True),
        "texts": raw(calls.answers, forms.asked, forms.text, question, _ANSWER, "answer"),
        "choices": raw(calls.answers, forms.choices, forms.chosen, among, SQL_CHOICE),
        "labels": raw(calls.answers, forms.labels, forms.labelled, among, SQL_LABEL),
        "extracts": raw(calls.answers, forms.extracts, forms.extracted, shaped, SQL_EXTRACT),
        "solutions": raw(calls.solutions, forms.solved, forms.as_known, limited, SQL_SOLUTION),
        "routes": raw(calls.routes, forms.routed, forms.as_known, [_TEXT, _MARK], SQL_ROUTE),
        "scores": raw(calls.scores, forms.plain, forms.as_known, [_TEXT], SQL_SCORES),
        **{name: _table(functools.partial(rows, calls.engine), kind) for name, (kind, rows) in TABLES.items()},
    }


def _table(rows: Callable[[], list[dict[str, Any]]], kind: pa.StructType) -> _Raw:
    """A list of the rows of a table as they are now, for the table macros."""
    listed = pa.list_(kind)
    return _Raw(lambda ones: pa.array([rows()] * len(ones), listed), [pa.int32()], listed, side_effects=True)


def _remembering(calls: Calls, vector: Vector, arguments: int) -> Vector:
    """The same function; what it raises stays in `calls.raised`, because DuckDB passes on no more than its text."""
    named = [Parameter(f"argument_{i}", Parameter.POSITIONAL_ONLY) for i in range(arguments)]

    def remembered(*columns: pa.ChunkedArray) -> pa.Array:
        try:
            return vector(*(column.combine_chunks() for column in columns))
        except BaseException as error:
            calls.raised = error
            raise

    # DuckDB counts the arguments of what it is given.
    remembered.__signature__ = Signature(named)  # type: ignore[attr-defined]
    return remembered


def _plan(calls: Calls, function: pa.Array, *variables: pa.Array) -> pa.Array:
    """Say what the planned call shall do: the number of a plan, for all rows the same.

    The planner calls this once for each call in a statement. Where it could not (the call stands in a lambda,
    or its optimizer is off), the executor does, with more than one row as a rule, and nothing is collected.
    """
    name, values = function[0].as_py(), [variable[0].as_py() for variable in variables]
    collect = len(function) == 1 and calls.plan(name)
    with naming(name):
        criteria = calls.criteria(*values)
    return pa.array(np.full(len(function), calls.number_of(Plan(name, collect, criteria))))


def _vector(
    calls: Calls, function: Function, wants: forms.Wants, read: forms.Read, field: str | None, *columns: pa.Array
) -> pa.Array:
    """The values of a function, or a field of each, for up to 2,048 rows; NULL where nothing is asked."""
    *given, numbers = columns
    plan = calls.plans[numbers[0].as_py()]
    with naming(plan.function):
        wanted = wants(given)
        for arguments in wanted.arguments:
            _check(arguments, calls.engine.pool.names)
    n = len(numbers)
    rows = np.full(n, -1, np.int64)
    there = wanted.questions.is_valid().to_numpy(zero_copy_only=False)
    with calls.lock:
        if plan.collect and n > 1:  # the planner works out a constant several times
            function.calls += int(there.sum())
        for code, arguments in enumerate(wanted.arguments):
            at = np.flatnonzero(there & (wanted.codes == code))
            if len(at):
                questions = wanted.questions if len(at) == n else wanted.questions.take(pa.array(at))
                group = Group(arguments, plan.criteria)
                rows[at] = calls.look_up(function, group, questions.to_pylist(), collect=plan.collect)
        known = calls.values(function, rows, field)
    return read(known, given)


@functools.lru_cache(maxsize=1024)
def _check(given: Arguments, experts: tuple[str, ...]) -> None:
    """Check the arguments of a call.

    Raises:
        PoolError: there is no such expert.
        UsageError: a number is out of its range.

    """
    for name in (given.expert, given.limits and given.limits.planner):
        if name is not None and name not in experts:
            raise PoolError(f"expert {name!r} is not in the pool, which has: {', '.join(experts)}")
    if given.max_tokens is not None and not 1 <= given.max_tokens <= _MOST_TOKENS:
        raise UsageError(f"max_tokens must be from 1 to {_MOST_TOKENS}, not {given.max_tokens}")
    if given.temperature is not None and not (given.temperature > 0 and math.isfinite(given.temperature)):
        raise UsageError(f"temperature must be a number of at least 0, not {given.temperature:g}")


def _sql(kind: pa.DataType) -> str:
    """The name of an Arrow type in SQL, of those that the functions take and give."""
    if pa.types.is_timestamp(kind):
        return "TIMESTAMPTZ"
    if pa.types.is_struct(kind):
        return "STRUCT(" + ", ".join(f'"{field.name}" {_sql(field.type)}' for field in kind) + ")"
    if pa.types.is_list(kind):
        return f"{_sql(kind.value_type)}[]"
    if pa.types.is_map(kind):
        return f"MAP({_sql(kind.key_type)}, {_sql(kind.item_type)})"
    return _SQL[kind]
