"""A statement whose rows have no answer says so: how many, and why; or it fails, where that is wanted."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

import leeroo
from leeroo.engine.errors import RowsFailed, RowsFailedWarning, UsageError
from leeroo.udfs.connection import Connection

DidSince = Callable[[], Any]
# Two questions of six are not among those recorded.
ASK = (
    "SELECT leeroo_answer(if(i < 2, 'unknown ' || i, 'What is ' || i || ' plus ' || i || '?')) AS a FROM range(6) r(i)"
)
LINE = "leeroo_answer: 2 of 6 questions asked have no answer and are NULL: the question is not among those recorded in 'data'"


@pytest.fixture
def said() -> list[str]:
    """Lines that were reported."""
    return []


@pytest.fixture
def reporting(pool_file: Path, store: Path, said: list[str]) -> Iterator[Connection]:
    """Return a connection that reports to `said`."""
    with leeroo.connect(pool=pool_file, store=store, on_warning=said.append) as con:
        yield con


def test_a_statement_warns_once(reporting: Connection, said: list[str]) -> None:
    """One line is reported, however it is run and however often its result is read."""
    reporting.execute(ASK).fetchall()
    made = reporting.sql(ASK)
    assert made is not None
    assert [len(made.fetchall()) for _ in range(2)] == [6, 6]
    reporting.execute(f"CREATE TABLE said AS {ASK}")
    again = LINE.replace("2 of 6", "2 of 2")  # the answers are known, what failed is asked once more
    assert said == [LINE, again, again]


def test_a_statement_that_is_answered_says_nothing(reporting: Connection, said: list[str]) -> None:
    """NULL in, NULL out is no failure."""
    reporting.execute("SELECT leeroo_answer(q) FROM (VALUES (NULL), ('What is 1 plus 1?')) v(q)").fetchall()
    assert said == []


def test_the_default_is_a_warning_of_python(con: Connection) -> None:
    """It is shown where the statement is run, and can be made an error there."""
    with pytest.warns(RowsFailedWarning) as shown:
        con.execute(ASK)
    assert str(shown[0].message) == LINE
    assert shown[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(leeroo.RowsFailedWarning, match="2 of 2"):
            con.execute(ASK)


def test_a_plain_connection_warns_too(pool_file: Path, store: Path) -> None:
    """Each group of rows has its line, because a plain connection does not show where a statement ends."""
    with duckdb.connect() as plain:
        leeroo.register(plain, pool=pool_file, store=store)
        with pytest.warns(RowsFailedWarning, match="2 of 6 questions asked have no answer"):
            plain.execute(ASK).fetchall()
        with pytest.warns(RowsFailedWarning, match="2 of 2 questions asked have no answer"):
            leeroo.sql(plain, ASK)


def test_a_statement_fails_where_that_is_wanted(reporting: Connection, said: list[str], did: DidSince) -> None:
    """SET VARIABLE leeroo_on_error = 'fail' raises with the same line; what was answered is kept."""
    reporting.execute("SET VARIABLE leeroo_on_error = 'fail'")
    for run in (reporting.execute, reporting.sql):
        with pytest.raises(RowsFailed, match="2 of . questions asked have no answer"):
            run(f"CREATE OR REPLACE TABLE said AS {ASK}")
    assert did().generated == 4
    assert said == []
    assert reporting.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'said'").fetchall() == [(0,)]
    reporting.execute("RESET VARIABLE leeroo_on_error")
    assert len(reporting.execute(ASK).fetchall()) == 6


def test_it_fails_in_a_transaction_and_in_place(reporting: Connection) -> None:
    """Rows that are answered as DuckDB meets them fail in the same way."""
    reporting.execute("SET VARIABLE leeroo_on_error = 'fail'")
    reporting.begin()
    reporting.execute("CREATE TEMP TABLE asked AS SELECT 'unknown' AS q")
    with pytest.raises(RowsFailed, match="1 of 1 questions asked have no answer"):
        reporting.execute("SELECT leeroo_answer(q) FROM asked")
    reporting.rollback()


def test_failing_is_an_option_too(pool_file: Path, store: Path) -> None:
    """connect and register take on_error; a wrong value is named, as it is called in Python or in SQL."""
    with leeroo.connect(pool=pool_file, store=store, on_error="fail") as con, pytest.raises(RowsFailed):
        con.execute(ASK)
    with duckdb.connect() as plain:
        leeroo.register(plain, pool=pool_file, store=store, on_error="fail")
        with pytest.raises(duckdb.Error, match="2 of 6 questions asked have no answer"):
            plain.execute(ASK).fetchall()
    with pytest.raises(UsageError, match="^on_error is 'null' or 'fail', not 'stop'$"):
        leeroo.connect(pool=pool_file, store=store, on_error="stop")  # type: ignore[arg-type]
    with leeroo.connect(pool=pool_file, store=store) as con:
        con.execute("SET VARIABLE leeroo_on_error = 'stop'")
        with pytest.raises(UsageError, match="leeroo_on_error is 'null' or 'fail', not 'stop'"):
            con.execute(ASK)
