"""Rehearsals: run a statement for its questions, in a transaction that is rolled back, and have them answered."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import duckdb

from leeroo.udfs.callers import Tables, run_among
from leeroo.udfs.functions.calls import Calls

# Rehearsals of a statement. Deeper nested calls, and statements that differ in each run, are answered in place.
PASSES = 8
# As many questions of a condition are looked at to estimate what it costs.
_SAMPLE = 200


class Rehearsal:
    """Runs statements with the functions in collecting mode.

    Args:
        con: The connection to rehearse on.
        calls: Those of our functions.
        tables: What the caller's variables name.
        parameters: Of the statement.
        own_errors: Raises errors of our functions as they were.

    """

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        calls: Calls,
        tables: Tables,
        parameters: object,
        own_errors: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._con = con
        self._calls = calls
        self._tables = tables
        self._parameters = parameters
        self._own_errors = own_errors

    def execute(self, text: str, parameters: object = None) -> duckdb.DuckDBPyConnection:
        """Run a statement that calls none of our functions, or only plans them."""
        with self._calls.collecting():
            done: duckdb.DuckDBPyConnection = run_among(self._tables, self._con.execute, text, parameters)
            return done

    def plan(self, text: str | None) -> str | None:
        """Return DuckDB's plan of a statement, None where it refuses it."""
        try:
            return str(self._run(f"EXPLAIN (FORMAT json) {text}")[-1][1])
        except duckdb.InterruptException:
            raise
        except duckdb.Error:
            return None

    def collect(self, text: str | None) -> bool:
        """Run a statement for its questions, and say if it reached its end."""
        return self._attempt(f"EXPLAIN ANALYZE {text}") is not None  # which runs all of it and keeps no result

    def row(self, query: str) -> tuple[Any, ...] | None:
        """Return the first row of a query, whose questions are collected; None where it fails."""
        rows = self._attempt(query)
        return rows[0] if rows else None

    def value(self, query: str) -> Any:
        """Return the first value of a query, whose questions are collected; None where it fails."""
        return (self.row(query) or (None,))[0]

    def answer(self, texts: Iterable[str], passes: int = PASSES) -> None:
        """Have the questions of statements answered, one statement after the other, as far as they can be seen."""
        for text in texts:
            for _ in range(passes):
                self.collect(text)
                if not self.answer_collected():
                    break

    def answer_collected(self) -> bool:
        """Have all answered that was collected, and say if there was anything."""
        with self._own_errors():
            return self._calls.answer_collected()

    def questions(self, text: str) -> int:
        """Return how many questions a statement asks before any of them is answered."""
        self.collect(text)
        return self._calls.forget_collected()

    def expect_collected(self) -> tuple[int, float, float]:
        """Return the number of collected questions, and the USD and tokens that they would take; forget them."""
        with self._own_errors():
            return self._calls.expect_collected(_SAMPLE)

    def _attempt(self, text: str) -> list[Any] | None:
        with self._rolled_back():
            try:
                return self._run(text)
            except duckdb.InterruptException:
                raise
            except duckdb.Error:
                return None

    def _run(self, text: str) -> list[Any]:
        with self._calls.collecting(), self._calls.feedback.rehearse(), self._own_errors():
            given = self._named_in(text) if self._parameters else None
            rows: list[Any] = run_among(self._tables, self._con.execute, text, given).fetchall()
            return rows

    def _named_in(self, text: str) -> object:
        """Return the parameters that occur in a text; DuckDB refuses others."""
        (parsed,) = self._con.extract_statements(text)
        if isinstance(self._parameters, Mapping):
            given = {str(name): value for name, value in self._parameters.items()}
        elif isinstance(self._parameters, Sequence):
            given = {str(number): value for number, value in enumerate(self._parameters, 1)}
        else:
            return self._parameters
        # One that is missing is DuckDB's to report.
        return {name: given[name] for name in parsed.named_parameters if name in given}

    @contextlib.contextmanager
    def _rolled_back(self) -> Iterator[None]:
        self._con.begin()
        try:
            yield
        finally:
            self._con.rollback()
