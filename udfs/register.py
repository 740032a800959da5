"""The SQL functions, on a DuckDB connection of the user's or on a new one that batches whole statements."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import duckdb

from leeroo.engine.answer import Criteria, open_engine
from leeroo.engine.batch.progress import Listener
from leeroo.engine.listeners import LineListener
from leeroo.udfs.bar import Bar
from leeroo.udfs.connection import Connection
from leeroo.udfs.functions.unanswered import warn
from leeroo.udfs.registration import Registration
from leeroo.udfs.statements.statement import Explanation, statements

# What is registered on a connection now, so that registering again replaces it.
_REGISTERED: weakref.WeakKeyDictionary[duckdb.DuckDBPyConnection, Registration] = weakref.WeakKeyDictionary()


def connect(
    database: str | Path = ":memory:",
    *,
    read_only: bool = False,
    config: Mapping[str, Any] | None = None,
    pool: str | Path | None = None,
    router: str | Path | None = None,
    store: str | Path | None = None,
    max_cost_usd: float | None = None,
    cost_weight: float = 0.0,
    latency_weight: float = 0.0,
    on_error: Literal["null", "fail"] = "null",
    on_expert_down: Literal["next", "fail"] = "next",
    on_progress: Listener | None = None,
    on_warning: LineListener | None = None,
) -> Connection:
    """Open a DuckDB database with leeroo_answer and its kin in SQL.

    Each statement given to `sql` or `execute` is answered as one batch; what the options say holds for each
    statement, and ``SET VARIABLE leeroo_max_cost_usd`` (``leeroo_cost_weight``, ``leeroo_latency_weight``,
    ``leeroo_on_error``) says otherwise from then on.

    Args:
        database: A file, or ":memory:".
        read_only: Open the file for reading only; the functions need no writing.
        config: Settings of DuckDB.
        pool: The pool file; the embedded local pool when it is None.
        router: The folder of a router; the embedded pool has its own.
        store: The folder of the answer store.
        max_cost_usd: No statement spends more.
        cost_weight: Score points that a dollar is worth, in the place of a budget.
        latency_weight: Score points that a second is worth.
        on_error: Rows that fail are NULL, or make the statement fail with `RowsFailed`.
        on_expert_down: Rows of an expert that cannot be reached go to the next best, or the statement fails.
        on_progress: Called a few times a second with a `Progress` while questions are answered. By default there
            is a progress bar on a terminal and in a notebook, and warnings go to standard error.
        on_warning: Called with one line after a statement of which rows have no answer. By default that is a
            `RowsFailedWarning` of Python.

    Raises:
        UsageError: an option, the pool or the router is wrong.

    """
    criteria = Criteria(
        max_cost_usd=max_cost_usd,
        cost_weight=cost_weight,
        latency_weight=latency_weight,
        on_error=on_error,
        on_expert_down=on_expert_down,
    )
    engine = open_engine(pool, router, store, on_progress or Bar().show)
    try:
        con = duckdb.connect(str(database), read_only=read_only, config=dict(config or {}))
        opened = Connection(con, engine, criteria, report=on_warning or warn)
    except BaseException:
        engine.close()
        raise
    weakref.finalize(opened, engine.close)
    return opened


def register(
    con: duckdb.DuckDBPyConnection,
    *,
    pool: str | Path | None = None,
    router: str | Path | None = None,
    store: str | Path | None = None,
    max_cost_usd: float | None = None,
    cost_weight: float = 0.0,
    latency_weight: float = 0.0,
    on_error: Literal["null", "fail"] = "null",
    on_expert_down: Literal["next", "fail"] = "next",
    on_progress: Listener | None = None,
    on_warning: LineListener | None = None,
) -> Registration:
    """Make leeroo_answer and its kin known on a DuckDB connection of your own.

    Its own `sql` and `execute` ask for answers as DuckDB comes upon them, up to 2,048 rows at a time; `sql` of this
    module has all of a statement answered as one batch. The functions are this connection's: register its cursors
    too. Nothing is written to the database file. Registering again replaces what was registered before.

    DuckDB does not tell functions where a statement begins, so for the budget and for `cost_usd`, statements
    that each look up a single row count as one.

    Args:
        con: The connection.
        pool, router, store, max_cost_usd, cost_weight, latency_weight, on_error, on_expert_down, on_progress,
            on_warning: As in `connect`.

    Returns:
        What was registered; its `close` takes the functions away again.

    Raises:
        UsageError: an option, the pool or the router is wrong.

    """
    criteria = Criteria(
        max_cost_usd=max_cost_usd,
        cost_weight=cost_weight,
        latency_weight=latency_weight,
        on_error=on_error,
        on_expert_down=on_expert_down,
    )
    engine = open_engine(pool, router, store, on_progress or Bar().show)
    try:
        registration = Registration(con, engine, criteria, announced=False, report=on_warning or warn)
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


def sql(
    con: duckdb.DuckDBPyConnection | Connection, query: str | duckdb.Statement, parameters: object = None
) -> duckdb.DuckDBPyRelation | None:
    """Run one or more statements on a connection of your own, all questions of each answered as one batch.

    Args:
        con: With the functions from `register`; without, those of the embedded local pool are registered now.
        query: The statements.
        parameters: Of the last statement.

    Returns:
        The rows of the last statement as a relation, None if it has none to show. It has run when this returns.

    Raises:
        duckdb.Error: what DuckDB says of the statement.
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
    """Tell what the questions of a statement would take, and generate nothing; print the result. As `sql`."""
    if isinstance(con, Connection):
        return con.explain(query, parameters)
    *_, last = statements(con, _registration(con), query, parameters)
    return last.explain()


def _registration(con: duckdb.DuckDBPyConnection) -> Registration:
    return _REGISTERED.get(con) or register(con)
