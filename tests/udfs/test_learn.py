"""Statements and data frames that teach, within their budget, whom to ask."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

import leeroo
from leeroo.engine.errors import UsageError
from tests import three_experts


@pytest.fixture
def table(tmp_path: Path, api: Any) -> pl.DataFrame:
    """Return 60 questions for a pool of three experts in `pool.toml`."""
    return three_experts.set_up(tmp_path, api, 60)


def test_a_data_frame_teaches(table: pl.DataFrame, tmp_path: Path, api: Any) -> None:
    """With learn=True every row is answered within the budget, all experts are tried, and the router is saved."""
    options: dict[str, Any] = {"pool": tmp_path / "pool.toml", "store": tmp_path / "store", "max_cost_usd": 0.01}
    answered = leeroo.answer(table, learn=True, gold="truth", save_router=tmp_path / "router", **options)
    assert isinstance(answered, pl.DataFrame)
    assert answered["id"].to_list() == table["id"].to_list()
    assert answered["error"].null_count() == 60
    assert answered["predicted_score"].is_between(0, 1 + 1e-9).all()
    assert three_experts.share_right(answered) > 0.9  # gold says which answer is right where any is
    assert api.account_usd == pytest.approx(answered["cost_usd"].sum())
    assert 0 < api.account_usd <= 0.01
    assert {body["model"] for body in api.bodies} == set(three_experts.SKILLS)
    assert (tmp_path / "router" / "router.json").is_file()


def test_a_statement_teaches(table: pl.DataFrame, tmp_path: Path, api: Any) -> None:
    """With SET VARIABLE leeroo_learn a statement is a batch that learns; without it the default expert answers."""
    said = (
        "SELECT count(a.answer), min(a.predicted_score) > 0, sum(a.cost_usd) FROM (SELECT leeroo(question) AS a FROM t)"
    )
    with leeroo.connect(pool=tmp_path / "pool.toml", store=tmp_path / "store", max_cost_usd=0.01) as con:
        con.register("t", table.to_arrow())
        con.execute("SET VARIABLE leeroo_learn = true")
        found = con.execute(said).fetchall()
        assert found == [(60, True, pytest.approx(api.account_usd))]
        assert 0 < api.account_usd <= 0.01
        assert {body["model"] for body in api.bodies} == set(three_experts.SKILLS)
        con.execute("SET VARIABLE leeroo_learn = false")
        experts = con.execute("SELECT DISTINCT leeroo(question || ' ').expert FROM t").fetchall()
    assert experts == [("alpha",)]


def test_a_statement_says_what_it_would_try_out(table: pl.DataFrame, tmp_path: Path, api: Any) -> None:
    """With leeroo_learn set, explain says what the first wave would be: the wave that the statement then sends."""
    said = "SELECT leeroo_answer(question) FROM t"
    with leeroo.connect(pool=tmp_path / "pool.toml", store=tmp_path / "store", max_cost_usd=0.01) as con:
        con.register("t", table.to_arrow())
        assert "Learning" not in str(con.explain(said))
        con.execute("SET VARIABLE leeroo_learn = true")
        [(_, estimate)] = con.explain(said).estimates
        assert not api.asked
        assert f"  Learning: {estimate.learning[0]}" in str(con.explain(said))
        con.execute(said).fetchall()
    first = int(estimate.learning[0].split("a first wave of ")[1].split()[0])
    of_wave = Counter(body["messages"][-1]["content"] for body in api.bodies[: 3 * first])
    assert set(of_wave.values()) == {3}
    assert len(of_wave) == first


def test_a_connection_that_learns_needs_a_budget(table: pl.DataFrame, tmp_path: Path, api: Any) -> None:
    """Learning by connect(learn=True) without a budget is one error, and no expert is called."""
    with (
        leeroo.connect(pool=tmp_path / "pool.toml", store=tmp_path / "store", learn=True) as con,
        pytest.raises((UsageError, duckdb.Error), match="learning spends a budget: give max_cost_usd"),
    ):
        con.execute("SELECT leeroo_answer('What is 1 plus 2?')").fetchall()
    assert not api.asked


@pytest.mark.parametrize("option", [{"gold": "truth"}, {"save_router": "router"}])
def test_options_of_learning_need_learn(table: pl.DataFrame, tmp_path: Path, api: Any, option: dict[str, str]) -> None:
    """Gold and save_router are refused without learn=True."""
    options: dict[str, Any] = {"pool": tmp_path / "pool.toml", "store": tmp_path / "store", **option}
    with pytest.raises(UsageError, match="give learn=True"):
        leeroo.answer(table, **options)
    assert not api.asked


def test_rows_that_name_an_expert_keep_it(table: pl.DataFrame, tmp_path: Path, api: Any) -> None:
    """A learning statement sends rows with expert := to that expert alone."""
    with leeroo.connect(pool=tmp_path / "pool.toml", store=tmp_path / "store", learn=True, max_cost_usd=1) as con:
        con.register("t", table.to_arrow())
        named = con.execute("SELECT DISTINCT leeroo(question, expert := 'beta').expert FROM t LIMIT 9").fetchall()
    assert named == [("beta",)]
    assert {body["model"] for body in api.bodies} == {"beta"}
