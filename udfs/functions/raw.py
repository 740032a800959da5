"""The raw functions that DuckDB calls, a vector at a time, as Arrow in and Arrow out.

People call the macros of leeroo/sql, which fill in the arguments not given and add the plan. That is a constant number,
the index of the call's `CallPlan`. Knows nothing of statements.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Any, NamedTuple

import duckdb
import numpy as np
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

from leeroo.engine.errors import PoolError, UsageError
from leeroo.udfs.functions.calls import CallPlan, Calls, Function, naming
from leeroo.udfs.functions.forms.form import COUNT, NUMBER, TEXT, Form
from leeroo.udfs.functions.forms.records import structure
from leeroo.udfs.functions.forms.registry import FORMS
from leeroo.udfs.functions.kinds import type_of
from leeroo.udfs.functions.requests import Arguments, Group
from leeroo.udfs.functions.rows import ROW_TEXTS
from leeroo.udfs.functions.signatures import VARIABLES, sql_type, types_of
from leeroo.udfs.functions.vectors import vector_types
from leeroo.udfs.tables import TABLES

_MOST_TOKENS = 2**31 - 1  # `max_tokens` is an int32 in `schema.ASK`

Vector = Callable[..., pa.Array]


class _Raw(NamedTuple):
    """A function in the form that DuckDB calls."""

    vector: Vector
    takes: list[pa.DataType]
    gives: pa.DataType
    # With side effects it is neither folded nor moved, and is called once for each row and place where it stands.
    side_effects: bool = False


def create(con: duckdb.DuckDBPyConnection, calls: Calls, own: str) -> list[str]:
    """Create the raw functions on a connection, with names that end in `own`.

    Every connection of the same database instance sees them until they are removed.

    Returns:
        Their names.

    """
    for name, raw in _functions(calls).items():
        con.create_function(
            f"_leeroo_{name}_{own}",
            _remembering(calls, raw.vector, len(raw.takes)),
            [sql_type(each) for each in raw.takes],
            sql_type(raw.gives),
            type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,
            side_effects=raw.side_effects,
        )
    return [f"_leeroo_{name}_{own}" for name in _functions(calls)]


def _functions(calls: Calls) -> dict[str, _Raw]:
    return {
        "plan": _Raw(functools.partial(_plan, calls), [TEXT, *VARIABLES.values()], COUNT),
        "structure": _Raw(_structure, [TEXT, TEXT, TEXT], TEXT),
        "given": _Raw(calls.feedback.check, [TEXT, TEXT, TEXT, NUMBER, TEXT], pa.bool_()),
        "vector_type": _Raw(functools.partial(vector_types, calls.engine), [TEXT], TEXT),
        **{name: _Raw(read, [TEXT] * 3, TEXT) for name, read in ROW_TEXTS.items()},
        **{name: _raw(calls, form) for name, form in FORMS.items()},
        **{name: _table(functools.partial(rows, calls.engine), kind) for name, (kind, rows) in TABLES.items()},
    }


def _raw(calls: Calls, form: Form) -> _Raw:
    """Return the function of a form: its own columns, its arguments, and the number of its plan."""
    takes = [*form.takes, *(types_of(form.arguments) if form.arguments else ()), COUNT]
    vector = functools.partial(_vector, calls, calls.functions[form.kind], form)
    return _Raw(vector, takes, type_of(form.gives, calls.engine.pool), form.side_effects)


def _table(rows: Callable[[], list[dict[str, Any]]], kind: pa.StructType) -> _Raw:
    """Return a function for the table macros: the list of a table's rows as they are now."""
    listed = pa.list_(kind)
    return _Raw(lambda ones: pa.array([rows()] * len(ones), listed), [pa.int32()], listed, side_effects=True)


def _remembering(calls: Calls, vector: Vector, arguments: int) -> Vector:
    """Wrap a function so that what it raises stays in `calls.raised`: DuckDB passes on no more than the text."""
    named = [Parameter(f"argument_{i}", Parameter.POSITIONAL_ONLY) for i in range(arguments)]

    def remembered(*columns: pa.ChunkedArray) -> pa.Array:
        try:
            return vector(*(c.chunk(0) if c.num_chunks == 1 else c.combine_chunks() for c in columns))
        except BaseException as error:
            calls.raised = error
            raise

    # DuckDB counts the arguments of what it is given.
    remembered.__signature__ = Signature(named)  # type: ignore[attr-defined]
    return remembered


def _plan(calls: Calls, function: pa.Array, *variables: pa.Array) -> pa.Array:
    """Return the number of the call's plan, the same for all rows.

    The planner calls this once for each call in a statement. Where it could not (the call stands in a lambda,
    or its optimizer is off), the executor does. That has more than one row as a rule, and nothing is collected.
    """
    name, values = function[0].as_py(), [variable[0].as_py() for variable in variables]
    collect = len(function) == 1 and calls.plan(name)
    with naming(name):
        criteria = calls.criteria(values)
    return pa.array(np.full(len(function), calls.number_of(CallPlan(name, collect, criteria))))


def _structure(function: pa.Array, kind: pa.Array, described: pa.Array) -> pa.Array:
    """Return the types of the values of a function, the same for all rows: the planner calls this, with constants."""
    with naming(function[0].as_py()):
        return pa.array([structure(kind[0].as_py(), described[0].as_py())] * len(function), TEXT)


def _vector(calls: Calls, function: Function, form: Form, *columns: pa.Array) -> pa.Array:
    """Return the values of a function, or a field of each, for up to 2,048 rows; NULL where there is no question."""
    *given, plans = columns
    plan = calls.plans[plans[0].as_py()]
    with naming(plan.function):
        rows = form.read(given)
        for arguments in rows.arguments:
            _check(arguments, calls.engine.pool.names)
    calls.engine.images.hold(rows.images)
    n = len(plans)
    numbers = np.full(n, -1, np.int64)
    there = rows.questions.is_valid().to_numpy(zero_copy_only=False)
    with calls.lock:
        if plan.collect and n > 1:  # the planner evaluates a constant several times
            function.calls += int(there.sum())
        for code, arguments in enumerate(rows.arguments):
            at = np.flatnonzero(there & (rows.codes == code))
            if len(at):
                questions = rows.questions if len(at) == n else rows.questions.take(pa.array(at))
                group = Group(arguments, plan.criteria)
                numbers[at] = calls.find(function, group, questions, collect=plan.collect)
        known = calls.values(function, numbers, form.field)
    return form.write(known, given)


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
