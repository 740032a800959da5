"""The commands select-experts and gaps, from the command line."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.command import leeroo


def _json(*arguments: str | Path) -> dict[str, Any]:
    done = leeroo(*arguments, "--json")
    assert done.returncode == 0, done.stderr

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    found: dict[str, Any] = json.loads(done.stdout, parse_constant=refuse)
    return found


def test_a_pool_is_shown_to_people(data_folder: Path, tmp_path: Path) -> None:
    """A table of what each expert adds, all of them for comparison, and the picture where it is wanted."""
    picture = tmp_path / "pool.svg"
    done = leeroo("select-experts", "--data", data_folder, "-k", "1", "--split", "test", "--plot", picture)
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["1", "large", "+100.0", "100.0", "1.500000", "100.0", "-"] in rows
    assert "40 questions; the best single expert, large, is right on 100.0 % for $1.50 per 1,000" in done.stdout
    assert "note: no accuracy by subject" in done.stdout
    svg = picture.read_text()
    assert svg.startswith("<svg")
    assert "large" in svg
    assert "oracle" in svg


def test_a_pool_is_shown_to_programs(data_folder: Path) -> None:
    """One JSON object has the experts in the chosen order, the curve, the best single expert and all of them."""
    found = _json("select-experts", "--data", data_folder, "--split", "test", "--cost-weight", "1000")
    # A dollar weighs 1,000 points: small has 0.5 - 0.15, large 1 - 1.5.
    assert found["experts"] == ["small", "large"]
    assert (found["n"], found["k"], found["cost_weight"]) == (40, 2, 1000)
    assert [step["oracle_accuracy"] for step in found["curve"]] == [0.5, 0.5]
    assert found["curve"][0]["cost_usd_per_1k"] == pytest.approx(0.15)
    assert found["best_single"] == {"expert": "large", "accuracy": 1, "cost_usd_per_1k": pytest.approx(1.5)}
    assert found["judged_on"] == {"large": 40, "small": 40}
    assert found["all"]["k"] == 2


def test_gaps_are_shown_to_people(data_folder: Path, tmp_path: Path) -> None:
    """Topics are listed by kind, with their best expert and the most expensive one's lead, and drawn."""
    picture = tmp_path / "gaps.svg"
    done = leeroo("gaps", "--data", data_folder, "--split", "test", "--good", "0.8", "--plot", picture)
    assert done.returncode == 0, done.stderr
    nobody, only_the_most_expensive = done.stdout.split("Only the most expensive expert is good: large reaches 80.0 %")
    assert "no such topic" in nobody
    assert "large" in only_the_most_expensive
    assert "+50.0" in only_the_most_expensive
    assert "40 questions, 1 topics" in done.stdout
    assert "encoding 40 questions" in done.stderr
    svg = picture.read_text()
    assert svg.startswith("<svg")
    assert "large, the most expensive" in svg


def test_gaps_are_shown_to_programs(data_folder: Path) -> None:
    """One JSON object has every topic, and nothing else is on standard output."""
    found = _json("gaps", "--data", data_folder, "--split", "test", "--good", "0.8")
    assert (found["n"], found["good"], found["most_expensive"]) == (40, 0.8, "large")
    [topic] = found["topics"]
    assert topic["kind"] == "only the most expensive"
    assert topic["best"] == {
        "expert": "large",
        "n": 40,
        "accuracy": 1,
        "low": pytest.approx(0.912, abs=1e-3),
        "high": 1,
    }
    assert topic["best_other"]["expert"] == "small"
    assert topic["lead"]["value"] == 0.5
    assert topic["routed_accuracy"] is None


@pytest.fixture
def one_expert(data_folder: Path) -> Path:
    """Return the data folder with the outcomes of a single expert."""
    file = data_folder / "outcomes.parquet"
    table = duckdb.connect().sql(f"FROM '{file}' WHERE expert = 'small'").to_arrow_table()
    file.unlink()
    duckdb.from_arrow(table).write_parquet(str(file))
    return data_folder


def _refused(done: subprocess.CompletedProcess[str], says: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("leeroo: ")
    assert says in last
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["-k", "3"], "k is 3, but must be from 1 to 2, the number of experts in "),
        (["-k", "0"], "k is 0, but must be from 1 to 2"),
        (["--cost-weight", "-1"], "--cost-weight must be a number of at least 0, but it is -1"),
        (["--split", "train"], "0 questions with outcomes in the split 'train'; at least 10 are needed"),
        (["--data", "nowhere"], "there is no data folder nowhere"),
        (["--plot", "pool.png"], "pool.png would be written as SVG: give it a name that ends in .svg"),
    ],
)
def test_a_pool_that_cannot_be_is_one_line(data_folder: Path, options: list[str], says: str) -> None:
    """An impossible choice is one line that says why, with exit code 2."""
    split = [] if "--split" in options else ["--split", "test"]
    _refused(leeroo("select-experts", "--data", data_folder, *split, *options), says)


def test_a_choice_of_one_is_one_line(one_expert: Path) -> None:
    """With one expert there is nothing to choose."""
    done = leeroo("select-experts", "--data", one_expert, "--split", "test")
    _refused(done, f"there is nothing to choose: {one_expert} has outcomes of one expert only, 'small'")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--clusters", "3"], "clusters is 3, but must be from 1 to 2, as there are 40 questions and a cluster has"),
        (["--good", "2"], "good must be an accuracy above 0 and up to 1, but it is 2"),
        (["--split", "train"], "0 questions with outcomes in the split 'train'; at least 10 are needed"),
        (["--data", "nowhere"], "there is no data folder nowhere"),
        (["--router", "nowhere"], "there is no router at nowhere"),
        (["--plot", "nowhere/gaps.svg"], "does not exist: make it first"),
    ],
)
def test_gaps_that_cannot_be_found_are_one_line(data_folder: Path, options: list[str], says: str) -> None:
    """An impossible question is one line that says why, with exit code 2."""
    split = [] if "--split" in options else ["--split", "test"]
    _refused(leeroo("gaps", "--data", data_folder, *split, *options), says)
