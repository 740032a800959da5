"""Commands for programs: `--json` prints one object on standard output, and variables of the environment are defaults."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import leeroo as python
from tests.command import leeroo

TABLE = "question\nWhat is 1 plus 1?\nWhat is 1 plus 1?\nWhat is 2 plus 2?\n"


@pytest.fixture
def place(pool_file: Path, tmp_path: Path) -> Path:
    """Return a folder with a table, beside the pool."""
    (tmp_path / "t.csv").write_text(TABLE)
    return tmp_path


def _object(*command: str | Path, cwd: Path, code: int = 0) -> dict[str, Any]:
    done = leeroo(*command, "--json", cwd=cwd)
    assert done.returncode == code, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_run(place: Path) -> None:
    """Rows, spend and experts of a run, and where its table is."""
    given = ("run", "t.csv", "--out", "o.parquet", "--pool", "pool.toml", "--store", "s")
    first, again = _object(*given, cwd=place), _object(*given, cwd=place)
    assert (first["rows"], first["duplicates"], first["failed"], first["out"]) == (3, 1, 0, "o.parquet")
    assert first["cost_usd"] == pytest.approx(first["experts"]["large"]["cost_usd"])
    assert first["cost_usd"] > 0
    assert (again["cost_usd"], again["from_store"]) == (0, 3)


def test_route(place: Path) -> None:
    """How many rows each expert gets, and their expected cost; people see a table."""
    given = ("route", "t.csv", "--out", "o.parquet", "--pool", "pool.toml", "--store", "s")
    found = _object(*given, cwd=place)
    assert (found["rows"], found["experts"]["large"]["rows"]) == (3, 3)
    assert found["experts"]["large"]["expected_cost_usd"] > 0
    assert "large      3" in leeroo(*given, cwd=place).stderr


def test_sql(place: Path) -> None:
    """Rows as they would stand in a file of JSON; what was written; what has no answer."""
    more = ("--pool", "pool.toml", "--store", "s")
    statement = "SELECT question AS q, [1, NULL] AS l, leeroo_answer(question) AS a FROM 't.csv' ORDER BY q"
    rows = _object("sql", statement, *more, cwd=place)["rows"]
    assert rows[0] == {"q": "What is 1 plus 1?", "l": [1, None], "a": "large says 2"}
    assert _object("sql", "CREATE TABLE t (i INTEGER)", *more, cwd=place) == {"rows": [], "unanswered": []}
    written = _object("sql", statement, "--out", "o.csv", *more, cwd=place)
    assert written == {"written": 3, "out": "o.csv", "unanswered": []}
    failed = _object("sql", "SELECT leeroo_answer('unknown') AS a", *more, cwd=place, code=1)
    assert failed["rows"] == [{"a": None}]
    assert len(failed["unanswered"]) == 1


def test_train(real_place: Path, tmp_path: Path) -> None:
    """The router's folder, and how well it predicts."""
    found = _object("train", "--data", real_place / "data", "--out", "router", cwd=tmp_path)
    assert found["router"] == "router"
    assert len(found["experts"]) == 9
    assert 0 < found["log_loss"] < 1


def test_keys(place: Path) -> None:
    """A key is made, listed and revoked by programs."""
    made = _object("keys", "create", "reports", "--store", "s", cwd=place)
    gone = _object("keys", "revoke", "reports", "--store", "s", cwd=place)["revoked"]
    assert (gone["id"], gone["name"]) == (made["id"], "reports")
    assert gone["revoked"] is not None


@pytest.mark.parametrize("command", [("run", "t.csv"), ("route", "t.csv"), ("sql", "SELECT 1")])
def test_one_of_both_goes_to_standard_output(command: tuple[str, ...], place: Path) -> None:
    """A table and an object cannot share it."""
    done = leeroo(*command, "--out", "-", "--json", cwd=place)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--json and --out - both print" in done.stderr


def test_a_pool_and_a_router_of_the_environment_are_defaults(
    place: Path, api_entry: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands and Python take them where nothing is named, and an option goes before them."""
    monkeypatch.setenv("LEEROO_POOL", str(place / "pool.toml"))
    monkeypatch.setenv("LEEROO_STORE", str(place / "s"))
    assert [e["expert"] for e in _object("experts", cwd=place)["experts"]] == ["large", "small"]
    assert set(_object("run", "t.csv", "--out", "o.parquet", cwd=place)["experts"]) == {"large"}
    answers: pl.DataFrame = python.answer(pl.DataFrame({"question": ["What is 2 plus 2?"]}))
    assert answers["expert"].to_list() == ["large"]
    with python.connect() as con:
        assert con.execute("SELECT leeroo_answer('What is 2 plus 2?')").fetchall() == [("large says 4",)]
    (place / "other.toml").write_text(api_entry("far", 1, 5))
    assert [e["expert"] for e in _object("experts", "--pool", "other.toml", cwd=place)["experts"]] == ["far"]
    monkeypatch.setenv("LEEROO_ROUTER", "nowhere")
    done = leeroo("run", "t.csv", "--out", "o.parquet", cwd=place)
    assert done.returncode == 2
    assert "nowhere" in done.stderr
    assert leeroo("run", "t.csv", "--out", "o.parquet", "--router", "none", cwd=place).returncode == 0
