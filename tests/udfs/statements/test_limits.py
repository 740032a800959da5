"""LIMIT stops asking: rows are read in steps until as many are found as are wanted."""

from __future__ import annotations

import pytest

from leeroo.udfs.connection import Connection
from leeroo.udfs.statements.rewrite.limits import next_rows
from tests.udfs.statements.conftest import Sent

YES = "leeroo_answer(q) = 'yes'"

# Each statement: itself, its result (ids), and what is sent to whom. Every third row passes 'cheap'.
STOPS: dict[str, tuple[str, list[int], dict[str, int]]] = {
    "a filter": (f"SELECT id FROM t WHERE {YES} LIMIT 4", [0, 3, 6, 9], {"cheap": 12}),
    "with other conditions": (f"SELECT id FROM t WHERE {YES} AND k = 0 LIMIT 4", [0, 21, 42, 63], {"cheap": 12}),
    "sorted by a column": (f"SELECT id FROM t WHERE {YES} ORDER BY id DESC LIMIT 2", [597, 594], {"cheap": 7}),
    "sorted by an alias": (f"SELECT -id AS x FROM t WHERE {YES} ORDER BY x LIMIT 2", [-597, -594], {"cheap": 7}),
    "with OFFSET": (f"SELECT id FROM t WHERE {YES} LIMIT 2 OFFSET 2", [6, 9], {"cheap": 12}),
    "two calls": (f"SELECT id FROM t WHERE strong(q) AND {YES} LIMIT 2", [0, 6], {"cheap": 7, "strong": 3}),
    "a call that is selected": (
        f"SELECT if(leeroo_answer(q, expert := 'strong') = 'yes', id, -1) FROM t WHERE {YES} LIMIT 2",
        [0, -1],
        {"cheap": 7, "strong": 2},
    ),
    "a view": ("SELECT id FROM yes LIMIT 2", [0, 3], {"cheap": 7}),
    "a CTE": (f"WITH c AS (SELECT * FROM t WHERE {YES}) SELECT id FROM c ORDER BY id LIMIT 2", [0, 3], {"cheap": 7}),
    "an answer as a column": (
        "SELECT id FROM (SELECT id, leeroo_answer(q) AS a FROM t) WHERE a = 'yes' LIMIT 2",
        [0, 3],
        {"cheap": 7},
    ),
    "a join": (
        "SELECT a.id FROM t a JOIN u b USING (id) WHERE leeroo_answer(b.q) = 'yes' LIMIT 2",
        [0, 30],
        {"cheap": 7},
    ),
    "a join sorted by one table": (
        "SELECT a.id FROM t a JOIN u b USING (id) WHERE leeroo_answer(a.q) = 'yes' ORDER BY b.id DESC LIMIT 2",
        [570, 540],
        {"cheap": 7},
    ),
    "a subquery": (f"SELECT max(id) FROM (SELECT id FROM t WHERE {YES} LIMIT 2)", [3], {"cheap": 7}),
    "DISTINCT answers": ("SELECT count(*) FROM (SELECT DISTINCT leeroo_answer(q) FROM t LIMIT 2)", [2], {"cheap": 7}),
    "fewer rows than wanted": (f"SELECT id FROM t WHERE {YES} AND id < 7 LIMIT 10", [0, 3, 6], {"cheap": 7}),
    "LIMIT 0": (f"SELECT id FROM t WHERE {YES} LIMIT 0", [], {}),
}
# Each statement that needs all rows, and why.
NEEDS_ALL = {
    f"SELECT k, count(*) FROM t WHERE {YES} GROUP BY k LIMIT 2": "the rows are grouped",
    f"SELECT count(*) FROM t WHERE {YES} LIMIT 2": "it has an aggregate or a window",
    f"SELECT id FROM t WHERE {YES} ORDER BY leeroo_answer(q) LIMIT 2": "the rows are sorted by answers",
    "SELECT a.id FROM t a JOIN u b USING (id) WHERE leeroo_answer(b.q) = 'yes' ORDER BY b.g, a.id LIMIT 2": (
        "the rows are sorted by columns of several tables"
    ),
    f"SELECT id FROM t WHERE {YES} AND random() < 2 LIMIT 2": "it draws other rows each time",
}


@pytest.mark.parametrize("kind", STOPS)
def test_a_limit_stops(con: Connection, sent: Sent, kind: str) -> None:
    """The rows are those that the statement would have without steps, and no other rows are sent."""
    statement, rows, questions = STOPS[kind]
    assert [row[0] for row in con.execute(statement).fetchall()] == rows
    assert sent() == questions
    made = con.sql(statement)
    assert made is not None
    assert [row[0] for row in made.fetchall()] == rows
    assert sent() == {}


@pytest.mark.parametrize("statement", NEEDS_ALL)
def test_a_limit_that_cannot_stop_says_why(con: Connection, sent: Sent, statement: str) -> None:
    """Explain names the reason, and all rows are sent."""
    assert f"LIMIT saves nothing, all rows are needed: {NEEDS_ALL[statement]}." in str(con.explain(statement))
    con.execute(statement)
    assert sent()["cheap"] == (60 if " JOIN " in statement else 600)


def test_macros_are_seen_through(con: Connection, sent: Sent) -> None:
    """A macro that counts, and one that draws numbers, need all rows; a recursive query is left as it is."""
    con.execute("CREATE MACRO total(x) AS count(x); CREATE MACRO dice() AS random() < 2")
    assert con.execute(f"SELECT total(id) FROM t WHERE {YES} LIMIT 1").fetchall() == [(200,)]
    assert sent() == {"cheap": 600}
    assert "it draws other rows each time" in str(con.explain("SELECT id FROM t WHERE strong(q) AND dice() LIMIT 1"))
    statement = """WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL
                       (SELECT i + 1 FROM c WHERE i < 20 AND leeroo_answer('q' || i * 3) = 'yes' LIMIT 1))
                   SELECT count(*) FROM c"""
    assert con.execute(statement).fetchall() == [(21,)]


def test_sampled_answers_are_drawn_once(con: Connection) -> None:
    """A call with a temperature is written once, so that it draws one answer a row."""
    call = "leeroo_answer(q, temperature := 0.5) IS NULL"
    rows = con.execute(f"SELECT {call} AND {YES} AND id < 3 FROM t WHERE id < 3 ORDER BY id").fetchall()
    assert rows == [(False,), (False,), (False,)]


@pytest.mark.parametrize("given", [[2], {"n": 2}])
def test_the_limit_may_be_a_parameter(con: Connection, sent: Sent, given: list[int] | dict[str, int]) -> None:
    """By place and by name, also in a table that is written."""
    mark = "?" if isinstance(given, list) else "$n"
    rows = con.execute(f"SELECT id FROM t WHERE {YES} LIMIT {mark}", given).fetchall()
    assert rows == [(0,), (3,)]
    assert sent() == {"cheap": 7}


def test_written_tables_stop_too(con: Connection, sent: Sent) -> None:
    """CREATE TABLE AS and INSERT read as few rows."""
    con.execute(f"CREATE TABLE few AS SELECT id FROM t WHERE {YES} LIMIT 2")
    assert sent() == {"cheap": 7}
    con.execute(f"INSERT INTO few SELECT id FROM t WHERE {YES} AND id > 9 LIMIT 2")
    assert con.execute("FROM few").fetchall() == [(0,), (3,), (12,), (15,)]
    assert sent() == {"cheap": 7}


def test_explain_says_where_it_stops(con: Connection, sent: Sent) -> None:
    """The first step and the rows that are wanted; nothing is sent."""
    plan = con.explain(f"SELECT id FROM t WHERE {YES} LIMIT 2")
    assert "until 2 are found. The questions above are those of the first 7 rows." in str(plan)
    assert "all rows are read: 600 questions" in str(plan)
    assert plan.estimates[0][1].prompts == 7
    assert sent() == {}


def test_unordered_tables_are_read_whole(con: Connection, sent: Sent) -> None:
    """Where DuckDB need not keep the order of rows, the first of them may be others each time."""
    con.execute("SET preserve_insertion_order = false")
    assert len(con.execute(f"SELECT id FROM t WHERE {YES} LIMIT 2").fetchall()) == 2
    assert sent() == {"cheap": 600}


@pytest.mark.parametrize(
    ("wanted", "found", "rows", "then"),
    [
        (10, 0, 0, 27),  # half of the rows are taken to pass
        (10, 9, 27, 33),  # one is missing, and ten of 29 passed: twice three more rows
        (10, 0, 27, 108),  # nothing passed: no more than three times as many again
        (1, 0, 0, 4),
    ],
)
def test_steps_grow_with_what_is_missing(wanted: int, found: int, rows: int, then: int) -> None:
    """A step reads what is missing at the share that passed so far, and as many as its spread on top."""
    assert next_rows(wanted, found, rows) == then
