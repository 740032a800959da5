"""A DuckDB connection with the functions of this package that batches whole statements."""

from __future__ import annotations

import contextlib
import functools
import threading
from types import TracebackType
from typing import Any

import duckdb
import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.listeners import LineListener
from leeroo.udfs.callers import run_among, tables_in_sight
from leeroo.udfs.feedback import in_transaction
from leeroo.udfs.functions.unanswered import warn
from leeroo.udfs.registration import Registration
from leeroo.udfs.statements.explanation import Explanation
from leeroo.udfs.statements.statement import statements


class Connection:
    """A `duckdb.DuckDBPyConnection` whose `sql` and `execute` answer all questions of a statement as one batch.

    Everything else is that connection's own: `fetchall`, `df`, `register`, ... Calls that bypass `sql` and `execute`
    (`executemany`, relations built with methods) are answered vector by vector.

    Either drops the unread rows of an earlier `execute`. Beyond that DuckDB 2 is stricter than 1.5. While such a result
    is unread it refuses `register` and to evaluate relations. While a reader of a relation's rows is open it refuses
    all but `close`. It refuses neither to a cursor. DuckDB 2.0.1 stops at Ctrl-C at once while questions are answered.
    While its own threads are at work it usually stops when they are done; so it does without us.

    Args:
        con: Its own; closed with it.
        engine: Shared with its cursors, and closed with it if `owner`.
        criteria: Of each statement, unless a variable of SQL says otherwise.
        owner: Close the engine with this connection.
        report: Receives a line about rows of a statement that have no answer.

    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        engine: Engine,
        criteria: Criteria,
        *,
        owner: bool = True,
        report: LineListener = warn,
    ) -> None:
        self._con = con
        self._engine = engine
        self._criteria = criteria
        self._owner = owner
        self._turn = threading.RLock()  # threads that share a connection run their statements one after another
        self._report = report
        self._registration = Registration(con, engine, criteria, announced=True, report=report)

    def execute(self, query: str | duckdb.Statement, parameters: object = None) -> Connection:
        """Run one or more statements; fetch the result of the last from this connection."""
        with self._turn:
            for statement in statements(self._con, self._registration, query, parameters):
                statement.execute()
        return self

    def sql(
        self, query: str | duckdb.Statement, *, alias: str = "", params: object = None
    ) -> duckdb.DuckDBPyRelation | None:
        """Run one or more statements; the last becomes a relation if it has rows to show.

        Its answers are known when this returns; the relation itself is evaluated when it is used. With DuckDB 2 the
        count of the rows that a statement wrote is shown, too.
        """
        with self._turn:
            *before, last = statements(self._con, self._registration, query, params)
            for statement in before:
                statement.execute()
            return last.relation(alias)

    query = sql

    def register(self, view_name: str, python_object: Any) -> Connection:
        """Give a table a name in SQL; a reader is read to its end, because statements are run several times."""
        with self._turn:
            once = isinstance(python_object, pa.RecordBatchReader)
            self._con.register(view_name, python_object.read_all() if once else python_object)
        return self

    def executemany(self, query: str | duckdb.Statement, parameters: object = None) -> Connection:
        """Run a statement with each of some parameters, as DuckDB does."""
        with self._turn, self._registration.calls.feedback.hold(in_transaction=in_transaction(self._con)):
            run_among(tables_in_sight(), self._con.executemany, query, parameters)
        return self

    def commit(self) -> Connection:
        """End the transaction; what was written in it stays."""
        with self._turn, self._registration.calls.feedback.end(self._con, rolled_back=False):
            self._con.commit()
        return self

    def rollback(self) -> Connection:
        """End the transaction; what was written in it is rolled back."""
        with self._turn, self._registration.calls.feedback.end(self._con, rolled_back=True):
            self._con.rollback()
        return self

    def explain(self, query: str | duckdb.Statement, parameters: object = None) -> Explanation:
        """Estimate what the questions of a statement would take: rows, experts, tokens, cost and time.

        Nothing is generated and nothing is changed. Only the last of several statements counts.
        """
        with self._turn:
            *_, last = statements(self._con, self._registration, query, parameters)
            return last.explain()

    def interrupt(self) -> None:
        """Stop the statement that another thread runs on this connection; what was answered is kept.

        There it raises `duckdb.InterruptException`.
        """
        self._registration.interrupt()
        self._con.interrupt()

    def cursor(self) -> Connection:
        """Return another connection to the same database, with the same engine."""
        return Connection(self._con.cursor(), self._engine, self._criteria, owner=False, report=self._report)

    duplicate = cursor

    def close(self) -> None:
        """Close the connection and, unless this is a cursor, all loaded models."""
        with self._turn:
            with contextlib.suppress(duckdb.Error):  # functions that DuckDB keeps for now have no macro any more
                self._registration.close()
            self._con.close()
            if self._owner:
                self._engine.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        own = getattr(self._con, name)
        return functools.partial(self._delegate, own) if callable(own) else own

    def _delegate(self, own: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a method of the connection; where it returns itself, so does this."""
        result = run_among(tables_in_sight(), own, *args, **kwargs)
        return self if result is self._con else result
