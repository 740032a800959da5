"""leeroo_feedback: feedback written in SQL is kept in the answer store, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

import leeroo
from leeroo.engine.errors import InputError
from leeroo.udfs.connection import Connection
from leeroo.udfs.register import connect, register

Q1, Q2 = "What is 1 plus 1?", "What is 2 plus 2?"
KEPT = "SELECT question, expert, answer, score, gold, judged_by FROM leeroo_feedback() ORDER BY ALL"


def test_scores_are_kept_and_replaced(con: Connection, store: Path, pool_file: Path) -> None:
    """Another connection to the store sees them; the same question and expert again replaces the earlier score."""
    con.execute("INSERT INTO leeroo_feedback (question, expert, score) VALUES (?, 'small', 0.25)", [Q1])
    con.sql(f"INSERT INTO leeroo_feedback (question, expert, score) SELECT '{Q1}', 'small', 0.75")
    with connect(pool=pool_file, store=store) as other:
        assert other.execute(KEPT).fetchall() == [(Q1, "small", None, 0.75, None, "user")]


def test_the_count_of_rows_is_returned(con: Connection) -> None:
    """An insert gives what DuckDB gives, with RETURNING too."""
    insert = f"INSERT INTO leeroo_feedback (question, expert, score) VALUES ('{Q1}', 'small', 1), ('{Q2}', 'small', 1)"
    assert con.execute(insert).fetchall() == [(2,)]
    returned = con.sql(f"{insert} RETURNING question")
    assert returned is not None
    assert returned.fetchall() == [(Q1,), (Q2,)]


def test_gold_is_of_every_expert_that_answered(con: Connection) -> None:
    """A gold holds for earlier and later answers; a given score stays."""
    con.execute("SELECT leeroo_answer(question, expert := 'small') FROM t WHERE id IN (1, 2)").fetchall()
    con.execute("INSERT INTO leeroo_feedback (question, gold) VALUES (?, 2), (?, 5)", [Q1, Q2])
    con.execute("INSERT INTO leeroo_feedback (question, score) VALUES (?, 0.5)", [Q2])
    con.execute("SELECT leeroo_answer(question, expert := 'large') FROM t WHERE id = 1").fetchall()
    assert con.execute(KEPT).fetchall() == [
        (Q1, "large", "large says 2", 1.0, "2", "numeric"),
        (Q1, "small", "small says 2", 1.0, "2", "numeric"),
        (Q2, "small", "small says 4", 0.5, "5", "user"),
    ]


def test_answers_of_the_same_statement_are_judged_once(con: Connection) -> None:
    """The rehearsal, where answers are NULL, writes nothing; the statement itself does, once."""
    con.execute(
        "INSERT INTO leeroo_feedback (question, expert, answer, gold)"
        " SELECT question, a.expert, a.answer, (2 * id)::VARCHAR"
        " FROM (SELECT id, question, leeroo(question) AS a FROM t WHERE id < 5)"
    )
    kept = con.execute("SELECT expert, count(*), avg(score) FROM leeroo_feedback() GROUP BY 1").fetchall()
    assert kept == [("large", 5, 1.0)]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (f"('{Q1}', 'small', NULL, 1.5, NULL)", "scale scores to the range from 0 to 1"),
        (f"('{Q1}', 'small', NULL, 'nan', NULL)", "scale scores to the range from 0 to 1"),
        (f"('{Q1}', 'small', NULL, NULL, NULL)", "has neither a score nor a gold answer"),
        (f"('{Q1}', 'small', NULL, NULL, '  ')", "has neither a score nor a gold answer"),
        (f"('{Q1}', 'medium', NULL, 1, NULL)", "no expert is called 'medium'"),
        (f"('{Q1}', NULL, NULL, 1, NULL)", "nobody is known to have answered"),
        (f"('{Q1}', 'small', NULL, NULL, '2')", "small has not answered"),
        ("(NULL, 'small', NULL, 1, NULL)", "there is no question"),
        ("(' ', 'small', NULL, 1, NULL)", "there is no question"),
    ],
)
def test_a_bad_row_is_one_clear_error_and_nothing_is_kept(con: Connection, values: str, reason: str) -> None:
    """Good rows before it in the statement are not kept either."""
    with pytest.raises(InputError, match=reason):
        con.execute(
            "INSERT INTO leeroo_feedback SELECT 'question ' || i, 'small', NULL, 1, NULL FROM range(5000) r(i)"
            f" UNION ALL SELECT * FROM (VALUES {values})"
        )
    assert con.execute(KEPT).fetchall() == []


@pytest.mark.parametrize("by", ["statement", "method"])
def test_a_transaction_that_is_rolled_back_leaves_nothing(con: Connection, by: str) -> None:
    """One that is committed leaves its rows, which others see only then."""
    insert = "INSERT INTO leeroo_feedback (question, expert, score) VALUES (?, 'small', 1)"
    for end in ("ROLLBACK", "COMMIT"):
        con.execute("BEGIN") if by == "statement" else con.begin()
        con.execute(insert, [Q1])
        con.executemany(insert, [[Q2]])
        assert con.execute(KEPT).fetchall() == []
        con.execute(end) if by == "statement" else getattr(con, end.lower())()
        assert len(con.execute(KEPT).fetchall()) == (2 if end == "COMMIT" else 0)


def test_a_transaction_broken_by_a_bad_row_leaves_nothing(con: Connection) -> None:
    """Even the good rows of earlier statements are dropped."""
    con.execute("BEGIN")
    con.execute("INSERT INTO leeroo_feedback (question, expert, score) VALUES (?, 'small', 1)", [Q1])
    with pytest.raises(InputError):
        con.execute("INSERT INTO leeroo_feedback (question, expert, score) VALUES (?, 'small', 2)", [Q2])
    con.execute("ROLLBACK")
    con.execute("INSERT INTO leeroo_feedback (question, expert, score) VALUES (?, 'small', 1)", [Q2])
    assert con.execute(KEPT).fetchall() == [(Q2, "small", None, 1.0, None, "user")]


def test_execute_and_executemany_write_feedback(con: Connection) -> None:
    """EXECUTE and executemany write feedback as INSERT does."""
    con.execute("PREPARE say AS INSERT INTO leeroo_feedback (question, expert, score) VALUES ($1, 'small', $2)")
    con.execute(f"EXECUTE say('{Q1}', 0.5)")
    con.executemany("INSERT INTO leeroo_feedback (question, expert, score) VALUES (?, 'large', ?)", [[Q1, 1], [Q2, 0]])
    assert [row[:2] for row in con.execute(KEPT).fetchall()] == [(Q1, "large"), (Q1, "small"), (Q2, "large")]


def test_a_plain_connection_writes_feedback(pool_file: Path, store: Path) -> None:
    """Plain statements keep what they write; a bad one keeps nothing, and its error says why."""
    con = duckdb.connect()
    register(con, pool=pool_file, store=store)
    con.execute("INSERT INTO leeroo_feedback (question, expert, score) VALUES (?, 'small', 0.5)", [Q1])
    with pytest.raises(duckdb.ConstraintException, match="scale scores"):
        con.execute(
            "INSERT INTO leeroo_feedback (question, expert, score) VALUES (?, 'large', 1), (?, 'large', 7)", [Q1, Q2]
        )
    leeroo.sql(con, f"INSERT INTO leeroo_feedback (question, expert, score) VALUES ('{Q2}', 'large', 0.25)")
    assert con.execute(KEPT).fetchall() == [
        (Q1, "small", None, 0.5, None, "user"),
        (Q2, "large", None, 0.25, None, "user"),
    ]
    # Registered anew, it goes on.
    register(con, pool=pool_file, store=store)
    con.execute("INSERT INTO leeroo_feedback (question, expert, score) VALUES (?, 'small', 1)", [Q1])
    assert con.execute("SELECT max(score) FROM leeroo_feedback()").fetchall() == [(1.0,)]


def test_nothing_is_written_to_the_database(tmp_path: Path, pool_file: Path, store: Path) -> None:
    """The table is a temporary one, and a read-only database takes feedback too."""
    file = tmp_path / "mine.duckdb"
    duckdb.connect(str(file)).close()
    with connect(file, read_only=True, pool=pool_file, store=store) as con:
        con.execute("INSERT INTO leeroo_feedback (question, expert, score) VALUES (?, 'small', 1)", [Q1])
        assert len(con.execute(KEPT).fetchall()) == 1
    assert duckdb.connect(str(file)).execute("SHOW TABLES").fetchall() == []
