"""Routers that ship: listed, taken by pools whose models they know, and switched off; packing and unpacking."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.shipped.catalogue import folder_of
from tests.command import leeroo as run

LINE = "no router is given: the shipped router 'mmlu-redux' chooses, which knows {} of {} experts"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Provide a folder with questions and three pools, of which nothing is asked."""
    rows = "".join(f"What is the capital of country number {i}?\n" for i in range(30))
    (tmp_path / "t.csv").write_text("question\n" + rows)
    entry = '[[expert]]\nname = "{}"\nmodel = "{}"\nbackend = "openai"\nusd_per_m_input = {}\nusd_per_m_output = {}\n'
    small, large = ("small", "gpt-4o-mini", 0.15, 0.6), ("large", "openai/gpt-4o-2024-08-06", 2.5, 10)
    other = ("other", "house-model-3", 1, 1)
    for name, experts in (("two", [small, large]), ("three", [small, large, other]), ("one", [small, other])):
        url = 'base_url = "http://127.0.0.1:9/v1"\n'
        (tmp_path / f"{name}.toml").write_text("".join(entry.format(*expert) + url for expert in experts))
    return tmp_path


def _route(place: Path, pool: str, *options: str) -> tuple[list[str], str]:
    """Return the experts chosen, and what was printed for people."""
    done = run(*("route", "t.csv", "--out", "r.parquet", "--pool", f"{pool}.toml", "--store", "s", *options), cwd=place)
    assert done.returncode == 0, done.stderr
    return pq.read_table(place / "r.parquet").column("expert").to_pylist(), done.stderr


def test_a_pool_of_known_models_is_chosen_by_a_shipped_router(place: Path) -> None:
    """Without a router, known models are chosen by what the shipped one expects of them, and one line says so."""
    chosen, said = _route(place, "two")
    assert said.count(LINE.format(2, 2)) == 1
    assert "large" in chosen
    chosen, _ = _route(place, "two", "--max-cost-usd", "0.02")
    assert set(chosen) == {"small", "large"}


def test_unknown_experts_beside_known_ones_do_not_fail(place: Path) -> None:
    """An expert that the shipped router does not know may be chosen, and the line counts those that it knows."""
    chosen, said = _route(place, "three", "--cost-weight", "50")
    assert len(chosen) == 30
    assert LINE.format(2, 3) in said
    assert "has not learned" not in said


def test_fewer_than_two_known_models_change_nothing(place: Path) -> None:
    """Rows go to the pool's default, and nothing is said."""
    chosen, said = _route(place, "one")
    assert set(chosen) == {"small"}
    assert "shipped router" not in said


def test_the_router_none_leaves_all_to_the_default(place: Path) -> None:
    """`--router none` is what a pool without known models gets; the embedded pool too."""
    chosen, said = _route(place, "three", "--router", "none")
    assert set(chosen) == {"small"}
    assert "shipped router" not in said
    done = run("route", "t.csv", "--out", "e.parquet", "--router", "none", "--store", "s", cwd=place)
    assert done.returncode == 0, done.stderr
    assert set(pq.read_table(place / "e.parquet").column("expert").to_pylist()) == {"smollm2-direct"}


def test_routers_that_ship_are_listed(place: Path) -> None:
    """People get a table and a card, programs get JSON; with a pool, its models that each router knows."""
    said = run("routers").stdout
    for name in ("embedded", "mmlu-redux", "helm-mmlu", "mmlu-pro"):
        assert name in said
    listed = {r["router"]: r for r in json.loads(run("routers", "--json", cwd=place).stdout)["routers"]}
    assert listed["mmlu-redux"]["questions"] == 1909
    assert listed["mmlu-redux"]["known"] is None
    counted = json.loads(run("routers", "--json", "--pool", "three.toml", cwd=place).stdout)["routers"]
    assert {r["router"]: len(r["known"]) for r in counted} == {
        "embedded": 0, "helm-mmlu": 0, "mmlu-pro": 0, "mmlu-redux": 2
    }  # fmt: skip
    assert run("routers", "mmlu-redux").stdout.startswith("# Router mmlu-redux")
    rows = [line.split() for line in run("routers", "--pool", "three.toml", cwd=place).stdout.splitlines()]
    assert ["mmlu-redux", "1,909", "50", "2"] in [[*row[:3], row[-1]] for row in rows]
    assert ["helm-mmlu", "9,602", "11", "0"] in [[*row[:3], row[-1]] for row in rows]
    wrong = run("routers", "mmlu-reduce")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "no router 'mmlu-reduce' ships: there are embedded, " in wrong.stderr


def test_a_router_is_packed_and_unpacked(tmp_path: Path) -> None:
    """A shipped router goes into one file and comes out elsewhere with its card; wrong files are one line."""
    done = run("router", "export", folder_of("mmlu-redux"), "redux.zip", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = run("router", "import", "redux.zip", "--out", "mine", cwd=tmp_path)
    assert "router for 50 experts: mine" in done.stderr
    assert Router.load(tmp_path / "mine").fingerprint == Router.load(folder_of("mmlu-redux")).fingerprint
    assert (tmp_path / "mine" / "CARD.md").is_file()
    (tmp_path / "no.zip").write_text("hello")
    wrong = (
        ("import", "no.zip", "--out", "other"),
        ("import", "absent.zip", "--out", "other"),
        ("export", "mine", "redux.tar"),
        ("export", "absent", "other.zip"),
    )
    for command in wrong:
        done = run("router", *command, cwd=tmp_path)
        assert done.returncode == 2, command
        assert done.stderr.startswith("leeroo: ")
        assert done.stderr.count("\n") == 1
    assert {each.name for each in tmp_path.iterdir()} == {"redux.zip", "mine", "no.zip"}
