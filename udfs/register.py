"""The SQL functions, on a DuckDB connection of the user's or on a new one that batches whole statements.

Knows nothing of how a statement is answered.
"""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack

import duckdb

from leeroo.engine.answer import Criteria, Engine, open_engine
from leeroo.engine.batch.progress import Listener
from leeroo.engine.listeners import LineListener
from leeroo.udfs.bar import Bar
from leeroo.udfs.connection import Connection
from leeroo.udfs.functions.unanswered import warn
from leeroo.udfs.registration import Registration
from leeroo.udfs.statements.explanation import Explanation
from leeroo.udfs.statements.statement import statements

# What is registered on a connection now, so that registering again replaces it.
_REGISTERED: weakref.WeakKeyDictionary[duckdb.DuckDBPyConnection, Registration] = weakref.WeakKeyDictionary()


class StatementOptions(TypedDict, total=False):
    """Keyword arguments of `connect` and `register`; they hold for each statement.

    Attributes:
        pool: The pool file; the embedded local pool by default.
        router: The folder of a router, or "none". By default the embedded pool has its own, and another pool a shipped
            one that knows its models.
        store: The folder of the answer store.
        max_cost_usd: No statement spends more.
        cost_weight: Score points that equal one dollar, instead of a budget.
        latency_weight: Score points that equal one second.
        deadline: The time after which no answer is awaited from a batch, in seconds or as text ("2h").
        on_error: Rows that fail are NULL ("null", the default), or the statement fails with `RowsFailed` ("fail").
        learn: Learn from the first answers of a statement whom to ask the rest, within its budget.
        on_expert_down: Rows of an expert that cannot be reached go to the next best ("next", the default), or the
            statement fails ("fail").
        image_folder: The folder below which files of images are read, where a task marks a field as in `{photo:image}`;
            the current one by default.
        allow_urls: Fetch images from web addresses.
        proxy: Whether leeroo_label may let a classifier learn from the experts, and label the rows it is sure of. By
            default where that pays.
        on_progress: Called a few times a second with a `Progress` while questions are answered. By default there is a
            progress bar on a terminal and in a notebook, and warnings go to standard error.
        on_warning: Called after a statement with one line about its rows without an answer. By default that line is a
            `RowsFailedWarning` of Python.
    """

    pool: str | Path | None
    router: str | Path | None
    store: str | Path | None
    max_cost_usd: float | None
    cost_weight: float
    latency_weight: float
    deadline: float | str | None
    on_error: Literal["null", "fail"]
    learn: bool
    on_expert_down: Literal["next", "fail"]
    image_folder: str | Path | None
    allow_urls: bool
    proxy: bool | None
    on_progress: Listener | None
    on_warning: LineListener | None


# What is no criterion of a statement.
_OPENING = ("pool", "router", "store", "on_progress", "on_warning")


def connect(
    database: str | Path = ":memory:",
    *,
    read_only: bool = False,
    config: Mapping[str, Any] | None = None,
    **options: Unpack[StatementOptions],
) -> Connection:
    """Open a DuckDB database with leeroo_answer and the other functions in SQL.

    Each statement given to `sql` or `execute` is answered as one batch. ``SET VARIABLE leeroo_max_cost_usd``
    (``leeroo_cost_weight``, ``leeroo_latency_weight``, ``leeroo_on_error``, ``leeroo_proxy``, ``leeroo_learn``,
    ``leeroo_image_folder``, ``leeroo_allow_urls``) overrides an option from then on.

    Args:
        database: A file, or ":memory:".
        read_only: Open the file for reading only; the functions need no writing.
        config: Settings of DuckDB.
        options: See `StatementOptions`.

    Raises:
        UsageError: an option, the pool or the router is wrong.

    """
    engine, criteria = _open("connect", options)
    try:
        con = duckdb.connect(str(database), read_only=read_only, config=dict(config or {}))
        opened = Connection(con, engine, criteria, report=options.get("on_warning") or warn)
    except BaseException:
        engine.close()
        raise
    weakref.finalize(opened, engine.close)
    return opened


def register(con: duckdb.DuckDBPyConnection, **options: Unpack[StatementOptions]) -> Registration:
    """Define leeroo_answer and the other functions on a DuckDB connection of your own.

    Its own `sql` and `execute` answer questions as DuckDB meets them, up to 2,048 rows at a time. `sql` of this module
    answers all of a statement as one batch. The functions belong to this connection: register its cursors too. Nothing
    is written to the database file. Registering again replaces what was registered before.

    DuckDB does not tell functions where a statement begins. So for the budget and for `cost_usd`, consecutive
    statements of a single row each count as one.

    Args:
        con: The connection.
        options: See `StatementOptions`.

    Returns:
        The registration; its `close` removes the functions again.

    Raises:
        UsageError: an option, the pool or the router is wrong.

    """
    engine, criteria = _open("register", options)
    try:
        report = options.get("on_warning") or warn
        registration = Registration(con, engine, criteria, announced=False, report=report)
    except BaseException:
        engine.close()
        raise
    # The functions hold their calls as long as the connection lives: then the models may go.
    weakref.finalize(registration.calls, engine.close)
    before = _REGISTERED.pop(con, None)
    if before is not None:
        before.close()
    _REGISTERED[con] = registration
    return registration


def _open(function: str, options: Mapping[str, Any]) -> tuple[Engine, Criteria]:
    """Return the engine and the criteria that some options name."""
    unknown = sorted(options.keys() - StatementOptions.__annotations__.keys())
    if unknown:
        raise TypeError(f"{function}() got an unexpected keyword argument {unknown[0]!r}")
    criteria = Criteria(**{name: value for name, value in options.items() if name not in _OPENING})
    on_progress = options.get("on_progress") or Bar().show
    return open_engine(options.get("pool"), options.get("router"), options.get("store"), on_progress), criteria


def sql(
    con: duckdb.DuckDBPyConnection | Connection, query: str | duckdb.Statement, parameters: object = None
) -> duckdb.DuckDBPyRelation | None:
    """Run one or more statements on a connection of your own, all questions of each answered as one batch.

    Args:
        con: With the functions from `register`; by default those of the embedded local pool are registered now.
        query: The statements.
        parameters: Of the last statement.

    Returns:
        The rows of the last statement as a relation, None if it has none to show. It has run when this returns.

    Raises:
        duckdb.Error: DuckDB refuses the statement.
        UsageError: a call of ours is wrong.

    """
    if isinstance(con, Connection):
        return con.sql(query, params=parameters)
    *before, last = statements(con, _registration(con), query, parameters)
    for statement in before:
        statement.execute()
    return last.relation("", run=True)


def explain(
    con: duckdb.DuckDBPyConnection | Connection, query: str | duckdb.Statement, parameters: object = None
) -> Explanation:
    """Estimate what the questions of a statement would take, and generate nothing; print the result.

    The arguments are those of `sql`.
    """
    if isinstance(con, Connection):
        return con.explain(query, parameters)
    *_, last = statements(con, _registration(con), query, parameters)
    return last.explain()


def _registration(con: duckdb.DuckDBPyConnection) -> Registration:
    return _REGISTERED.get(con) or register(con)
