"""leeroo.register: the functions on a connection of the user's own, answered vector by vector."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

import leeroo

DidSince = Callable[[], Any]
TABLE = "CREATE TABLE t AS SELECT i AS id, 'What is ' || i % 40 || ' plus ' || i % 40 || '?' AS question FROM range(5000) r(i)"


@pytest.fixture
def plain(pool_file: Path, store: Path) -> duckdb.DuckDBPyConnection:
    """Return a plain DuckDB connection with the functions and a table of 5,000 rows of 40 questions."""
    con = duckdb.connect()
    con.execute(TABLE)
    leeroo.register(con, pool=pool_file, store=store)
    return con


def test_vectors_send_only_unknown_questions(plain: duckdb.DuckDBPyConnection, did: DidSince) -> None:
    """Each question is generated once, however many rows and vectors have it."""
    rows = plain.execute("SELECT id, leeroo_answer(question) FROM t ORDER BY id").fetchall()
    assert rows == [(i, f"large says {2 * (i % 40)}") for i in range(5000)]
    assert did().generated == 40
    plain.execute("SELECT leeroo_answer(question) FROM t").fetchall()
    assert did() == (0, 0)


def test_threads_of_duckdb_share_answers(plain: duckdb.DuckDBPyConnection, did: DidSince) -> None:
    """DuckDB's own threads call the functions at once, and each question is still generated once."""
    plain.execute("SET threads = 4; CREATE TABLE many AS SELECT t.question FROM t, range(100)")
    said = plain.execute("SELECT count(leeroo_answer(question)), count(DISTINCT leeroo_answer(question)) FROM many")
    assert said.fetchall() == [(500_000, 40)]
    assert did().generated == 40


@pytest.mark.parametrize(
    "call", ["leeroo_answer(q)", "leeroo(q)", "leeroo_label(q, ['a', 'b'])", "leeroo_choice(q, ['a', 'b'])"]
)
def test_unused_dictionary_entries_are_not_sent(
    pool_file: Path, store: Path, tmp_path: Path, did: DidSince, call: str
) -> None:
    """Questions that a file keeps as a dictionary are sent for the rows of the statement alone."""
    path = str(tmp_path / "my.duckdb")
    duckdb.connect(path).execute(TABLE.replace("AS question", "AS q")).close()
    with duckdb.connect(path) as con:
        leeroo.register(con, pool=pool_file, store=store)
        con.execute(f"SELECT {call} FROM t WHERE id = 1").fetchall()
        assert con.execute("SELECT rows FROM leeroo_runs()").fetchall() == [(1,)]


def test_a_second_statement_pays_nothing(plain: duckdb.DuckDBPyConnection) -> None:
    """cost_usd is what the statement paid: nothing, when an earlier one had paid."""
    spend = "SELECT sum(cost) FROM (SELECT DISTINCT question, leeroo(question).cost_usd AS cost FROM t)"
    costs = [plain.execute(spend).fetchone() for _ in range(2)]
    assert costs == [(pytest.approx(40 * 15 * 100 / 1e6),), (0,)]


def test_errors_are_duckdbs_with_our_line(plain: duckdb.DuckDBPyConnection, did: DidSince) -> None:
    """A wrong argument is an error of DuckDB's that holds our sentence, and the connection goes on."""
    with pytest.raises(duckdb.InvalidInputException, match="leeroo_answer: expert 'huge' is not in the pool"):
        plain.execute("SELECT leeroo_answer(question, expert := 'huge') FROM t").fetchall()
    with pytest.raises(duckdb.InvalidInputException, match="leeroo: leeroo_max_cost_usd must be"):
        plain.execute("SET VARIABLE leeroo_max_cost_usd = -1; SELECT leeroo(question) FROM t").fetchall()
    assert did() == (0, 0)
    plain.execute("RESET VARIABLE leeroo_max_cost_usd")
    assert plain.execute("SELECT leeroo_answer(question) FROM t WHERE id = 1").fetchall() == [("large says 2",)]


def test_a_failed_row_is_sent_again(plain: duckdb.DuckDBPyConnection, did: DidSince) -> None:
    """A failure is not remembered: the next call may have more luck."""
    for _ in range(2):
        assert plain.execute("SELECT leeroo('never ' || id).error FROM t WHERE id < 2").fetchone() != (None,)
        assert did().batches == 1


def test_samples_are_drawn_for_every_row(plain: duckdb.DuckDBPyConnection, did: DidSince) -> None:
    """A temperature above 0 generates for each row, constants included."""
    plain.execute("SELECT leeroo_answer('What is 1 plus 1?', temperature := 1) FROM t WHERE id < 30").fetchall()
    assert did() == (1, 30)


def test_transactions_commit_and_roll_back(plain: duckdb.DuckDBPyConnection) -> None:
    """A user's own transactions end as they do without the functions."""
    plain.execute("BEGIN; CREATE TABLE said AS SELECT leeroo_answer(question) AS a FROM t; ROLLBACK")
    plain.execute("BEGIN; CREATE TABLE said AS SELECT leeroo_answer(question) AS a FROM t WHERE id < 5; COMMIT")
    assert plain.execute("SELECT count(a) FROM said").fetchone() == (5,)


def test_registering_again_replaces(plain: duckdb.DuckDBPyConnection, pool_file: Path, store: Path) -> None:
    """The last options hold, and the functions of the first are gone."""
    pool_file.write_text(pool_file.read_text().replace('default = "large"', 'default = "small"'))
    leeroo.register(plain, pool=pool_file, store=store)
    assert plain.execute("SELECT leeroo_answer(question) FROM t WHERE id = 1").fetchall() == [("small says 2",)]
    count = "SELECT count(DISTINCT function_name) FROM duckdb_functions() WHERE function_name LIKE '_leeroo_answers%'"
    assert plain.execute(count).fetchone() == (1,)


def test_closing_takes_the_functions_away(pool_file: Path, store: Path) -> None:
    """After close the connection is the user's as before; closing twice is fine."""
    con = duckdb.connect()
    registered = leeroo.register(con, pool=pool_file, store=store)
    con.execute("FROM range(1_000_000)").fetchone()  # a result that is not read to its end is no hindrance
    registered.close()
    registered.close()
    with pytest.raises(duckdb.CatalogException):
        con.execute("SELECT leeroo_answer('What is 1 plus 1?')")
    assert con.execute(
        "SELECT count(*) FROM duckdb_functions() WHERE function_name LIKE '_leeroo_answers%'"
    ).fetchall() == [(0,)]


def test_two_connections_to_one_file(pool_file: Path, store: Path, tmp_path: Path, did: DidSince) -> None:
    """Connections to one database each have functions and options of their own; one read-only instance is shared."""
    path = str(tmp_path / "my.duckdb")
    duckdb.connect(path).execute(TABLE).close()
    first, second = duckdb.connect(path, read_only=True), duckdb.connect(path, read_only=True)
    leeroo.register(first, pool=pool_file, store=store)
    with pytest.raises(duckdb.CatalogException):
        second.execute("SELECT leeroo_answer(question) FROM t")
    leeroo.register(second, pool=pool_file, store=store, max_cost_usd=0)
    assert second.execute("SELECT leeroo_answer(question) FROM t WHERE id = 1").fetchall() == [(None,)]
    assert first.execute("SELECT leeroo_answer(question) FROM t WHERE id = 1").fetchall() == [("large says 2",)]
    assert did().generated == 1


def test_an_engine_goes_with_its_connection(pool_file: Path, store: Path) -> None:
    """When a connection is gone, so are its functions and what they had loaded."""
    con = duckdb.connect()
    calls = leeroo.register(con, pool=pool_file, store=store).calls
    con.execute("SELECT leeroo_answer('What is 1 plus 1?')").fetchall()
    con.close()
    engine = calls.engine
    del con, calls
    gc.collect()
    with pytest.raises(Exception, match="closed"):
        engine.store.runs()
