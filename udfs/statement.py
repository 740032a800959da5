"""Statement-level batching: have the answers of a statement known before it runs.

DuckDB hands a function 2,048 rows at a time; a model wants them all at once. So a statement that calls one of
ours is first rehearsed: run inside a transaction that is rolled back, with the functions collecting what they
do not know and taking it for NULL. All that was collected is answered as one batch, and so on until nothing new
comes up: an answer may be part of another question, or decide which rows are asked about. Then the statement
runs for real and every call is a look-up; what comes up only then is answered in place.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import duckdb
from duckdb import StatementType, token_type

from leeroo.engine.errors import LeerooError
from leeroo.udfs.calls import Calls

# Calls nested deeper than this, and statements that differ each time they run, end by being answered in place.
PASSES = 8

_REHEARSED = {
    StatementType.SELECT,
    StatementType.INSERT,
    StatementType.UPDATE,
    StatementType.DELETE,
    StatementType.MERGE_INTO,
    StatementType.CREATE,
}


def statements(
    con: duckdb.DuckDBPyConnection, calls: Calls, query: str | duckdb.Statement, parameters: object = None
) -> list[Statement]:
    """The statements of a text, in order; parameters are those of the last.

    Raises:
        duckdb.ParserException: it is not SQL.

    """
    parts = con.extract_statements(query if isinstance(query, str) else query.query)
    if not parts or not all(part.query.strip() for part in parts):
        # There is nothing in it, or DuckDB makes it into several statements of its own that have no text (PIVOT).
        return [Statement(con, calls, query, parameters, None)]
    *before, last = parts
    return [
        *(Statement(con, calls, part.query, None, part.type) for part in before),
        Statement(con, calls, last.query, parameters, last.type),
    ]


class Statement:
    """One statement on a connection whose functions are `calls`.

    Some are not rehearsed but answered vector by vector as they run: those in a transaction of the user's
    (a rehearsal that fails would break it, and no part of it can be rolled back), EXECUTE of a statement
    prepared in SQL, settings, and PIVOT. What a transaction does not hold happens in every rehearsal:
    `nextval` takes another number. COPY writes no file in one.

    DuckDB takes the names of tables it does not know for variables of its callers: those here are in `self`.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        calls: Calls,
        text: str | duckdb.Statement,
        parameters: object,
        kind: StatementType | None,
    ) -> None:
        self._con = con
        self._calls = calls
        self._text = text
        self._parameters = parameters
        self._rehearsal = _rehearsal(text, kind) if isinstance(text, str) else None
        # The planner works out constants, a call with constant arguments among them: to show a plan costs nothing.
        only_planned = kind == StatementType.EXPLAIN and isinstance(text, str) and "analyze" not in text.casefold()
        self._how = calls.collecting if only_planned else contextlib.nullcontext

    def execute(self) -> None:
        """Run it; its result is the connection's."""
        self._rehearse()
        with self._how(), self._telling():
            self._con.execute(self._text, self._parameters)

    def relation(self, alias: str) -> duckdb.DuckDBPyRelation | None:
        """Make a relation of it, with the answers known; run it now if it has no rows to show."""
        self._rehearse()
        with self._how(), self._telling():
            return self._con.sql(self._text, alias=alias, params=self._parameters)

    def _rehearse(self) -> None:
        """Have everything asked that the statement will ask, as far as that can be seen beforehand."""
        self._calls.begin()
        if self._rehearsal is None or not self._calls_ours() or self._in_transaction():
            return
        for _ in range(PASSES):
            self._collect()
            if not self._calls.ask_collected():
                return

    def _calls_ours(self) -> bool:
        """Whether the planner meets a call of ours, be it in a view or macro."""
        try:
            with self._calls.collecting(), self._telling():
                self._con.execute(f"EXPLAIN {self._text}", self._parameters).fetchall()
        except duckdb.InterruptException:
            raise
        except duckdb.Error:
            return False  # the statement itself says what is wrong, in the words of the user
        return self._calls.met

    def _in_transaction(self) -> bool:
        """Whether the user has begun a transaction; outside of one, every statement has a number of its own."""
        try:
            return self._transaction() == self._transaction()
        except duckdb.TransactionException:
            return True

    def _transaction(self) -> object:
        return self._con.execute("SELECT txid_current()").fetchone()

    def _collect(self) -> None:
        """Run it once for its questions; EXPLAIN ANALYZE runs it whole and makes no result of it."""
        self._con.begin()
        try:
            with self._calls.collecting(), self._telling():
                self._con.execute(f"EXPLAIN ANALYZE {self._rehearsal}", self._parameters).fetchall()
        except duckdb.InterruptException:
            raise
        except duckdb.Error:
            pass  # NULL in the place of an answer breaks some sound statements: later passes get further
        finally:
            self._con.rollback()

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        """What one of our functions raised, and Ctrl-C, come out as they were, not wrapped in an error of DuckDB's."""
        self._calls.raised = None
        try:
            yield
        except (duckdb.Error, RuntimeError) as error:
            own = KeyboardInterrupt() if str(error) == "Query interrupted" else self._calls.raised
            if not isinstance(own, (LeerooError, KeyboardInterrupt)):
                raise
            # After Ctrl-C DuckDB's other threads work on, and the next statement would wait for them.
            self._con.interrupt()
            raise own from None


def _rehearsal(text: str, kind: StatementType | None) -> str | None:
    """What is run for the questions of a statement: itself; of COPY ... TO the query that it writes; None for none."""
    if kind != StatementType.COPY:
        return text if kind in _REHEARSED else None
    code = text.encode()  # tokens are counted in bytes
    (_, _), (begin, _), *rest = duckdb.tokenize(text)
    depth = 0
    for start, token in [(begin, None), *rest]:
        depth += code.startswith(b"(", start) - code.startswith(b")", start)
        if depth == 0 and token == token_type.keyword and code[start : start + 2].upper() == b"TO":
            return f"FROM {code[begin:start].decode()}"
    return None
