"""The order of conditions: what costs nothing first, then the cheaper call, each for the rows that are left."""

from __future__ import annotations

from typing import Any

import pytest

from leeroo.udfs.connection import Connection
from tests.udfs.statements.conftest import Sent

YES = "leeroo_answer(q) = 'yes'"

# Each statement: itself, how many rows it has, and what is sent to whom.
KINDS: dict[str, tuple[str, int, dict[str, int]]] = {
    "a filter": (f"SELECT id FROM t WHERE {YES} AND id % 100 = 0", 2, {"cheap": 6}),
    "a join, the call about its large table": (
        "SELECT a.id FROM t a JOIN u b ON a.id = b.id + 1 WHERE b.g = 1 AND leeroo_answer(a.q) = 'yes'",
        4,
        {"cheap": 12},
    ),
    "a join written with a comma": (
        "SELECT a.id FROM t a, u b WHERE a.id = b.id + 1 AND b.g = 1 AND leeroo_answer(a.q) = 'yes'",
        4,
        {"cheap": 12},
    ),
    "a call in the condition of a join": (
        "SELECT a.id FROM t a JOIN u b ON a.id = b.id + 1 AND leeroo_answer(a.q) = 'yes' WHERE b.g = 1",
        4,
        {"cheap": 12},
    ),
    "a call in the condition of a left join": (
        "SELECT a.id FROM t a LEFT JOIN u b ON a.id = b.id AND b.g = 1 AND leeroo_answer(b.q) = 'yes' WHERE a.id < 100",
        100,
        {"cheap": 2},
    ),
    "a call about a subquery's rows": (
        f"SELECT id FROM t WHERE {YES} AND id IN (SELECT id FROM u WHERE g = 1)",
        4,
        {"cheap": 12},
    ),
    "a view": ("FROM yes WHERE id % 100 = 0", 2, {"cheap": 6}),
    "a view with other names": ("SELECT body FROM yes_ids WHERE id % 100 = 0", 2, {"cheap": 6}),
    "a view in a join": ("SELECT body FROM yes_ids y JOIN u ON y.id = u.id + 1 WHERE g = 1", 4, {"cheap": 12}),
    "a CTE": (f"WITH c AS (SELECT * FROM t WHERE {YES}) SELECT * FROM c WHERE id % 100 = 0", 2, {"cheap": 6}),
    "a CTE with the answer as a column": (
        "WITH c AS (SELECT id, leeroo_answer(q) AS a FROM t) SELECT * FROM c WHERE a = 'yes' AND id % 100 = 0",
        2,
        {"cheap": 6},
    ),
    "a macro": ("FROM t WHERE is_yes(q) AND id % 100 = 0", 2, {"cheap": 6}),
    "a CASE that is selected": (
        f"SELECT CASE WHEN {YES} AND id % 100 = 0 THEN 1 END FROM t",
        600,
        {"cheap": 6},
    ),
    "an AND that is selected": (f"SELECT {YES} AND id % 100 = 0 FROM t", 600, {"cheap": 6}),
    "an OR that is selected": (f"SELECT {YES} OR id % 100 <> 0 FROM t", 600, {"cheap": 6}),
    "NOT": (f"SELECT id FROM t WHERE id < 100 AND NOT ({YES} AND id % 10 = 0)", 96, {"cheap": 10}),
    "an aggregate's FILTER": (f"SELECT count(*) FILTER (WHERE {YES} AND id % 100 = 0) FROM t", 1, {"cheap": 6}),
    "HAVING": (
        "SELECT k FROM t GROUP BY k HAVING leeroo_answer('q' || k) = 'yes' AND count(*) > 85",
        2,
        {"cheap": 5},
    ),
    "INSERT": (f"INSERT INTO u SELECT id, 1, q FROM t WHERE {YES} AND id % 100 = 0 RETURNING id", 2, {"cheap": 6}),
    "UPDATE": (f"UPDATE t SET k = 9 WHERE {YES} AND id % 100 = 0 RETURNING id", 2, {"cheap": 6}),
    "DELETE": (f"DELETE FROM t WHERE {YES} AND id % 100 = 0 RETURNING id", 2, {"cheap": 6}),
    "two calls, the expensive one written first": (
        f"SELECT id FROM t WHERE strong(q) AND {YES} AND id < 100",
        17,
        {"cheap": 100, "strong": 34},
    ),
    "either of two calls": (
        f"SELECT id FROM t WHERE (strong(q) OR {YES}) AND id < 100",
        67,
        {"cheap": 100, "strong": 66},
    ),
    "either of two calls, one of them about few rows": (
        f"SELECT id FROM t WHERE strong(q) OR ({YES} AND id < 60)",
        310,
        {"cheap": 60, "strong": 580},
    ),
    "two calls above a join": (
        "SELECT a.id FROM t a JOIN u b USING (id) WHERE strong(b.q) AND leeroo_answer(a.q) = 'yes' AND g = 1",
        4,
        {"cheap": 12, "strong": 4},
    ),
    "a CASE whose branches ask": (
        f"SELECT CASE WHEN {YES} THEN 'a' WHEN strong(q) THEN 'b' ELSE 'c' END FROM t WHERE id < 100",
        100,
        {"cheap": 100, "strong": 66},
    ),
    "COALESCE": (
        "SELECT coalesce(nullif(leeroo_answer(q), 'no'), leeroo_answer(q, expert := 'strong')) FROM t WHERE id < 100",
        100,
        {"cheap": 100, "strong": 66},
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_more_is_sent_than_needed(con: Connection, sent: Sent, kind: str) -> None:
    """Each call is made only for the rows that all before it leave."""
    statement, rows, questions = KINDS[kind]
    assert len(con.execute(statement).fetchall()) == rows
    assert sent() == questions


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("INSERT", "UPDATE", "DELETE")])
def test_the_result_is_that_of_the_statement_as_written(con: Connection, kind: str) -> None:
    """With all answers known, DuckDB itself gives the same rows under the same names."""
    statement = KINDS[kind][0]
    con.execute("SELECT leeroo_answer(q), leeroo_answer(q, expert := 'strong') FROM t")
    plain = con.cursor()
    made = con.sql(statement)
    assert made is not None
    as_written = plain._con.execute(statement)
    names = [each[0] for each in as_written.description or ()]
    assert made.columns == names
    assert sorted(made.fetchall(), key=repr) == sorted(as_written.fetchall(), key=repr)


def test_known_answers_decide_the_order(con: Connection, sent: Sent) -> None:
    """A call whose answers are known costs nothing and comes first, whatever its price is."""
    con.execute("SELECT leeroo_answer(q, expert := 'strong') FROM t")
    assert sent() == {"strong": 600}
    con.execute("SELECT id FROM t WHERE is_yes(q) AND strong(q)")
    assert sent() == {"cheap": 300}


def test_the_share_that_passes_decides_the_order(con: Connection, sent: Sent) -> None:
    """Of calls at one price the one that lets fewer rows pass comes first, as far as answers are known."""
    con.execute("SELECT leeroo_answer(q), leeroo_answer(q || '') FROM t WHERE id % 6 IN (0, 1)")
    assert sent() == {"cheap": 200}
    con.execute("SELECT id FROM t WHERE leeroo_answer(q) IN ('yes', 'no') AND leeroo_answer('q' || (599 - id)) = 'yes'")
    assert sent() == {"cheap": 400}


def test_what_has_effects_is_evaluated_once(con: Connection, sent: Sent) -> None:
    """A condition that draws a number is not written twice: it would keep rows that it had refused."""
    con.execute("CREATE SEQUENCE s")
    con.execute(f"SELECT id FROM t WHERE {YES} AND nextval('s') > 0 AND id < 3")
    assert sent() == {"cheap": 3}


def test_a_lambda_and_a_recursive_query_stay_as_they_are(con: Connection, sent: Sent) -> None:
    """What cannot be written in another way is run as before."""
    statement = """WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i < 3)
                   SELECT i FROM c WHERE leeroo_answer('q' || i) = 'yes' AND list_filter([i], lambda x: x > 1) <> []"""
    assert con.execute(statement).fetchall() == [(3,)]
    assert sent()["cheap"] <= 4


def test_another_thread_may_plan_meanwhile(con: Connection) -> None:
    """No setting of the database changes while a statement is run."""
    con.execute(f"SELECT id FROM t WHERE {YES} AND id % 100 = 0")
    assert con.execute("SELECT current_setting('disabled_optimizers')").fetchall() == [("",)]


@pytest.mark.parametrize(
    ("given", "statement"),
    [
        ([100, "yes"], "SELECT count(*) FROM t WHERE leeroo_answer(q) = $2 AND id % $1 = 0"),
        ({"n": 100, "said": "yes"}, "SELECT count(*) FROM t WHERE leeroo_answer(q) = $said AND id % $n = 0"),
        ([100, "yes"], "SELECT count(*) FROM t WHERE id % ? = 0 AND leeroo_answer(q) = ?"),
    ],
)
def test_parameters_stay_where_they_were(con: Connection, sent: Sent, given: Any, statement: str) -> None:
    """Parameters by number, by name and by place may be part of a condition that is written twice."""
    assert con.execute(statement, given).fetchall() == [(2,)]
    assert sent() == {"cheap": 6}


def test_explain_shows_the_order_and_what_it_saves(con: Connection, sent: Sent) -> None:
    """Each call with what it asks and costs at most, and the questions of DuckDB's own order; nothing is sent."""
    plan = con.explain("SELECT a.id FROM t a JOIN u b USING (id) WHERE strong(a.q) AND is_yes(b.q) AND g = 1")
    assert str(plan).splitlines()[-5:] == [
        "Order of the calls, each for the rows that the ones before leave:",
        "  1. is_yes(b.q): at most 12 questions, $0.003084",
        "  2. strong(a.q): at most 12 questions, $0.30835",
        "Conditions that cost less come first: 12 questions to begin with, not 612.",
        "Not counted: questions that depend on these answers.",
    ]
    assert sent() == {}
