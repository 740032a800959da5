"""leeroo_solve: complex questions in SQL, all rows of a statement solved together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from leeroo.engine.errors import PoolError, UsageError
from leeroo.udfs.connection import Connection

DidSince = Callable[[], Any]
PAIR = "'What is ' || i || ' plus ' || i || '? What is ' || j || ' plus ' || j || '?'"


def test_a_solution_has_its_steps(con: Connection) -> None:
    """The row has its answer, and each part its expert, result and cost; NULL for NULL."""
    made = con.sql(
        "SELECT i, leeroo_solve(q) AS s FROM (VALUES (1, 'What is 1 plus 1? What is 2 plus 2?'), (2, NULL)) v(i, q)"
    )
    assert made is not None
    assert str(made.types[1]) == (
        "STRUCT(answer VARCHAR, steps STRUCT(step INTEGER, task VARCHAR, needs INTEGER[], expert VARCHAR, answer VARCHAR,"
        ' cost_usd DOUBLE, list_cost_usd DOUBLE, "error" VARCHAR)[], cost_usd DOUBLE, "error" VARCHAR)'
    )
    (_, solved), (_, nothing) = sorted(made.fetchall())
    assert nothing is None
    assert solved["answer"] == "1. large says 2\n2. large says 4"
    assert [(step["task"], step["expert"], step["needs"]) for step in solved["steps"]] == [
        ("What is 1 plus 1?", "large", []),
        ("What is 2 plus 2?", "large", []),
    ]
    assert solved["cost_usd"] == pytest.approx(2 * 0.0015)


def test_all_rows_of_a_statement_are_solved_together(con: Connection, did: DidSince) -> None:
    """More rows than DuckDB hands over at a time are one wave, and a filter on the solution sends nothing again."""
    rows = con.execute(f"""
        SELECT count(*), count(DISTINCT leeroo_solve(q).answer)
        FROM (SELECT {PAIR} AS q FROM range(40) a(i), range(40) b(j), range(2)) WHERE leeroo_solve(q).error IS NULL
    """).fetchall()
    assert rows == [(3200, 1600)]
    assert did() == (1, 40)


def test_a_part_that_fails_is_that_rows_error(con: Connection, did: DidSince) -> None:
    """A failed part goes to another expert first; other rows are answered, and the next statement tries again."""
    for _ in range(2):
        [(one,), (two,)] = con.execute(
            "SELECT leeroo_solve(q) FROM (VALUES (1, 'What is 1 plus 1? What is my name?'), (2, 'What is 2 plus 2?')) v(i, q) ORDER BY i"
        ).fetchall()
        assert one["answer"] == "1. large says 2\n2. (no answer)"
        assert one["error"].startswith("step 2: the question is not among those recorded")
        assert one["steps"][1]["expert"] == "small"
        assert (two["answer"], two["error"]) == ("large says 4", None)


def test_a_repeated_solution_costs_nothing(con: Connection, did: DidSince) -> None:
    """Neither the row nor its steps cost anything, and their list cost stays."""
    statement = "SELECT leeroo_solve('What is 1 plus 1? What is 2 plus 2?')"
    for cost in (0.003, 0):
        [(solved,)] = con.execute(statement).fetchall()
        assert solved["cost_usd"] == pytest.approx(cost)
        assert sum(step["cost_usd"] for step in solved["steps"]) == pytest.approx(cost)
        assert sum(step["list_cost_usd"] for step in solved["steps"]) == pytest.approx(0.003)
    assert did() == (1, 2)


@pytest.mark.parametrize(("budget", "reaches"), [(0.001, False), (0.06, True)])
def test_the_budget_is_that_of_the_statement(con: Connection, budget: float, reaches: bool) -> None:
    """Each function of the statement has its part of it, and what it does not reach says so."""
    con.execute(f"SET VARIABLE leeroo_max_cost_usd = {budget}")
    query = f"SELECT leeroo_solve({PAIR}), leeroo_answer(question) FROM (SELECT id AS i, id + 20 AS j, question FROM t WHERE id < 10)"
    rows = con.execute(query).fetchall()
    assert all(("budget" in (solved["error"] or "")) != reaches for solved, _ in rows)
    assert all((answer is not None) == reaches for _, answer in rows)
    spent = con.execute("SELECT sum(cost_usd) FROM leeroo_spend()").fetchall()[0][0]
    assert (spent or 0) <= budget


def test_a_row_has_its_own_limits(con: Connection) -> None:
    """Steps, depth and cost are arguments with names."""
    question = "What is 1 plus 1? What is 2 plus 2? What is 3 plus 3?"
    [(steps,)] = con.execute("SELECT len(leeroo_solve(?, max_steps := 2).steps)", [question]).fetchall()
    assert steps == 2
    [(solved,)] = con.execute("SELECT leeroo_solve(?, max_cost_usd := 1e-9)", [question]).fetchall()
    assert solved["answer"] is None
    assert "what is left of the row's limit" in solved["error"]


@pytest.mark.parametrize(
    ("call", "line"),
    [
        ("leeroo_solve('x', max_steps := 0)", "leeroo_solve: max_steps must be at least 1, not 0"),
        ("leeroo_solve('x', max_cost_usd := -1)", "leeroo_solve: a row's limit of -1.0 USD is not an amount of money"),
        (
            "leeroo_solve('x', planner := 'huge')",
            "leeroo_solve: expert 'huge' is not in the pool, which has: large, small",
        ),
    ],
)
def test_a_wrong_limit_is_one_line(con: Connection, call: str, line: str) -> None:
    """The error has the function's name."""
    with pytest.raises((UsageError, PoolError)) as error:
        con.execute(f"SELECT {call}")
    assert str(error.value).startswith(line)


def test_explaining_counts_the_parts(con: Connection, did: DidSince) -> None:
    """Parts that a question names itself are counted, and nothing is generated."""
    explanation = con.explain(f"SELECT leeroo_solve({PAIR}) FROM range(3) a(i), range(3) b(j)")
    [(name, estimate)] = explanation.estimates
    assert (name, estimate.prompts) == ("leeroo_solve", 3)
    assert did() == (0, 0)


def test_a_table_of_solutions_can_be_queried(con: Connection, did: DidSince) -> None:
    """The steps of a solution are rows of SQL."""
    con.execute(
        "CREATE TABLE solved AS SELECT id, leeroo_solve(question || ' What is 3 plus 3?') AS s FROM t WHERE id < 3"
    )
    rows = con.execute("FROM (SELECT id, unnest(s.steps, recursive := true) FROM solved) ORDER BY id, step").fetchall()
    assert [(row[0], row[5]) for row in rows[:2]] == [(0, "large says 0"), (0, "large says 6")]
    assert len(rows) == 6
    assert did() == (1, 4)
