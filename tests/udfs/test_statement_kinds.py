"""Whole statements as one batch: the right result, one batch for each round, every question generated once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from leeroo.udfs.connection import Connection

DidSince = Callable[[], Any]


def _rows(relation: duckdb.DuckDBPyRelation | None) -> list[Any]:
    assert relation is not None
    return relation.fetchall()


# For each kind of statement: itself, its result, how many rounds of questions it takes, how many questions.
SELECTS = {
    "projection": (
        "SELECT id, leeroo_answer(question) FROM t WHERE id < 2 ORDER BY id",
        [(0, "large says 0"), (1, "large says 2")],
        1,
        2,
    ),
    "filter": (
        "SELECT id FROM t WHERE leeroo_answer(question) = 'large says 6'",
        [(3,)],
        1,
        40,
    ),
    "filter and projection": (
        "SELECT leeroo_answer(question) FROM t WHERE id < 5 AND leeroo_answer(question) LIKE '%8'",
        [("large says 8",)],
        1,
        5,
    ),
    "filter, then another call on what is left": (
        """SELECT leeroo_answer(question, expert := 'small') FROM t
           WHERE leeroo_answer(question) IN ('large says 2', 'large says 4') ORDER BY id""",
        [("small says 2",), ("small says 4",)],
        2,
        42,
    ),
    "join": (
        """SELECT a.id, leeroo_answer(b.question) FROM t a JOIN t b ON b.id = a.id + 1
           WHERE a.id < 2 ORDER BY a.id""",
        [(0, "large says 2"), (1, "large says 4")],
        1,
        2,
    ),
    "join on an answer": (
        """SELECT count(*) FROM (FROM t WHERE id < 3) a
           JOIN (FROM t WHERE id < 3) b ON leeroo_answer(a.question) = leeroo_answer(b.question)""",
        [(3,)],
        1,
        3,
    ),
    "correlated subquery": (
        "SELECT id, (SELECT leeroo_answer(t.question)) FROM t WHERE id < 2 ORDER BY id",
        [(0, "large says 0"), (1, "large says 2")],
        1,
        2,
    ),
    "CTE used twice": (
        """WITH a AS (SELECT id, leeroo_answer(question) AS said FROM t WHERE id < 3)
           SELECT x.said FROM a x JOIN a y USING (said) ORDER BY x.id""",
        [("large says 0",), ("large says 2",), ("large says 4",)],
        1,
        3,
    ),
    "recursive CTE": (
        """WITH RECURSIVE chain(said) AS (
               SELECT leeroo_answer('What is 1 plus 1?')
               UNION ALL SELECT leeroo_answer(next(said)) FROM chain WHERE said <> 'large says 8')
           SELECT said FROM chain""",
        [("large says 2",), ("large says 4",), ("large says 8",)],
        3,
        3,
    ),
    "GROUP BY an answer": (
        """SELECT leeroo_answer(question), count(*) FROM (SELECT * FROM t UNION ALL SELECT * FROM t)
           WHERE id < 2 GROUP BY ALL ORDER BY ALL""",
        [("large says 0", 2), ("large says 2", 2)],
        1,
        2,
    ),
    "HAVING on an answer": (
        """SELECT part, max(leeroo_answer(question)) AS most FROM t WHERE id < 8
           GROUP BY part HAVING most = 'large says 8'""",
        [(0, "large says 8")],
        1,
        8,
    ),
    "ORDER BY an answer": (
        "SELECT id FROM t WHERE id BETWEEN 4 AND 6 ORDER BY leeroo_answer(question)",
        [(5,), (6,), (4,)],  # as text: 10, 12, 8
        1,
        3,
    ),
    "LIMIT": (
        "SELECT leeroo_answer(question) FROM t ORDER BY id LIMIT 2",
        [("large says 0",), ("large says 2",)],
        1,
        2,
    ),
    "window": (
        """SELECT id, row_number() OVER (PARTITION BY leeroo_answer(question) ORDER BY id) FROM t
           WHERE id < 2 ORDER BY id""",
        [(0, 1), (1, 1)],
        1,
        2,
    ),
    "calls nested in calls": (
        "SELECT leeroo_answer(next(leeroo_answer(next(leeroo_answer(question))))) FROM t WHERE id IN (1, 2) ORDER BY id",
        [("large says 8",), ("large says 16",)],
        3,
        4,  # 1, 2, 4, 8: the answers of one are the questions of the other
    ),
    "different functions": (
        "SELECT leeroo_answer(question), leeroo(question).expert FROM t WHERE id = 1",
        [("large says 2", "large")],
        1,
        1,
    ),
    "constants": (
        "SELECT leeroo_answer('What is 1 plus 1?') FROM t WHERE id < 2",
        [("large says 2",)] * 2,
        1,
        1,
    ),
    "UNION": (
        """SELECT leeroo_answer(question) FROM t WHERE id = 1
           UNION ALL SELECT leeroo_answer(question, expert := 'small') FROM t WHERE id = 2""",
        [("large says 2",), ("small says 4",)],
        1,
        2,
    ),
    "a text made of a statement": (
        "FROM query('SELECT leeroo_answer(question) FROM t WHERE id = 1')",
        [("large says 2",)],
        1,
        1,
    ),
}


@pytest.mark.parametrize("kind", SELECTS)
def test_a_select_is_one_batch_a_round(con: Connection, did: DidSince, kind: str) -> None:
    """The result is right, each round of questions is one batch, and no question is generated twice."""
    statement, result, rounds, questions = SELECTS[kind]
    assert con.execute(statement).fetchall() == result
    assert did() == (rounds, questions)
    assert _rows(con.sql(statement)) == result
    assert did() == (0, 0)


def test_views_and_macros_may_hide_calls(con: Connection, did: DidSince) -> None:
    """A call is found in views and macros, of which the statement's text says nothing."""
    con.execute("""CREATE VIEW said AS SELECT id, leeroo_answer(question) AS a FROM t;
                   CREATE MACRO ask(q) AS leeroo_answer(q) || '!';
                   CREATE MACRO few(n) AS TABLE SELECT ask(question) AS a FROM t WHERE id < n""")
    assert did() == (0, 0)
    assert con.execute("SELECT a FROM said WHERE id = 1").fetchall() == [("large says 2",)]
    assert con.execute("SELECT ask(question) FROM t WHERE id = 2").fetchall() == [("large says 4!",)]
    assert con.execute("SELECT a FROM few(4) ORDER BY a DESC LIMIT 1").fetchall() == [("large says 6!",)]
    assert did() == (3, 4)


def test_create_table_as(con: Connection, did: DidSince) -> None:
    """CREATE TABLE AS makes the table once, with all answers in it."""
    con.execute("CREATE TABLE said AS SELECT id, leeroo_answer(question) AS a FROM t")
    assert con.execute("SELECT count(*), count(a), count(DISTINCT a) FROM said").fetchall() == [(40, 40, 40)]
    assert did() == (1, 40)


def test_insert_update_delete_merge(con: Connection, did: DidSince) -> None:
    """Statements that write happen once, and the rehearsals leave no trace."""
    con.execute("CREATE TABLE said (id INTEGER PRIMARY KEY, a VARCHAR NOT NULL)")
    inserted = con.execute("INSERT INTO said SELECT id, leeroo_answer(question) FROM t WHERE id < 10").fetchall()
    assert inserted == [(10,)]
    assert did() == (1, 10)
    con.execute(
        "UPDATE said SET a = leeroo_answer(question, expert := 'small') FROM t WHERE t.id = said.id AND t.id < 3"
    )
    assert did() == (1, 3)
    con.execute("DELETE FROM said WHERE leeroo_answer(next(a)) = 'large says 4'")  # the rows of 1: "small says 2"
    assert did().batches == 1
    con.execute("""MERGE INTO said USING (SELECT id, leeroo_answer(question) AS a FROM t WHERE id < 2) s USING (id)
                   WHEN MATCHED THEN UPDATE SET a = s.a WHEN NOT MATCHED THEN INSERT""")
    assert did() == (0, 0)
    assert con.execute("SELECT id, a FROM said WHERE id < 4 ORDER BY id").fetchall() == [
        (0, "large says 0"),
        (1, "large says 2"),
        (2, "small says 4"),
        (3, "large says 6"),
    ]


def test_insert_returning_is_one_batch(con: Connection, did: DidSince) -> None:
    """Calls in RETURNING are part of the batch."""
    con.execute("CREATE TABLE written (question VARCHAR)")
    statement = "INSERT INTO written SELECT question FROM t WHERE id IN (1, 2) RETURNING leeroo_answer(question)"
    assert con.execute(statement).fetchall() == [("large says 2",), ("large says 4",)]
    assert con.execute("SELECT count(*) FROM written").fetchone() == (2,)
    assert did() == (1, 2)


@pytest.mark.parametrize("source", ["(SELECT id, leeroo_answer(question) AS a FROM t -- ) TO 'x'\n)", "said"])
def test_copy_writes_its_file_once(con: Connection, did: DidSince, tmp_path: Path, source: str) -> None:
    """COPY writes the finished table and nothing but that; its questions are collected without a file."""
    con.execute("CREATE VIEW said AS SELECT id, leeroo_answer(question) AS a FROM t")
    folder = tmp_path / "out"
    folder.mkdir()
    con.execute(f"COPY {source} TO '{folder / 'ä.parquet'}' (FORMAT parquet)")
    assert did() == (1, 40)
    assert [file.name for file in folder.iterdir()] == ["ä.parquet"]
    assert con.execute(f"SELECT count(a) FROM '{folder / 'ä.parquet'}'").fetchone() == (40,)


def test_copy_into_a_partitioned_folder(con: Connection, did: DidSince, tmp_path: Path) -> None:
    """A COPY that refuses to write twice into a folder is run once."""
    con.execute(f"COPY (SELECT part, leeroo_answer(question) a FROM t) TO '{tmp_path / 'p'}' (PARTITION_BY part)")
    assert did() == (1, 40)
    assert len(list((tmp_path / "p").rglob("*.csv"))) == 4


def test_several_statements_are_planned_one_after_another(con: Connection, did: DidSince) -> None:
    """Each statement of a text is a batch of its own, which sees what those before it did."""
    text = """CREATE TABLE a AS SELECT leeroo_answer(question) AS said FROM t WHERE id < 3;
              CREATE TABLE b AS SELECT leeroo_answer(next(said)) AS said FROM a; -- ; '
              SELECT count(*), max(said) FROM b"""
    assert con.execute(text).fetchall() == [(3, "large says 8")]
    assert did() == (2, 4)
    assert _rows(con.sql("DROP TABLE a; SELECT leeroo_answer('What is 9 plus 9?')")) == [("large says 18",)]
    assert did() == (1, 1)


@pytest.mark.parametrize("parameters", [[1, 3], {"low": 1, "high": 3}], ids=["by position", "by name"])
def test_parameters(con: Connection, did: DidSince, parameters: Any) -> None:
    """Parameters are bound in every pass, as values of the last statement."""
    low, high = ("$low", "$high") if isinstance(parameters, dict) else ("?", "?")
    statement = f"SELECT leeroo_answer(question) FROM t WHERE id >= {low} AND id < {high} ORDER BY id"
    right = [("large says 2",), ("large says 4",)]
    assert con.execute(statement, parameters).fetchall() == right
    assert did() == (1, 2)
    assert _rows(con.sql(f"SELECT 1; {statement}", params=parameters)) == right


def test_parameters_of_a_copy(con: Connection, did: DidSince, tmp_path: Path) -> None:
    """A question may be a parameter, of COPY too."""
    con.execute(f"COPY (SELECT leeroo_answer($1) AS a) TO '{tmp_path / 'a.parquet'}'", ["What is 1 plus 1?"])
    assert did() == (1, 1)
    assert con.execute(f"FROM '{tmp_path / 'a.parquet'}'").fetchall() == [("large says 2",)]


def test_statements_prepared_in_sql_are_one_batch(con: Connection, did: DidSince) -> None:
    """EXECUTE is one batch, whatever its parameters; the error of a wrong one is DuckDB's."""
    con.execute("PREPARE ask AS SELECT leeroo_answer(question) FROM t WHERE id >= $1 AND id < $2 ORDER BY id")
    assert con.execute("EXECUTE ask(3, 2 + 3);").fetchall() == [("large says 6",), ("large says 8",)]
    assert did() == (1, 2)
    con.execute('PREPARE "two words" AS SELECT leeroo_answer(question) FROM t WHERE id = 9')
    assert con.execute('EXECUTE "two words"').fetchall() == [("large says 18",)]
    assert con.execute(
        "PREPARE next_one AS SELECT leeroo_answer($1); EXECUTE next_one('What is 2 plus 2?')"
    ).fetchall() == [("large says 4",)]
    assert did() == (2, 2)
    with pytest.raises(duckdb.Error, match="nobody"):
        con.execute("EXECUTE nobody(1)")


def test_pivots_and_settings_are_answered_as_they_run(con: Connection) -> None:
    """Statements that cannot be rehearsed have right answers all the same."""
    pivot = "PIVOT (FROM t WHERE id < 2) ON leeroo_answer(question) USING count(*) GROUP BY id ORDER BY id"
    assert _rows(con.sql(pivot)) == [(0, 1, 0), (1, 0, 1)]
    con.execute("SET VARIABLE said = (SELECT leeroo_answer(question) FROM t WHERE id = 4)")
    assert con.execute("SELECT getvariable('said')").fetchall() == [("large says 8",)]
    rows = con.execute("SELECT list_transform([question], lambda q: leeroo_answer(q)) FROM t WHERE id = 5").fetchall()
    assert rows == [(["large says 10"],)]


def test_a_statement_that_never_repeats_ends(con: Connection) -> None:
    """When every pass brings new questions, passes end and what is left is answered in place."""
    rows = con.execute("SELECT leeroo('never ' || random()).error FROM range(3)").fetchall()
    assert all("not among those recorded" in error for (error,) in rows)
    assert len(rows) == 3


def test_explain_generates_nothing(con: Connection, did: DidSince) -> None:
    """A plan costs nothing, constants included; EXPLAIN ANALYZE runs the statement."""
    assert "leeroo" in con.execute("EXPLAIN SELECT leeroo_answer(question) FROM t").fetchall()[0][1]
    assert con.sql("EXPLAIN SELECT leeroo_answer('What is 1 plus 1?')") is not None
    assert did() == (0, 0)
    con.execute("EXPLAIN ANALYZE SELECT leeroo_answer(question) FROM t")
    assert did().generated == 40
