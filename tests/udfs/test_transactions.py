"""Transactions: a rehearsal leaves no trace, and the user's own work is never rolled back."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from leeroo.engine.answer import Progress
from leeroo.udfs.connection import Connection
from leeroo.udfs.register import connect

DidSince = Callable[[], Any]
TABLES = "CREATE TABLE t AS SELECT 'What is ' || i || ' plus ' || i || '?' AS question FROM range(40) r(i)"


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Receive Ctrl-C even where the tests run in the background, which makes programs ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("begin", ["BEGIN", "method"])
def test_a_transaction_of_the_user_is_left_alone(con: Connection, did: DidSince, begin: str) -> None:
    """In an open transaction statements are answered as they run, and see and keep what was done before."""
    con.begin() if begin == "method" else con.execute("BEGIN")
    con.execute("CREATE TABLE said AS SELECT id, leeroo_answer(question) AS a FROM t WHERE id < 2")
    con.execute("INSERT INTO said SELECT 99, leeroo_answer(next(a)) FROM said WHERE id = 1")
    assert con.execute("SELECT max(a) FROM said").fetchall() == [("large says 4",)]
    said = con.sql("SELECT leeroo_answer(next(a)) FROM said WHERE id = 99")
    assert said is not None
    assert said.fetchall() == [("large says 8",)]
    con.commit()
    assert con.execute("SELECT count(a) FROM said").fetchall() == [(3,)]
    assert did().generated == 4


def test_a_statement_over_older_tables_is_one_batch(con: Connection, did: DidSince) -> None:
    """A statement over tables from before the transaction is rehearsed outside it, as one batch."""
    con.execute(
        "CREATE TABLE many AS SELECT 'What is ' || i % 40 || ' plus ' || i % 40 || '?' AS q FROM range(5000) r(i)"
    )
    con.execute("CREATE TABLE said (a VARCHAR); SET VARIABLE least = 1; CREATE SCHEMA s; SET search_path = 's,main'")
    con.execute(
        "BEGIN; INSERT INTO said SELECT leeroo_answer(q || '') FROM many WHERE length(q) > getvariable('least')"
    )
    assert did() == (1, 40)
    con.execute("UPDATE said SET a = leeroo_answer('What is 1 plus 1?', expert := 'small')")
    assert con.execute("SELECT DISTINCT a FROM said").fetchall() == [("small says 2",)]
    con.rollback()
    assert con.execute("SELECT count(*) FROM said").fetchall() == [(0,)]


def test_a_statement_over_new_rows_is_answered_as_it_runs(con: Connection, did: DidSince) -> None:
    """Rows and temporary tables that only the transaction sees are right too, and a failing rehearsal breaks nothing."""
    con.execute(
        "CREATE TEMP TABLE mine AS FROM t WHERE id < 2; BEGIN; INSERT INTO t VALUES (40, 0, 'What is 3 plus 3?')"
    )
    assert con.execute("SELECT count(leeroo_answer(question)) FROM t").fetchall() == [(41,)]
    assert con.execute("SELECT leeroo_answer(next(leeroo_answer(question))) FROM mine").fetchall() == [
        ("large says 0",),
        ("large says 4",),
    ]
    broken = (
        "SELECT CASE WHEN leeroo_answer(question, expert := 'small') IS NULL THEN error('x') END FROM t WHERE id < 9"
    )
    assert con.execute(broken).fetchall() == [(None,)] * 9
    con.commit()
    assert con.execute("SELECT count(*) FROM t").fetchall() == [(41,)]
    assert did().generated == 40 + 9


def test_rolling_back_undoes_the_statement_and_keeps_the_answers(con: Connection, did: DidSince) -> None:
    """Paid answers are kept, whatever the end of the transaction."""
    con.execute("BEGIN; CREATE TABLE said AS SELECT leeroo_answer(question) AS a FROM t")
    con.rollback()
    assert did().generated == 40
    with pytest.raises(duckdb.CatalogException):
        con.execute("FROM said")
    con.execute("CREATE TABLE said AS SELECT leeroo_answer(question) AS a FROM t")
    assert did() == (0, 0)


def test_a_broken_transaction_says_so(con: Connection) -> None:
    """In a transaction that an error has broken, DuckDB's own message is what the user sees."""
    con.execute("BEGIN")
    with pytest.raises(duckdb.InvalidInputException):
        con.execute("SELECT error('broken')").fetchall()
    with pytest.raises(duckdb.TransactionException, match="ROLLBACK"):
        con.execute("SELECT leeroo_answer(question) FROM t")
    con.execute("ROLLBACK")
    assert con.execute("SELECT leeroo_answer(question) FROM t WHERE id = 1").fetchall() == [("large says 2",)]


def test_an_error_quotes_the_statement_as_written(con: Connection, did: DidSince) -> None:
    """An error in the statement is DuckDB's, about the text that the user wrote, and nothing is sent."""
    with pytest.raises(duckdb.BinderException, match="LINE 1: SELECT leeroo_answer"):
        con.execute("SELECT leeroo_answer(nowhere) FROM t")
    with pytest.raises(duckdb.ParserException):
        con.execute("SELEC leeroo_answer(question) FROM t")
    with pytest.raises(duckdb.CatalogException, match="already exists"):
        con.execute("CREATE TABLE t AS SELECT leeroo_answer(question) FROM t")
    assert did() == (0, 0)
    con.execute("BEGIN; ROLLBACK")  # no transaction was left open


def test_a_statement_that_fails_changes_nothing(con: Connection) -> None:
    """When a statement fails for real, nothing of it or its rehearsals stays."""
    con.execute("CREATE TABLE said (a VARCHAR CHECK (a <> 'large says 2'))")
    with pytest.raises(duckdb.ConstraintException):
        con.execute("INSERT INTO said SELECT leeroo_answer(question) FROM t")
    assert con.execute("SELECT count(*) FROM said").fetchone() == (0,)


def test_null_in_the_place_of_an_answer_may_break_a_rehearsal(con: Connection, did: DidSince) -> None:
    """A statement that NULL would break, but its answers do not, is batched."""
    con.execute("CREATE TABLE said (a VARCHAR NOT NULL)")
    con.execute("INSERT INTO said SELECT leeroo_answer(question) FROM t")
    rows = con.execute("""
        SELECT CASE WHEN leeroo_answer(question, expert := 'small') IS NULL THEN error('no answer') ELSE 'fine' END
        FROM t WHERE id < 3""")
    assert rows.fetchall() == [("fine",)] * 3
    assert did() == (2, 43)


def test_only_statements_with_calls_are_rehearsed(con: Connection) -> None:
    """A statement that calls nothing of ours runs once: what no transaction undoes happens once."""
    con.execute("CREATE SEQUENCE numbers; CREATE TABLE leeroo_table AS SELECT nextval('numbers') AS n FROM t")
    con.execute("INSERT INTO leeroo_table SELECT nextval('numbers') FROM t")
    assert con.execute("SELECT nextval('numbers')").fetchone() == (81,)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_in_a_rehearsal(con: Connection) -> None:
    """An interrupt ends the statement as KeyboardInterrupt, and no transaction is left open."""
    # DuckDB 2.0.1 waits deaf for threads other than the one that asked.
    con.execute("CREATE TABLE said (n BIGINT); SET threads = 1")
    timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        con.execute("""INSERT INTO said SELECT count(*) FROM range(1_000_000_000_000) r(i) WHERE hash(i) = 0
                       UNION ALL SELECT length(leeroo_answer(question)) FROM t""")
    timer.join()
    con.execute("BEGIN; ROLLBACK")
    assert con.execute("SELECT count(*) FROM said").fetchone() == (0,)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_while_answering_is_passed_on(pool_file: Path, store: Path, did: DidSince) -> None:
    """An interrupt while the engine is at work is passed on; answers are kept and not generated again."""
    pool_file.write_text(pool_file.read_text() + "[expert.engine]\ntokens_per_second = 25\n")  # of 'small'
    pressed: list[int] = []

    def press(progress: Progress) -> None:
        if progress.tokens and not pressed:
            pressed.append(progress.tokens)
            signal.raise_signal(signal.SIGINT)

    with connect(pool=pool_file, store=store, on_progress=press) as con:
        con.execute(f"{TABLES}; CREATE TABLE said (a VARCHAR)")
        statement = "INSERT INTO said SELECT leeroo_answer(question, expert := 'small') FROM t"
        with pytest.raises(KeyboardInterrupt):
            con.execute(statement)
        con.execute("BEGIN; ROLLBACK")
        assert con.execute("SELECT count(*) FROM said").fetchone() == (0,)
        kept = did().generated
        assert 0 < kept < 40
        con.execute(statement)
        assert con.execute("SELECT count(a) FROM said").fetchone() == (40,)
        assert did().generated == 40 - kept
