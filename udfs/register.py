"""The SQL functions, on a DuckDB connection of the user's or on a new one that batches whole statements."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb

from leeroo.engine.answer import Criteria, Engine, open_engine
from leeroo.engine.batch.progress import Listener
from leeroo.udfs.bar import Bar
from leeroo.udfs.connection import Connection
from leeroo.udfs.registration import Registration
from leeroo.udfs.statement import Explanation, statements

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
    on_progress: Listener | None = None,
) -> Connection:
    """Open a DuckDB database with leeroo_answer and its kin in SQL.

    Each statement given to `sql` or `execute` is answered as one batch; what the options say holds for each
    statement, and ``SET VARIABLE leeroo_max_cost_usd`` (``leeroo_cost_weight``, ``leeroo_latency_weight``)
    says otherwise from then on.

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
        on_progress: Called a few times a second with a `Progress` while questions are answered. Without it there
            is a progress bar on a terminal and in a notebook, and warnings go to standard error.

    Raises:
        UsageError: an option, the pool or the router is wrong.

    """
    engine, criteria = _opened(pool, router, store, max_cost_usd, cost_weight, latency_weight, on_progress)
    try:
        con = duckdb.connect(str(database), read_only=read_only, config=dict(config or {}))
        opened = Connection(con, engine, criteria)
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
    on_progress: Listener | None = None,
) -> Registration:
    """Make leeroo_answer and its kin known on a DuckDB connection of your own.

    Its own `sql` and `execute` ask for answers as DuckDB comes upon them, up to 2,048 rows at a time; `sql` of this
    module has all of a statement answered as one batch. The functions are this connection's: register its cursors
    too. Nothing is written to the database file. Registering again replaces what was registered before.

    DuckDB does not tell functions where a statement begins, so for the budget and for `cost_usd`, statements
    that each look up a single row count as one.

    Args:
        con: The connection.
        pool, router, store, max_cost_usd, cost_weight, latency_weight, on_progress: As in `connect`.

    Returns:
        What was registered; its `close` takes the functions away again.

    Raises:
        UsageError: an option, the pool or the router is wrong.

    """
    engine, criteria = _opened(pool, router, store, max_cost_usd, cost_weight, latency_weight, on_progress)
    try:
        registration = Registration(con, engine, criteria, announced=False)
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
    _registered, _con = _registration(con), con
    *_todo, _last = statements(con, _registered, query, parameters)
    del con, query, parameters  # DuckDB would take these for tables of their names
    with _scanning(_con):
        for _statement in _todo:
            _statement.execute()
        return _last.relation("", run=True)


def explain(
    con: duckdb.DuckDBPyConnection | Connection, query: str | duckdb.Statement, parameters: object = None
) -> Explanation:
    """Tell what the questions of a statement would take, and generate nothing; print the result. As `sql`."""
    if isinstance(con, Connection):
        return con.explain(query, parameters)
    _registered, _con = _registration(con), con
    *_, _last = statements(con, _registered, query, parameters)
    del con, query, parameters
    with _scanning(_con):
        return _last.explain()


def _registration(con: duckdb.DuckDBPyConnection) -> Registration:
    return _REGISTERED.get(con) or register(con)


@contextlib.contextmanager
def _scanning(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """Variables named as tables are looked for in all frames, not only in that which calls DuckDB: it is ours."""
    _before = con.execute("SELECT current_setting('python_scan_all_frames')").fetchall()[0][0]
    con.execute("SET python_scan_all_frames = true")
    try:
        yield
    finally:
        con.execute(f"SET python_scan_all_frames = {_before}")


def _opened(
    pool: str | Path | None,
    router: str | Path | None,
    store: str | Path | None,
    max_cost_usd: float | None,
    cost_weight: float,
    latency_weight: float,
    on_progress: Listener | None,
) -> tuple[Engine, Criteria]:
    criteria = Criteria(max_cost_usd=max_cost_usd, cost_weight=cost_weight, latency_weight=latency_weight)
    return open_engine(pool, router, store, on_progress or Bar().show), criteria
