"""The SQL functions, on a DuckDB connection of the user's or on a new one that batches whole statements."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from leeroo.engine.answer import Criteria, Engine, open_engine
from leeroo.engine.batch.progress import Listener
from leeroo.udfs.connection import Connection
from leeroo.udfs.registration import Registration

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
    """Open a DuckDB database with leeroo_answer, leeroo, leeroo_route and leeroo_scores in SQL.

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
        on_progress: Called a few times a second with a `Progress` while questions are answered.

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
    """Make leeroo_answer, leeroo, leeroo_route and leeroo_scores known on a DuckDB connection of your own.

    Answers are asked for as DuckDB comes upon them, up to 2,048 rows at a time; `connect` gives a connection that
    plans whole statements. The functions are this connection's: register its cursors too. Nothing is
    written to the database file. Registering again replaces what was registered before.

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
    return open_engine(pool, router, store, on_progress), criteria
