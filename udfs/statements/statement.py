"""Statement-level batching: have the answers of a statement known before it runs.

DuckDB hands a function 2,048 rows at a time; a model wants them all at once. So a statement that calls one of our
functions is first rehearsed: it runs inside a transaction that is rolled back. In a rehearsal the functions collect
what they do not know and take it for NULL. All that was collected is answered as one batch, and so on until nothing new
comes up: an answer may be part of another question, or decide which rows have one. Then the statement runs for real and
every call finds its value. A question that comes up only then is answered in place. Knows nothing of experts.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa
from duckdb import ExpectedResultType, StatementType

from leeroo.engine.errors import Interrupted, LeerooError, UsageError
from leeroo.udfs.callers import Tables, run_among, tables_in_sight
from leeroo.udfs.feedback import TABLE, in_transaction
from leeroo.udfs.registration import Registration
from leeroo.udfs.statements import texts
from leeroo.udfs.statements.choose import choose_order, saved
from leeroo.udfs.statements.explanation import Explanation
from leeroo.udfs.statements.rehearsal import PASSES, Rehearsal
from leeroo.udfs.statements.rewrite.query import Query
from leeroo.udfs.statements.rewrite.tree import Node
from leeroo.udfs.statements.steps import first_steps, shorten, stops

# In the plan of a statement that may be written so that it asks for less.
_MAY_ASK_LESS = re.compile(r"filter|limit|top_?n|join|product|\b(case|coalesce|and|or)\b", re.IGNORECASE)
# The words of DuckDB 1.5 and 2 for what describes the types of a value and is a column.
_NOT_CONSTANT = re.compile(r'JSON structure must be a constant|"structure" argument in function .* must be a constant')
_NEEDS_CONSTANT = (
    "the fields of leeroo_record, the questions of leeroo_decide and the model of leeroo_embed give the type of the"
    " result: write them in the statement, not as a column"
)


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
        self._kind = kind
        self._rehearsal = texts.rehearsal(text, kind) if isinstance(text, str) else None
        self._source = texts.source(text) if kind == StatementType.INSERT and isinstance(text, str) else None
        self._plan = ""
        self._pipe = texts.pipe(self._rehearsal or "")
        if self._pipe is not None:
            self._rehearsal = None
        self._rehearsed_with = parameters
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
            with self._how(), self._own_errors(), self._feedback():
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
            with self._how(), self._own_errors(), self._feedback():
                made = run_among(self._tables, self._con.sql, self._text, alias=alias, params=self._parameters)
                return _run(made) if run and made is not None else made

    def explain(self) -> Explanation:
        """Estimate what its questions would take, and generate nothing."""
        with self._calls.announced():
            self._find_prepared()
            if self._rehearsal is not None and self._calls_ours():
                with self._stage() as stage:
                    return self._explain(self._rehearsal_on(stage))
            if self._rehearsal is not None:  # DuckDB says what is wrong with it, if anything is
                run_among(self._tables, self._con.execute, f"EXPLAIN {self._text}", self._parameters).fetchall()
            return Explanation(())

    def _explain(self, rehearsal: Rehearsal) -> Explanation:
        found, notes = self._query(rehearsal), dict[str, Any]()
        if found is not None:
            choice = choose_order(found, rehearsal)
            node = choice.node
            notes["chains"] = tuple(map(tuple, choice.chains))
            notes["saved"] = saved(found, choice.node, rehearsal)
            notes["stops"] = stopping = tuple(stops(found, choice.node, self._rehearsed_with))
            if any(stop.why_not is None for stop in stopping):
                # To predict for a million questions would take longer than to find ten rows.
                notes["at_most"] = rehearsal.questions(found.alone(choice.node))
                node = first_steps(found, node, self._rehearsed_with)
            self._write(found, node)
        self._collect(rehearsal)
        with self._own_errors():
            return Explanation(tuple(self._calls.estimates()), **notes)

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
            rehearsal = self._rehearsal_on(stage)
            self._improve(rehearsal)
            for _ in range(1 if once else PASSES):
                self._collect(rehearsal)
                if not rehearsal.answer_collected():
                    return

    def _improve(self, rehearsal: Rehearsal) -> None:
        """Write the statement so that it asks for less, and have answered what comes before its other questions."""
        found = self._query(rehearsal)
        if found is None:
            return
        node = shorten(found, choose_order(found, rehearsal).node, rehearsal, self._rehearsed_with)
        *stages, _ = found.cut(node)
        rehearsal.answer(map(found.alone, stages))
        self._write(found, node)

    def _query(self, rehearsal: Rehearsal) -> Query | None:
        if not isinstance(self._text, str) or _MAY_ASK_LESS.search(self._plan) is None:
            return None
        return Query.find(self._text, self._kind, rehearsal.execute)

    def _write(self, found: Query, node: Node) -> None:
        if found.changes(node):
            self._text = text = found.within(node)
            self._rehearsal = texts.rehearsal(text, self._kind)
            self._source = texts.source(text) if self._kind == StatementType.INSERT else None

    def _read_streams(self) -> None:
        """Read the tables that can be read only once: the statement is run several times."""
        assert self._rehearsal is not None
        for name, table in self._tables.items():
            if isinstance(table, pa.RecordBatchReader) and name in self._rehearsal:
                self._tables[name] = table.read_all()

    def _find_prepared(self) -> None:
        """Find the statement that an EXECUTE runs; it may have been prepared by a statement just before."""
        if self._executes_prepared and isinstance(self._text, str):
            self._rehearsal, self._rehearsed_with = texts.prepared(self._con, self._text)

    def _calls_ours(self) -> bool:
        """Say if the planner meets a call of ours, be it in a view or macro."""
        # Where DuckDB refuses it, the statement itself says what is wrong, in the words of the user.
        self._plan = self._rehearsal_on(self._con).plan(self._rehearsal) or ""
        return bool(self._plan) and self._calls.met > 0

    def _rehearsal_on(self, con: duckdb.DuckDBPyConnection) -> Rehearsal:
        return Rehearsal(con, self._calls, self._tables, self._rehearsed_with, self._own_errors)

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

    def _collect(self, rehearsal: Rehearsal) -> None:
        """Run it once for its questions.

        NULL in place of an answer breaks some sound statements. The target of an INSERT may refuse it, so its query
        alone is run then. Later passes of other statements get further.
        """
        if not rehearsal.collect(self._rehearsal) and self._source is not None:
            rehearsal.collect(self._source)

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
                if _NOT_CONSTANT.search(str(error)) and "from_json" not in str(self._text):
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
