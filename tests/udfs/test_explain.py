"""What a statement would take, before it is run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

import leeroo
from leeroo.cli.main import app
from leeroo.engine.errors import LeerooError
from leeroo.udfs.connection import Connection

DidSince = Callable[[], Any]

GOLDEN = """\
leeroo_answer: 50 rows, 41 distinct prompts, 2 of them answered before
  Cost: $0.990692 expected, between $0.021502 and $2.00; the budget is $2.00
  Time: 2 s, 2 waves
    wave  expert  backend  prompts  tokens in  tokens out  cost USD   at most  time
       1  small   replay         1          4          20  0.000242  0.000970   2 s
       2  large   replay        38        176       9,728  0.990450  2.000000   0 s
Not counted: questions that depend on these answers."""


@pytest.fixture
def timed(pool_file: Path) -> Path:
    """Return the pool, in which 'small' takes its time."""
    pool_file.write_text(pool_file.read_text() + "max_tokens = 20\n[expert.engine]\ntokens_per_second = 10\n")
    return pool_file


def test_the_plan_of_a_statement(timed: Path, store: Path, did: DidSince) -> None:
    """Rows, distinct prompts, what is known, experts, tokens, cost with its bounds, time and waves; nothing happens."""
    with leeroo.connect(pool=timed, store=store) as con:
        con.execute(
            "CREATE TABLE t AS SELECT 'What is ' || i % 40 || ' plus ' || i % 40 || '?' AS q, i FROM range(50) r(i)"
        )
        con.execute("SELECT leeroo_answer(q) FROM t WHERE i < 2")
        before = did()
        con.execute("SET VARIABLE leeroo_max_cost_usd = 2")
        plan = con.explain("""CREATE TABLE said AS
            SELECT leeroo_answer(q) AS a FROM t UNION ALL SELECT leeroo_answer(q, expert := 'small') FROM t WHERE i = 5""")
        with pytest.raises(duckdb.CatalogException):
            con.execute("FROM said")
    assert before.generated == 2
    assert did() == (0, 0)
    assert str(plan) == GOLDEN
    ((names, estimate),) = plan.estimates
    assert names == "leeroo_answer"
    assert (estimate.rows, estimate.prompts, estimate.stored) == (50, 41, 2)
    assert [(part.expert, part.wave, part.prompts) for part in estimate.parts] == [("small", 1, 1), ("large", 2, 38)]
    assert estimate.least_usd < estimate.cost_usd < estimate.most_usd <= 2
    assert estimate.seconds == pytest.approx(2.0)


def test_an_estimate_holds(con: Connection, did: DidSince) -> None:
    """The plan has the prompts that are then sent, and the cost is no more than the most that it names."""
    statement = "SELECT sum(a.cost_usd) FROM (SELECT leeroo(question, max_tokens := 5) AS a FROM t)"
    ((_, estimate),) = con.explain(statement).estimates
    paid = con.execute(statement).fetchall()[0][0]
    assert did() == (1, estimate.prompts)
    assert estimate.least_usd < paid < estimate.most_usd


def test_rows_beyond_the_budget_are_counted(con: Connection) -> None:
    """A budget that reaches some rows only says how many it does not."""
    con.execute("SET VARIABLE leeroo_max_cost_usd = 0.15")
    ((_, estimate),) = con.explain("SELECT leeroo_answer(question, expert := 'large') FROM t").estimates
    assert estimate.over_budget == 40 - estimate.parts[0].prompts > 0
    assert f"{estimate.over_budget} rows beyond the budget" in str(estimate)


def test_nested_calls_are_said_not_to_be_counted(con: Connection, did: DidSince) -> None:
    """Only the inner question is counted, because the outer one depends on its answer."""
    plan = con.explain("SELECT leeroo_answer(next(leeroo_answer(question))) FROM t")
    assert plan.estimates[0][1].prompts == 40
    assert "depend on these answers" in str(plan)
    assert did() == (0, 0)


@pytest.mark.parametrize(
    "statement", ["SELECT 1", "SELECT leeroo_route(question) FROM t", "CREATE TABLE u AS SELECT 2", "SET threads = 2"]
)
def test_statements_without_questions_say_so(con: Connection, did: DidSince, statement: str) -> None:
    """A statement that generates nothing has a line that says so."""
    assert str(con.explain(statement)).startswith("Nothing to generate")
    assert did().generated == 0


def test_a_wrong_statement_is_an_error(con: Connection) -> None:
    """The error is in DuckDB's words, or in ours."""
    with pytest.raises(duckdb.CatalogException, match="nowhere"):
        con.explain("SELECT leeroo_answer(q) FROM nowhere")
    with pytest.raises(LeerooError, match="leeroo_answer: expert 'huge'"):
        con.explain("SELECT leeroo_answer(question, expert := 'huge') FROM t")


def test_explain_works_on_a_plain_connection(pool_file: Path, store: Path, did: DidSince) -> None:
    """leeroo.explain takes a user's own connection, a statement, and its parameters."""
    plain = duckdb.connect()
    leeroo.register(plain, pool=pool_file, store=store)
    plan = leeroo.explain(plain, "SELECT leeroo_answer('What is ' || i || ' plus 1?') FROM range(?) r(i)", [7])
    assert plan.estimates[0][1].prompts == 7
    assert did() == (0, 0)


def test_the_command_explains_statements_and_tables(
    pool_file: Path, store: Path, tmp_path: Path, did: DidSince
) -> None:
    """leeroo explain describes a statement and a table, as text and as one JSON object."""
    table = tmp_path / "questions.csv"
    table.write_text("question\n" + "".join(f"What is {i} plus {i}?\n" for i in (1, 2, 2)))
    options = ["--pool", str(pool_file), "--store", str(store)]
    for what, rows in ((f"SELECT leeroo_answer(question) FROM '{table}'", 3), (str(table), 3)):
        text = CliRunner().invoke(app, ["explain", what, *options])
        assert text.exit_code == 0
        assert f"{rows} rows, 2 distinct prompts" in text.stdout
        done = CliRunner().invoke(app, ["explain", what, *options, "--json"])
        (estimate,) = json.loads(done.stdout)["estimates"]
        assert (estimate["rows"], estimate["prompts"], estimate["waves"]) == (rows, 2, 1)
        assert [part["expert"] for part in estimate["parts"]] == ["large"]
    assert did() == (0, 0)
