"""INSERT INTO leeroo_feedback: feedback of users on answers goes into the answer store.

DuckDB calls a function of ours, the table's check, for rows that are about to be written. So they are held until the
statement has succeeded, and in a transaction until that has. `Statement` and `Connection` say where these end; rows
from elsewhere are kept at once. Knows nothing of questions and experts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import duckdb
import pyarrow as pa

from leeroo.engine.answer import Engine
from leeroo.engine.errors import InputError
from leeroo.engine.jobs.feedback import complete, judge_feedback
from leeroo.engine.schema import SQL_FEEDBACK
from leeroo.engine.store.feedback import Feedback

TABLE = "leeroo_feedback"
COLUMNS = ("question", "expert", "answer", "score", "gold")


class FeedbackWriter:
    """The feedback that one connection writes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held: list[Feedback] | None = None  # of a statement under way
        self._pending: list[Feedback] = []  # of a transaction under way
        self._rehearses = False

    def check(self, *columns: pa.Array) -> pa.Array:
        """Accept rows (`COLUMNS`) that are about to be written; true for each.

        Raises:
            InputError: one of them cannot be kept.

        """
        n = len(columns[0])
        if not self._rehearses:
            read = (dict(zip(COLUMNS, row, strict=True)) for row in zip(*(c.to_pylist() for c in columns), strict=True))
            rows = [Feedback(**{**row, "question": row["question"] or ""}) for row in read]
            kept, complaints = complete(self._engine.store, rows, self._engine.pool.names)
            if complaints:
                raise InputError(f"{TABLE}: {complaints[0][1]}")
            if self._held is None:
                self._engine.store.give(kept)
            else:
                self._held += kept
        return pa.array([True] * n)

    @contextlib.contextmanager
    def rehearse(self) -> Iterator[None]:
        """Drop the rows that are written in here: they will be rolled back."""
        self._rehearses = True
        try:
            yield
        finally:
            self._rehearses = False

    @contextlib.contextmanager
    def hold(self, *, in_transaction: bool) -> Iterator[None]:
        """Run a statement in here; its rows count when it succeeds, or with the transaction it is in."""
        held: list[Feedback] = []
        self._held = held
        try:
            yield
        finally:
            self._held = None
        self._pending += held
        if not in_transaction:
            self._keep()

    @contextlib.contextmanager
    def end(self, con: duckdb.DuckDBPyConnection, *, rolled_back: bool) -> Iterator[None]:
        """End a transaction in here, perhaps: its rows are kept or dropped with it."""
        succeeded = False
        try:
            yield
            succeeded = not rolled_back
        finally:
            if self._pending and not in_transaction(con):
                if not succeeded:
                    self._pending = []
                self._keep()

    def _keep(self) -> None:
        pending, self._pending = self._pending, []
        if pending:
            self._engine.store.give(pending)


def in_transaction(con: duckdb.DuckDBPyConnection) -> bool:
    """Say if the user has begun a transaction; outside of one, every statement has a number of its own."""
    query = "SELECT txid_current()"
    try:
        return con.execute(query).fetchall() == con.execute(query).fetchall()
    except duckdb.TransactionException:
        return True


def rows(engine: Engine) -> list[dict[str, Any]]:
    """Return all feedback in the store as `SQL_FEEDBACK`."""
    names = [field.name for field in SQL_FEEDBACK]
    return [
        {name: row[name] for name in names} | {"at": datetime.fromtimestamp(row["at"], UTC)}
        for row in judge_feedback(engine.store)
    ]
