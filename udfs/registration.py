"""The functions and macros of this package on one DuckDB connection. Knows nothing of statements."""

from __future__ import annotations

import contextlib
import functools
import uuid
import weakref
from importlib.resources import files

import duckdb

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.listeners import LineListener
from leeroo.udfs import aliases
from leeroo.udfs.functions.calls import Calls
from leeroo.udfs.functions.raw import create
from leeroo.udfs.functions.signatures import fill_in
from leeroo.udfs.functions.unanswered import warn

# leeroo/sql/*.sql, in this order
_FILES = (
    "calls",
    "answers",
    "forms",
    "judgements",
    "records",
    "solve",
    "aggregates",
    "routes",
    "embeddings",
    "searches",
    "tables",
    "feedback",
)


class Registration:
    """The functions on one connection until `close`; nothing is written to a database file.

    Args:
        announced, report: As in `Calls`.

    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        engine: Engine,
        criteria: Criteria,
        *,
        announced: bool,
        report: LineListener = warn,
    ) -> None:
        self.calls = Calls(engine, criteria, announced=announced, report=report)
        self.sees_commits = announced
        self._con = weakref.ref(con)
        self._own = uuid.uuid4().hex
        self._functions = create(con, self.calls, self._own)
        self.define(con)

    def define(self, con: duckdb.DuckDBPyConnection) -> None:
        """Define the public functions on a connection to the same database, calling into this registration."""
        for text in _macros():
            con.execute(fill_in(text, self._own))
        aliases.define(con)

    def interrupt(self) -> None:
        """Stop what is being answered for this connection, from another thread; what was answered is kept."""
        self.calls.interrupt()

    def close(self) -> None:
        """Remove the functions; the macros stay on the connection, and name functions that are not there.

        A result of the connection that was not read to its end ends here.

        Raises:
            duckdb.Error: a transaction is broken or, with DuckDB 2, a reader of a relation's rows is open.

        """
        con = self._con()
        if con is None or not self._functions:
            return
        with contextlib.suppress(duckdb.ConnectionException):  # the connection is closed, and they are gone with it
            # With a result open DuckDB 2 removes no function, and 1.5 would bring it back, unusable, when that ends.
            con.execute("SELECT NULL").fetchall()
            while self._functions:
                con.remove_function(self._functions[-1])
                self._functions.pop()


@functools.cache
def _macros() -> tuple[str, ...]:
    return tuple(files("leeroo").joinpath("sql", f"{name}.sql").read_text("utf-8") for name in _FILES)
