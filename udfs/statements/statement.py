"""Statement-level batching: have the answers of a statement known before it runs.

DuckDB hands a function 2,048 rows at a time; a model wants them all at once. So a statement that calls one of our
functions is first rehearsed: it runs inside a transaction that is rolled back. In a rehearsal the functions collect
what they do not know and take it for NULL. All that was collected is answered as one batch, and so on until nothing new
comes up: an answer may be part of another question, or decide which rows have one. Then the statement runs for real and
every call finds its value. A question that comes up only then is answered in place. Knows nothing of experts.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
from duckdb import ExpectedResultType, StatementType

from leeroo.engine.answer import Estimate
from leeroo.engine.errors import Interrupted, LeerooError, UsageError
from leeroo.udfs.callers import Tables, run_among, tables_in_sight
from leeroo.udfs.feedback import TABLE, in_transaction
from leeroo.udfs.registration import Registration
from leeroo.udfs.statements.filters import Order, as_optimized, as_written, calls_last, mixes_calls
from leeroo.udfs.statements.keywords import Keyword, keywords

# Rehearsals of a statement. Deeper nested calls, and statements that differ in each run, are answered in place.
PASSES = 8

_CONFLICT = ("ON", "CONFLICT")
# DuckDB's words for what describes the types of a value and is a column.
_NOT_CONSTANT = 'The "structure" argument in function "from_json" must be a constant'
_NEEDS_CONSTANT = (
    "the fields of leeroo_record and the questions of leeroo_decide give the types of the result: write them in the"
    " statement, not as a column"
)
_LITERAL = re.compile(r"'((?:[^']|'')*)'")

_REHEARSED = {
    StatementType.SELECT,
    StatementType.INSERT,
    StatementType.UPDATE,
    StatementType.DELETE,
    StatementType.MERGE_INTO,
    StatementType.CREATE,
}


def statements(
    con: duckdb.DuckDBPyConnection,
    registration: Registration,
    query: str | duckdb.Statement,
    parameters: object = None,
) -> list[Statement]:
    """Return the statements of a text, in order; parameters are those of the last.

    Raises:
        duckdb.ParserException: it is not SQL.

    """
    tables = tables_in_sight()
    parts = con.extract_statements(query if isinstance(query, str) else query.query)
    if not parts or not all(part.query.strip() for part in parts):
        # It is empty, or DuckDB turns it into several statements of its own that have no text (PIVOT).
        return [Statement(con, registration, query, parameters, None, tables)]
    given = [None] * (len(parts) - 1) + [parameters]
    return [Statement(con, registration, part.query, own, part, tables) for part, own in zip(parts, given, strict=True)]


@dataclass(frozen=True, repr=False)
class Explanation:
    """The estimates of a statement's calls, by the names of the functions."""

    estimates: tuple[tuple[str, Estimate], ...]

    def __str__(self) -> str:
        """Return lines of text."""
        if not self.estimates:
            return "Nothing to generate: the statement asks nothing, or all of it is known here."
        return "\n".join([*(f"{names}: {estimate}" for names, estimate in self.estimates), _NOT_FORESEEN])

    __repr__ = __str__  # what a notebook shows


_NOT_FORESEEN = "Not counted: questions that depend on these answers."


class Statement:
    """One statement on a connection that has the functions of `registration`.

    A rehearsal that fails would break a transaction of the user's, and no part of that can be rolled back. So the
    rehearsal then runs on another connection to the same database. That sees neither the changes of the transaction nor
    temporary tables: questions from those are answered vector by vector as the statement runs. So are all questions of
    settings, and of PIVOT. Effects outside of transactions happen in every rehearsal: `nextval` takes another number.
    A rehearsal of COPY writes no file.
    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        registration: Registration,
        text: str | duckdb.Statement,
        parameters: object,
        parsed: duckdb.Statement | None,
        tables: Tables,
    ) -> None:
        kind = parsed.type if parsed is not None else None
        self._con = con
        self._registration = registration
        self._calls = registration.calls
        self._text = text
        self._parameters = parameters
        self._tables = tables
        self._rehearsal = _rehearsal(text, kind) if isinstance(text, str) else None
        self._source = _source(text) if kind == StatementType.INSERT and isinstance(text, str) else None
        self._pipe = _pipe(self._rehearsal or "")
        if self._pipe is not None:
            self._rehearsal = None
        self._rehearsed_with = parameters
        self._order: Order = as_optimized  # of the conditions of filters
        self._plan = "[]"
        self._executes_prepared = kind == StatementType.EXECUTE
        self._ends_transaction = kind == StatementType.TRANSACTION
        # The planner evaluates constants, a call with constant arguments among them: to show a plan costs nothing.
        only_planned = kind == StatementType.EXPLAIN and isinstance(text, str) and "analyze" not in text.casefold()
        self._how = self._calls.collecting if only_planned else contextlib.nullcontext
        # DuckDB 2 would return a relation without rows for a statement that never has any.
        self._shows_rows = parsed is None or (
            kind != StatementType.CREATE and parsed.expected_result_type != [ExpectedResultType.NOTHING]
        )

    def execute(self) -> None:
        """Run it; the connection has its result."""
        with self._calls.announced():
            self._rehearse()
            with self._how(), self._own_errors(), self._feedback(), self._order(self._con):
                run_among(self._tables, self._con.execute, self._text, self._parameters)

    def relation(self, alias: str, *, run: bool = False) -> duckdb.DuckDBPyRelation | None:
        """Return its relation, with the answers known; it is run now if it has no rows to show, or with `run`."""
        if not self._shows_rows:
            self.execute()
            return None
        if self._pipe is not None:  # a relation would read it once to be made, and again to be evaluated
            self.execute()
            rows: Any = self._con.to_arrow_reader()
            return self._con.from_arrow(rows.read_all()).set_alias(alias or self._pipe)
        with self._calls.announced():
            self._rehearse()
            # DuckDB 2 makes no relation while a result of `execute` is not read to its end: this lets go of it.
            self._con.execute("")
            with self._how(), self._own_errors(), self._feedback(), self._order(self._con):
                made = run_among(self._tables, self._con.sql, self._text, alias=alias, params=self._parameters)
                # Used later, it would be planned without the order of conditions that was chosen.
                return _run(made) if (run or self._order is as_written) and made is not None else made

    def explain(self) -> Explanation:
        """Estimate what its questions would take, and generate nothing."""
        with self._calls.announced():
            self._find_prepared()
            if self._rehearsal is not None and self._calls_ours():
                with self._stage() as stage:
                    self._choose_order(stage)
                    self._collect(stage)
            elif self._rehearsal is not None:  # DuckDB says what is wrong with it, if anything is
                run_among(self._tables, self._con.execute, f"EXPLAIN {self._text}", self._parameters).fetchall()
            with self._own_errors():
                return Explanation(tuple(self._calls.estimates()))

    @contextlib.contextmanager
    def _feedback(self) -> Iterator[None]:
        """Keep the feedback that the statement writes when it has succeeded; in a transaction, when that has."""
        feedback = self._calls.feedback
        if self._ends_transaction:
            back = isinstance(self._text, str) and self._text.lstrip()[:8].casefold().startswith(("rollback", "abort"))
            with feedback.end(self._con, rolled_back=back):
                yield
        elif self._writes_feedback():
            with feedback.hold(in_transaction=self._registration.sees_commits and in_transaction(self._con)):
                yield
        else:
            yield

    def _writes_feedback(self) -> bool:
        """Say if it may write feedback; a statement that runs a prepared one may."""
        return self._executes_prepared or (isinstance(self._text, str) and TABLE in self._text.casefold())

    def _rehearse(self) -> None:
        """Have all questions of the statement answered, as far as they can be seen beforehand."""
        self._find_prepared()
        if self._rehearsal is None or not self._calls_ours():
            return
        # Where the statement calls in one place only, no question depends on an answer, unless it is recursive.
        once = self._calls.met == 1 and "recursive" not in self._rehearsal.casefold()
        self._read_streams()
        with self._stage() as stage:
            self._choose_order(stage)
            for _ in range(1 if once else PASSES):
                self._collect(stage)
                with self._own_errors():
                    if not self._calls.answer_collected():
                        return

    def _choose_order(self, stage: duckdb.DuckDBPyConnection) -> None:
        """Put calls of ours last among the conditions of a filter, where that means fewer questions."""
        if not mixes_calls(self._plan):
            return
        self._collect(stage)
        count = self._calls.forget_collected()
        before = self._text, self._rehearsal, self._source
        self._order = as_written
        self._text = calls_last(self._text) if isinstance(self._text, str) else self._text
        self._rehearsal = self._rehearsal and calls_last(self._rehearsal)
        self._source = self._source and calls_last(self._source)
        self._collect(stage)
        if self._calls.forget_collected() >= count:
            self._order = as_optimized
            self._text, self._rehearsal, self._source = before

    def _read_streams(self) -> None:
        """Read the tables that can be read only once: the statement is run several times."""
        assert self._rehearsal is not None
        for name, table in self._tables.items():
            if isinstance(table, pa.RecordBatchReader) and name in self._rehearsal:
                self._tables[name] = table.read_all()

    def _find_prepared(self) -> None:
        """Find the statement that an EXECUTE runs; it may have been prepared by a statement just before."""
        if self._executes_prepared and isinstance(self._text, str):
            self._rehearsal, self._rehearsed_with = _prepared(self._con, self._text)

    def _calls_ours(self) -> bool:
        """Say if the planner meets a call of ours, be it in a view or macro."""
        try:
            with self._calls.collecting(), self._own_errors():
                self._plan = self._explain(self._con, "EXPLAIN (FORMAT json)", self._rehearsal)
        except duckdb.InterruptException:
            raise
        except duckdb.Error:
            return False  # the statement itself says what is wrong, in the words of the user
        return self._calls.met > 0

    @contextlib.contextmanager
    def _stage(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Enter the connection to rehearse on: the user's own, or another while a transaction is open there."""
        if not in_transaction(self._con):
            yield self._con
            return
        with self._con.cursor() as other:
            self._registration.define(other)
            _copy_settings(other, self._con)
            yield other

    def _collect(self, stage: duckdb.DuckDBPyConnection) -> None:
        """Run it once for its questions.

        NULL in place of an answer breaks some sound statements. The target of an INSERT may refuse it, so its query
        alone is run then. Later passes of other statements get further.
        """
        if not self._collects(stage, self._rehearsal) and self._source is not None:
            self._collects(stage, self._source)

    def _collects(self, stage: duckdb.DuckDBPyConnection, text: str | None) -> bool:
        """Run a statement for its questions, and say if it reached its end."""
        stage.begin()
        try:
            with (
                self._order(stage),
                self._calls.collecting(),
                self._calls.feedback.rehearse(),
                self._own_errors(),
            ):
                self._explain(stage, "EXPLAIN ANALYZE", text)  # which runs all of it and keeps no result
        except duckdb.InterruptException:
            raise
        except duckdb.Error:
            return False
        finally:
            stage.rollback()
        return True

    def _explain(self, con: duckdb.DuckDBPyConnection, how: str, text: str | None) -> str:
        """Return the plan of a statement."""
        rows = run_among(self._tables, con.execute, f"{how} {text}", self._rehearsed_with).fetchall()
        return str(rows[-1][1])

    @contextlib.contextmanager
    def _own_errors(self) -> Iterator[None]:
        """Raise the error of one of our functions, and Ctrl-C, as they were, not wrapped in an error of DuckDB's."""
        self._calls.raised = None
        try:
            yield
        except (duckdb.Error, RuntimeError, Interrupted) as error:
            own = KeyboardInterrupt() if str(error) == "Query interrupted" else self._calls.raised
            own = error if isinstance(error, Interrupted) else own
            if not isinstance(own, (LeerooError, KeyboardInterrupt)):
                if _NOT_CONSTANT in str(error) and "from_json" not in str(self._text):
                    raise UsageError(_NEEDS_CONSTANT) from None
                raise
            # After Ctrl-C DuckDB's other threads work on, and the next statement would wait for them.
            self._calls.interrupt()
            self._con.interrupt()
            if isinstance(own, Interrupted):
                raise duckdb.InterruptException("INTERRUPT Error: Interrupted!") from None
            raise own from None


def _run(relation: duckdb.DuckDBPyRelation) -> duckdb.DuckDBPyRelation:
    """Evaluate a relation now; DuckDB 2 has another name for that."""
    name = "materialize" if hasattr(duckdb.DuckDBPyRelation, "materialize") else "execute"
    done: duckdb.DuckDBPyRelation = getattr(relation, name)()
    return done


def _copy_settings(other: duckdb.DuckDBPyConnection, con: duckdb.DuckDBPyConnection) -> None:
    """Copy to a new connection the settings that statements of a connection may use: search path and variables."""
    path, schema = con.execute("SELECT current_setting('search_path'), current_schema()").fetchall()[0]
    other.execute("SET search_path = ?", [path or schema])
    for name, value, kind in con.execute("SELECT name, value, type FROM duckdb_variables()").fetchall():
        quoted = name.replace('"', '""')
        # Values come as text; a rehearsal does without those that cannot be read back.
        with contextlib.suppress(duckdb.Error):
            other.execute(f'SET VARIABLE "{quoted}" = (SELECT ?::{kind})', [value])


def _rehearsal(text: str, kind: StatementType | None) -> str | None:
    """Return the text to rehearse: the statement itself, the query of a COPY ... TO, or None."""
    if kind != StatementType.COPY:
        return text if kind in _REHEARSED else None
    (copy, _), *_ = duckdb.tokenize(text)
    code = text.encode()
    to = next((word.start for word in keywords(text) if word.depth == 0 and word.text == "TO"), None)
    return None if to is None else f"FROM {code[copy + len('COPY') : to].decode()}"


def _source(insert: str) -> str | None:
    """Return the query of an INSERT: the text between its target and its clauses, with the WITH before it."""
    code, words = insert.encode(), list(keywords(insert))
    inserts = next(word.start for word in words if word.text == "INSERT")
    into = next((word.start for word in words if word.text == "INTO"), inserts)
    queries = (word.start for word in words if word.start > into and word.text in ("SELECT", "FROM", "VALUES", "WITH"))
    query = next(queries, None)
    if query is None:
        return None
    clauses = (
        word.start
        for word, then in itertools.pairwise([*words, Keyword(len(code), "", 0)])
        if word.start > query and word.depth == 0 and (word.text == "RETURNING" or (word.text, then.text) == _CONFLICT)
    )
    query = len(code[:query].rstrip(b"( \t\r\n"))  # a query may stand in parentheses
    return (code[:inserts] + code[query : next(clauses, None)]).decode()


def _pipe(statement: str) -> str | None:
    """Return a pipe that a statement reads, which a rehearsal would leave empty.

    Raises:
        UsageError: the statement calls our functions, too.

    """
    pipe = next((path for path in _LITERAL.findall(statement) if _is_pipe(path.replace("''", "'"))), None)
    if pipe is not None and "leeroo" in statement.casefold():
        raise UsageError(
            f"{pipe} can be read only once, but a statement that asks questions is run several times:"
            " make a table of it first (CREATE TABLE t AS FROM ...), and ask about that"
        )
    return pipe


def _is_pipe(path: str) -> bool:
    try:
        return stat.S_IFMT(os.stat(path).st_mode) in (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR)
    except (OSError, ValueError):  # it is no path
        return False


def _prepared(con: duckdb.DuckDBPyConnection, text: str) -> tuple[str | None, object]:
    """Return the statement that an EXECUTE runs, and its parameters: a plan made before collects no questions."""
    name, _, rest = text.rstrip("; \n").split(None, 1)[1].partition("(")
    try:
        prepared = con.execute(
            "SELECT statement FROM duckdb_prepared_statements() WHERE name = ?", [name.strip().strip('"')]
        ).fetchall()
        given = con.execute(f"SELECT {rest.rstrip()[:-1]}").fetchall()[0] if rest else None
    except duckdb.Error:
        return None, None  # the statement itself says what is wrong
    if not prepared or con.extract_statements(prepared[0][0])[0].type not in _REHEARSED:
        return None, None
    return prepared[0][0], list(given) if given else None
