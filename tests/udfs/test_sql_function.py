"""leeroo.sql(con, statement): whole statements as one batch, on a connection of the user's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

import leeroo
from leeroo.udfs.connection import Connection

DidSince = Callable[[], Any]


@pytest.fixture
def plain(pool_file: Path, store: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Return a plain DuckDB connection with the functions and a table of 5,000 rows of 40 questions."""
    with duckdb.connect() as con:
        con.execute(
            "CREATE TABLE t AS SELECT i AS id, 'What is ' || i % 40 || ' plus ' || i % 40 || '?' AS q FROM range(5000) r(i)"
        )
        leeroo.register(con, pool=pool_file, store=store)
        yield con


def test_a_statement_is_one_batch(plain: duckdb.DuckDBPyConnection, did: DidSince) -> None:
    """The rows come as a relation, which has run; their cost is reported once."""
    made = leeroo.sql(plain, "SELECT q, leeroo(q) AS a FROM t WHERE q <> ? ORDER BY id", ["What is 39 plus 39?"])
    assert made is not None
    assert did() == (1, 39)
    assert made.aggregate("count(*), sum(a.cost_usd)").fetchall() == [(4875, pytest.approx(4875 * 0.0015))]
    assert did() == (0, 0)


def test_nested_calls_take_a_batch_each(plain: duckdb.DuckDBPyConnection, did: DidSince) -> None:
    """Each level of calls is a batch, as on a connection from connect."""
    plain.execute("CREATE MACRO next(said) AS 'What is ' || split_part(said, ' ', 3) || ' plus 1?'")
    leeroo.sql(plain, "CREATE TABLE said AS SELECT leeroo_answer(next(leeroo_answer(q))) AS a FROM t; SELECT 1")
    assert did().batches == 2
    assert plain.execute("SELECT count(*) FROM said").fetchall() == [(5000,)]


def test_failures_are_sent_once_a_statement(plain: duckdb.DuckDBPyConnection, did: DidSince) -> None:
    """A failure is kept to the end of the statement, and the next one sends the row again."""
    for _ in range(2):
        made = leeroo.sql(plain, "SELECT leeroo('unknown').error FROM t LIMIT 1")
        assert made is not None
        assert "not among those recorded" in made.fetchall()[0][0]
        assert did().batches == 1


def test_samples_are_drawn_once_a_statement(plain: duckdb.DuckDBPyConnection, did: DidSince) -> None:
    """A relation is not sampled again when it is looked at."""
    made = leeroo.sql(plain, "SELECT leeroo_answer(q, temperature := 1) AS a FROM t WHERE id < 5")
    assert made is not None
    assert did() == (1, 5)
    assert len(made.fetchall()) == 5
    assert did() == (0, 0)


def test_frames_of_the_caller_are_tables(plain: duckdb.DuckDBPyConnection) -> None:
    """Variables named in a statement are found, by whatever names, and the setting for it stays the user's."""
    con = query = parameters = pd.DataFrame({"q": ["What is 1 plus 1?"]})
    assert len(con) == len(query) == len(parameters)
    for name in ("con", "query", "parameters"):
        made = leeroo.sql(plain, f"SELECT leeroo_answer(q) FROM {name}")
        assert made is not None
        assert made.fetchall() == [("large says 2",)]
    assert plain.execute("SELECT current_setting('python_scan_all_frames')").fetchall() == [(False,)]


def test_a_connection_of_ours_is_taken_too(con: Connection, did: DidSince) -> None:
    """leeroo.sql takes a connection from connect as well as DuckDB's."""
    made = leeroo.sql(con, "SELECT leeroo_answer(question) FROM t WHERE id = 1")
    assert made is not None
    assert made.fetchall() == [("large says 2",)]
    assert did() == (1, 1)


def test_nothing_to_show_is_none(plain: duckdb.DuckDBPyConnection) -> None:
    """A statement without rows returns None, as DuckDB's own sql."""
    assert leeroo.sql(plain, "CREATE TABLE u AS SELECT 1") is None


def test_without_functions_they_are_registered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain connection gets those of the embedded local pool."""
    monkeypatch.setenv("LEEROO_STORE", str(tmp_path / "store"))
    with duckdb.connect() as plain:
        made = leeroo.sql(plain, "SELECT leeroo_answer(NULL), (SELECT count(*) > 0 FROM leeroo_experts())")
        assert made is not None
        assert made.fetchall() == [(None, True)]
