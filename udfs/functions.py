"""The raw functions that DuckDB calls, a vector at a time, as Arrow in and Arrow out.

People call the macros of leeroo/sql, which fill in the arguments not given and add the plan: a constant that
says which public function it is, whether to collect, and what the variables of SQL are.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from inspect import Parameter, Signature

import duckdb
import numpy as np
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

from leeroo.engine.errors import PoolError, UsageError
from leeroo.udfs.ask import Arguments, Group
from leeroo.udfs.calls import Calls, Function, naming

_PLAN = pa.struct(
    [
        pa.field("function", pa.string()),
        pa.field("collect", pa.bool_()),
        pa.field("max_cost_usd", pa.float64()),
        pa.field("cost_weight", pa.float64()),
        pa.field("latency_weight", pa.float64()),
    ]
)
_TEXT, _NUMBER = pa.string(), pa.float64()
_ARGUMENTS = [_TEXT, _TEXT, pa.int64(), _NUMBER]  # of `Arguments`
_SQL = {_TEXT: "VARCHAR", _NUMBER: "DOUBLE", pa.int64(): "BIGINT", pa.int32(): "INTEGER", pa.bool_(): "BOOLEAN"}
_MOST_TOKENS = 2**31 - 1

Vector = Callable[..., pa.Array]


def create(con: duckdb.DuckDBPyConnection, calls: Calls, own: str) -> list[str]:
    """Create the raw functions on a connection, with names that end in `own`.

    They are seen by every connection of the same database instance until they are removed.

    Returns:
        Their names.

    """
    asked = functools.partial(_vector, calls)
    functions: list[tuple[str, Vector, list[pa.DataType], pa.DataType]] = [
        ("plan", functools.partial(_plan, calls), [_TEXT, _NUMBER, _NUMBER, _NUMBER], _PLAN),
        ("answers", functools.partial(asked, calls.answers), [_TEXT, *_ARGUMENTS, _PLAN], calls.answers.memo.rows.kind),
        ("samples", functools.partial(asked, calls.answers), [_TEXT, *_ARGUMENTS, _PLAN], calls.answers.memo.rows.kind),
        ("routes", functools.partial(asked, calls.routes), [_TEXT, _PLAN], calls.routes.memo.rows.kind),
        ("scores", functools.partial(asked, calls.scores), [_TEXT, _PLAN], calls.scores.memo.rows.kind),
    ]
    for name, vector, given, kind in functions:
        con.create_function(
            f"_leeroo_{name}_{own}",
            _remembering(calls, vector, len(given)),
            [_sql(each) for each in given],
            _sql(kind),
            type=PythonUDFType.ARROW,
            null_handling=FunctionNullHandling.SPECIAL,
            # With side effects it is neither folded nor moved, and called once for each row and place it stands in.
            side_effects=name == "samples",
        )
    return [f"_leeroo_{name}_{own}" for name, *_ in functions]


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
    """Say what the planned call shall do: structs of `_PLAN`, all the same.

    The planner calls this once for each call in a statement. Where it could not (the call stands in a lambda,
    or its optimizer is off), the executor does, with more than one row as a rule, and nothing is collected.
    """
    name, (max_cost_usd, cost_weight, latency_weight) = function[0].as_py(), (v[0].as_py() for v in variables)
    collect = len(function) == 1 and calls.plan()
    with naming(name):
        calls.criteria(max_cost_usd, cost_weight, latency_weight)
    return pa.array([(name, collect, max_cost_usd, cost_weight, latency_weight)] * len(function), _PLAN)


def _vector(calls: Calls, function: Function, questions: pa.Array, *rest: pa.Array) -> pa.Array:
    """The values of a function for up to 2,048 rows; NULL where the question is."""
    *arguments, plan = rest
    name, collect, *variables = plan[0].as_py().values()
    codes, distinct = _distinct(arguments, len(questions))
    with naming(name):
        for given in distinct:
            _check(given, calls.engine.pool.names)
    criteria = calls.criteria(*variables)
    rows = np.full(len(questions), -1, np.int64)
    there = questions.is_valid().to_numpy(zero_copy_only=False)
    with calls.lock:
        for code, given in enumerate(distinct):
            at = np.flatnonzero(there & (codes == code))
            if len(at):
                rows[at] = _rows(calls, function, Group(given, criteria), questions.take(pa.array(at)), collect)
        return calls.values(function, rows)


def _rows(calls: Calls, function: Function, group: Group, questions: pa.Array, collect: bool) -> np.ndarray:
    if group.sampled:
        return calls.look_up(function, group, questions.to_pylist(), collect=collect)
    encoded = questions.dictionary_encode()
    rows = calls.look_up(function, group, encoded.dictionary.to_pylist(), collect=collect)
    taken: np.ndarray = rows[encoded.indices.to_numpy()]
    return taken


def _distinct(arguments: Sequence[pa.Array], n: int) -> tuple[np.ndarray, list[Arguments]]:
    """The different arguments of n rows, and for each row which of them it has, int [n]."""
    if all(column.null_count == n for column in arguments):
        return np.zeros(n, np.int64), [Arguments()]
    numbers: dict[tuple[object, ...], int] = {}
    given = zip(*(column.to_pylist() for column in arguments), strict=True)
    codes = np.array([numbers.setdefault(row, len(numbers)) for row in given], np.int64)
    # The temperature 0 is what an expert has without one.
    distinct = [Arguments(e, s, m, t or None) for e, s, m, t in numbers]  # type: ignore[arg-type]
    return codes, distinct


@functools.lru_cache(maxsize=1024)
def _check(given: Arguments, experts: tuple[str, ...]) -> None:
    """Check the arguments of a call.

    Raises:
        PoolError: there is no such expert.
        UsageError: a number is out of its range.

    """
    if given.expert is not None and given.expert not in experts:
        raise PoolError(f"expert {given.expert!r} is not in the pool, which has: {', '.join(experts)}")
    if given.max_tokens is not None and not 1 <= given.max_tokens <= _MOST_TOKENS:
        raise UsageError(f"max_tokens must be from 1 to {_MOST_TOKENS}, not {given.max_tokens}")
    if given.temperature is not None and not (given.temperature > 0 and math.isfinite(given.temperature)):
        raise UsageError(f"temperature must be a number of at least 0, not {given.temperature:g}")


def _sql(kind: pa.DataType) -> str:
    """The name of an Arrow type in SQL, of those that the functions take and give."""
    if pa.types.is_struct(kind):
        return "STRUCT(" + ", ".join(f'"{field.name}" {_sql(field.type)}' for field in kind) + ")"
    if pa.types.is_map(kind):
        return f"MAP({_sql(kind.key_type)}, {_sql(kind.item_type)})"
    return _SQL[kind]
