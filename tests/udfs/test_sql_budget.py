"""Money in SQL: budgets and weights, as options and as variables, hold for each statement."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from leeroo.engine.errors import UsageError
from leeroo.udfs.connection import Connection
from leeroo.udfs.register import connect, register

DidSince = Callable[[], Any]
LARGE = 15 * 100 / 1e6  # USD an answer
BUDGET = 10.5 * LARGE
TABLE = "CREATE TABLE t AS SELECT i, 'What is ' || i || ' plus ' || i || '?' AS question FROM range(40) r(i)"
# What the rows of a statement cost, how many were answered, and why the others were not.
SPEND = """SELECT sum(a.cost_usd), count(a.answer), any_value(a.error)
           FROM (SELECT leeroo(question) AS a FROM t WHERE i >= {0} AND i < {1})"""
LEFT_OUT = "the budget of .* does not reach this row"


@pytest.fixture
def only_large(pool_file: Path) -> Path:
    """Return a pool with one expert, whose answers are as long as its limit: what it cannot answer stays unanswered."""
    text = pool_file.read_text().split('[[expert]]\nname = "small"')[0]
    pool_file.write_text(text + "max_tokens = 5\n")
    return pool_file


@pytest.fixture
def con(only_large: Path, store: Path) -> Iterator[Connection]:
    """Return a connection with a budget for about ten answers a statement."""
    with connect(pool=only_large, store=store, max_cost_usd=BUDGET) as con:
        con.execute(TABLE)
        yield con


def spend(con: Connection | duckdb.DuckDBPyConnection, first: int, last: int) -> tuple[float, int]:
    """Return what a statement over these rows costs and how many it answers; the rest says that the budget is too small."""
    cost, answered, error = con.execute(SPEND.format(first, last)).fetchall()[0]
    assert (error is None) == (answered == last - first)
    return cost, answered


def test_each_statement_has_the_whole_budget(con: Connection) -> None:
    """A statement never spends more than the budget, and the next one may spend as much again."""
    for first in (0, 20):
        cost, answered = spend(con, first, first + 20)
        assert cost == pytest.approx(answered * LARGE)
        assert 8 <= answered <= 10


def test_rows_beyond_the_budget_are_answered_by_the_next_statement(con: Connection) -> None:
    """The repeated statement goes on where its budget ended, and pays only for what is new."""
    answered = 0
    for _ in range(5):
        cost, now = spend(con, 0, 20)
        assert cost == pytest.approx((now - answered) * LARGE)
        answered = now
    assert answered == 20


def test_rounds_share_a_budget(con: Connection, did: DidSince) -> None:
    """Calls nested in calls take what the first round has left."""
    con.execute("""SELECT leeroo_answer('What is ' || split_part(a, ' ', 3) || ' plus ' || split_part(a, ' ', 3) || '?')
                   FROM (SELECT leeroo_answer(question) AS a FROM t WHERE i BETWEEN 9 AND 15)""")
    assert 7 < did().generated <= 10


def test_variables_say_otherwise(con: Connection) -> None:
    """SET VARIABLE changes the budget from the next statement on; RESET brings the option back."""
    con.execute(f"SET VARIABLE leeroo_max_cost_usd = {2.5 * LARGE}")
    assert 1 <= spend(con, 0, 10)[1] <= 2
    con.execute("RESET VARIABLE leeroo_max_cost_usd")
    assert spend(con, 10, 30)[1] >= 8
    con.execute("SET VARIABLE leeroo_cost_weight = 0")  # in the place of the budget
    assert spend(con, 0, 40)[1] == 40


@pytest.mark.parametrize("value", ["-1", "'nan'::DOUBLE"])
def test_a_variable_that_cannot_be_is_named(con: Connection, value: str) -> None:
    """A wrong variable is one line that names the function and what is wrong."""
    con.execute(f"SET VARIABLE leeroo_max_cost_usd = {value}")
    with pytest.raises(UsageError, match="^leeroo: leeroo_max_cost_usd must be a number of at least 0, not .*$"):
        con.execute("SELECT leeroo(question) FROM t")
    con.execute("SET VARIABLE leeroo_max_cost_usd = 1; SET VARIABLE leeroo_cost_weight = 1")
    with pytest.raises(UsageError, match="not both"):
        con.execute("SELECT leeroo(question) FROM t")
    with pytest.raises(UsageError, match="latency_weight"):
        connect(latency_weight=-1)


def test_the_budget_holds_across_vectors(only_large: Path, store: Path) -> None:
    """On a connection of the user's, too, the vectors of a statement share its budget, and the next has its own."""
    con = duckdb.connect()
    register(con, pool=only_large, store=store, max_cost_usd=BUDGET)
    con.execute(TABLE)
    union = " UNION ALL ".join(f"SELECT leeroo(question) AS a FROM t WHERE i % 4 = {part}" for part in range(4))
    cost = answered = 0
    for _ in range(2):
        cost, answered = con.execute(f"SELECT sum(a.cost_usd), count(a.answer) FROM ({union})").fetchall()[0]
        assert cost <= BUDGET
    assert cost > 0
    assert 16 <= answered <= 20
