"""leeroo.connect: a DuckDB connection as users know it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pytest

import leeroo
from leeroo.engine.errors import PoolError, UsageError
from leeroo.udfs.connection import Connection

DidSince = Callable[[], Any]


@pytest.mark.filterwarnings("ignore:Arrow output on a DB-API result:UserWarning")
def test_it_behaves_as_duckdb_does(con: Connection) -> None:
    """All methods except sql and execute are DuckDB's own, and those that return the connection return this one."""
    statement = "SELECT id, leeroo_answer(question) AS a FROM t WHERE id < 3 ORDER BY id"
    right = [(0, "large says 0"), (1, "large says 2"), (2, "large says 4")]
    assert con.execute(statement).fetchone() == right[0]
    assert con.execute(statement).fetchmany(2) == right[:2]
    assert con.execute(statement).df()["a"].tolist() == [a for _, a in right]
    assert con.execute(statement).to_arrow_table().num_rows == 3
    assert [column[0] for column in con.execute(statement).description] == ["id", "a"]
    assert con.begin().execute(statement).commit().execute("SELECT 1").fetchall() == [(1,)]
    assert con.executemany("INSERT INTO t VALUES (?, 0, ?)", [(98, "x"), (99, "y")]) is con
    with pytest.raises(AttributeError):
        con.no_such_method  # noqa: B018


def test_sql_makes_relations(con: Connection, did: DidSince) -> None:
    """sql gives a relation to go on with, whose answers are known; None where there is nothing to show."""
    said = con.sql("SELECT id, leeroo_answer(question) AS a FROM t", alias="said")
    assert said is not None
    assert did() == (1, 40)
    assert said.alias == "said"
    assert said.filter("id = 7").project("a").fetchall() == [("large says 14",)]
    assert said.order("id").pl()["a"].to_list()[:2] == ["large says 0", "large says 2"]
    assert con.sql("SELECT max(id) FROM said").fetchall() == [(39,)]  # type: ignore[union-attr]
    assert con.query("SELECT leeroo_answer(question) FROM t WHERE id = 1").fetchall() == [("large says 2",)]  # type: ignore[union-attr]
    con.sql("CREATE TABLE made AS SELECT leeroo_answer(question) AS a FROM t")  # has nothing to go on with: runs now
    assert con.execute("SELECT count(a) FROM made").fetchall() == [(40,)]
    assert con.sql("") is None
    assert did() == (0, 0)


@pytest.mark.parametrize(
    "statement",
    [
        "SET VARIABLE a = 1",
        "CREATE VIEW said AS SELECT leeroo_answer(question) FROM t",
        "CREATE TABLE said AS SELECT leeroo_answer(question) FROM t",
        "SELECT 1; DROP TABLE t",
        "BEGIN; COMMIT",
    ],
)
def test_what_has_no_rows_makes_no_relation(con: Connection, statement: str) -> None:
    """Statements that can have no rows to show run at once."""
    assert con.sql(statement) is None


@pytest.mark.parametrize(
    ("statement", "rows"),
    [
        ("SELECT leeroo_answer(question) FROM t WHERE id = 1", [("large says 2",)]),
        ("FROM range(1_000_000); SELECT 42", [(42,)]),
        (
            "PIVOT (FROM t WHERE id < 2) ON leeroo_answer(question) USING count(*) GROUP BY id ORDER BY id",
            [(0, 1, 0), (1, 0, 1)],
        ),
        (
            "FROM range(1_000_000); PIVOT (FROM t WHERE id < 2) ON part USING count(*) GROUP BY id ORDER BY id",
            [(0, 1, 0), (1, 0, 1)],
        ),
        ("EXECUTE ask", [("large says 6",)]),
        ("CALL range(1)", [(0,)]),
    ],
)
def test_an_unread_result_is_dropped(con: Connection, statement: str, rows: list[Any]) -> None:
    """A statement runs though the rows of the one before it were not read."""
    con.execute("PREPARE ask AS SELECT leeroo_answer(question) FROM t WHERE id = 3")
    runs: list[Callable[[str], Any]] = [con.execute, con.sql]
    for run in runs:
        assert con.execute("FROM range(1_000_000)").fetchone() == (0,)
        assert run(statement).fetchall() == rows


def test_frames_of_the_caller_are_tables(con: Connection) -> None:
    """Variables named in a statement are found where the user has them, by whatever names."""
    question = ["What is 1 plus 1?"]
    query, params, self = pd.DataFrame({"q": question}), pl.DataFrame({"q": question}), pd.DataFrame({"q": question})
    statement = parameters = query
    for name in ("query", "params", "statement", "parameters"):
        text = f"SELECT leeroo_answer(q) FROM {name}"
        assert con.execute(text).fetchall() == [("large says 2",)]
        assert con.sql(text).fetchall() == [("large says 2",)]  # type: ignore[union-attr]
    assert len(self) == len(statement) == len(parameters) == len(params)


def test_a_cursor_has_the_functions_too(con: Connection, did: DidSince) -> None:
    """A cursor is a connection of its own to the same database, engine and store."""
    with con.cursor() as cursor:
        rows = cursor.execute("SELECT leeroo_answer(question) FROM t WHERE id = 1").fetchall()
        assert rows == [("large says 2",)]
    assert did() == (1, 1)
    assert con.execute("SELECT leeroo_answer(question) FROM t WHERE id = 2").fetchall() == [("large says 4",)]


def test_nothing_is_written_to_the_file(pool_file: Path, store: Path, tmp_path: Path) -> None:
    """A database file stays as it was, may be open for reading only, and opens without this package."""
    path = tmp_path / "my.duckdb"
    with duckdb.connect(str(path)) as plain:
        plain.execute("CREATE TABLE t AS SELECT 'What is 1 plus 1?' AS question")
    before = hashlib.sha256(path.read_bytes()).hexdigest()
    for read_only in (True, False):
        with leeroo.connect(path, read_only=read_only, pool=pool_file, store=store) as con:
            assert con.execute("SELECT leeroo_answer(question) FROM t").fetchall() == [("large says 2",)]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == before
    with duckdb.connect(str(path)) as plain:
        assert plain.execute(
            "SELECT count(*) FROM duckdb_functions() WHERE function_name LIKE '%leeroo%'"
        ).fetchone() == (0,)


def test_a_stored_view_works_again(pool_file: Path, store: Path, tmp_path: Path) -> None:
    """A view over our functions that is stored in a file works wherever the functions are known."""
    for _ in range(2):
        with leeroo.connect(str(tmp_path / "my.duckdb"), pool=pool_file, store=store) as con:
            con.execute("CREATE VIEW IF NOT EXISTS said AS SELECT leeroo_answer('What is 1 plus 1?') AS a")
            assert con.execute("FROM said").fetchall() == [("large says 2",)]


def test_closing_closes_all(con: Connection, tmp_path: Path, pool_file: Path, store: Path) -> None:
    """After close nothing can be run, and closing twice is fine."""
    with leeroo.connect(tmp_path / "my.duckdb", pool=pool_file, store=store) as other:
        beside = duckdb.connect(str(tmp_path / "my.duckdb"))
    count = "SELECT count(*) FROM duckdb_functions() WHERE function_name LIKE '_leeroo%'"
    assert beside.execute(count).fetchone() == (0,)
    with pytest.raises(duckdb.ConnectionException):
        other.execute("SELECT 1")
    other.close()
    assert con.execute("SELECT leeroo_answer('What is 1 plus 1?')").fetchall() == [("large says 2",)]


def test_closing_with_rows_unread(con: Connection) -> None:
    """The functions of a cursor go with it, even when it closes amid a result."""
    functions = "SELECT count(*) FROM duckdb_functions() WHERE function_name LIKE '_leeroo_answers%'"
    with con.cursor() as cursor:
        assert con.execute(functions).fetchall() == [(2,)]
        assert cursor.execute("SELECT leeroo_answer(t.question) FROM t, range(1_000)").fetchone() is not None
    assert con.execute(functions).fetchall() == [(1,)]


def test_wrong_options_are_one_line(tmp_path: Path, pool_file: Path) -> None:
    """A wrong option, pool or budget is an error when connecting."""
    with pytest.raises(PoolError, match="nowhere.toml"):
        leeroo.connect(pool=tmp_path / "nowhere.toml")
    with pytest.raises(UsageError, match="not both"):
        leeroo.connect(pool=pool_file, max_cost_usd=1, cost_weight=2)


def test_threads_have_cursors(con: Connection, did: DidSince) -> None:
    """Threads with cursors of one connection share its engine: each gets its own rows, and none waits for ever."""
    wrong: list[object] = []

    def work(i: int) -> None:
        with con.cursor() as cursor:
            for _ in range(5):
                rows = cursor.execute(f"SELECT leeroo_answer(question) FROM t WHERE id = {i}").fetchall()
                if rows != [(f"large says {2 * i}",)]:
                    wrong.append(rows)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)
    assert did() == (5, 5)
