"""The command solve, from the command line, and leeroo.solve in Python."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

import leeroo
from tests.command import leeroo as run


@pytest.fixture
def place(tmp_path: Path, pool_file: Path) -> Path:
    """Return a folder with the replayed pool and four questions: two parts, none, simple, and a part that is not known."""
    (tmp_path / "questions.csv").write_text(
        "id,question,secret\n1,What is 1 plus 1? What is 2 plus 2?,true\n2,,false\n3,What is 3 plus 3?,\n"
        "4,What is 4 plus 4? What is my name?,false\n"
    )
    assert pool_file.parent == tmp_path
    return tmp_path


COMMAND = ("solve", "questions.csv", "--pool", "pool.toml", "--store", "store")


def test_questions_are_solved_from_one_command(place: Path) -> None:
    """The table with steps, the summary, and exit code 1 for the row that failed; as JSON, from the store."""
    done = run(*COMMAND, "--out", "solved.parquet", cwd=place)
    assert done.returncode == 1, done.stderr
    assert "4 rows, 2 of them split (0 by an expert's plan); 5 steps in 2 waves" in done.stdout
    assert [line.split() for line in done.stdout.splitlines() if line.startswith(("1 steps", "2 steps"))] == [
        ["1", "steps", "5", "1", "0.006000"],
        ["2", "steps", "1", "1", "0.000000"],
    ]
    assert "1 x step 2: the question is not among those recorded in 'data'" in done.stderr
    assert "written: solved.parquet" in done.stderr
    solved = pl.read_parquet(place / "solved.parquet")
    assert solved.columns == ["id", "question", "secret", "answer", "steps", "cost_usd", "list_cost_usd", "error"]
    assert solved["answer"].to_list() == [
        "1. large says 2\n2. large says 4", None, "large says 6", "1. large says 8\n2. (no answer)",
    ]  # fmt: skip
    assert [None if steps is None else len(steps) for steps in solved["steps"]] == [2, None, 1, 2]
    report = json.loads(run(*COMMAND, "--out", "again.parquet", "--json", cwd=place).stdout)
    assert (report["rows"], report["split"], report["planned"], report["steps"], report["failed"]) == (4, 2, 0, 5, 1)
    assert report["cost_usd"] == 0
    assert report["waves"][0] == {"what": "steps", "asked": 5, "failed": 1, "cost_usd": 0, "experts": {"large": 5}}


@pytest.mark.parametrize("name", ["solved.csv", "SOLVED.CSV"])
def test_steps_in_a_text_file_are_json(place: Path, name: str) -> None:
    """In CSV, which has no lists, whatever case its name has; JSON lines have them."""
    options = ["--private-column", "secret", "--max-steps", "1", "--prefix", "s_", "--limit", "3"]
    assert run(*COMMAND, "--out", name, *options, cwd=place).returncode == 1
    assert run(*COMMAND, "--out", "solved.jsonl", "--limit", "1", cwd=place).returncode == 0
    first = pl.read_csv(place / name).row(0, named=True)
    assert len(json.loads(first["s_steps"])) == 1
    line = json.loads((place / "solved.jsonl").read_text())
    assert [step["answer"] for step in line["steps"]] == ["large says 2", "large says 4"]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--column", "body"], "the input has no column 'body'"),
        (["--planner", "nobody"], "no expert is called 'nobody'; the pool has: large, small"),
        (["--expert", "nobody"], "no expert is called 'nobody'"),
        (["--max-cost-usd-per-row", "-1"], "a row's limit of -1.0 USD is not an amount of money"),
        (["--private-column", "id"], "a column that marks private rows holds true and false"),
        (["--out", "nowhere/solved.parquet"], "nowhere does not exist"),
        (["--out", "solved.txt"], "answers are written as .parquet, .csv, .tsv or .jsonl"),
    ],
)
def test_mistakes_in_solve_are_one_line(place: Path, options: list[str], line: str) -> None:
    """A wrong argument of solve is one line, and no expert is called."""
    done = run(*COMMAND, "--out", "solved.parquet", *options, cwd=place)
    assert done.returncode == 2
    assert line in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (place / "solved.parquet").exists()


def test_a_column_that_is_in_the_way_is_named(place: Path) -> None:
    """The error names the column and says how to mend it."""
    (place / "questions.csv").write_text("question,answer\nWhat is 1 plus 1?,2\n")
    done = run(*COMMAND, "--out", "solved.parquet", cwd=place)
    assert done.returncode == 2
    assert "the input already has the column 'answer': give a prefix" in done.stderr


def test_solutions_for_a_data_frame(place: Path) -> None:
    """The same kind of table comes back."""
    frame = pl.DataFrame({"q": ["What is 1 plus 1? What is 2 plus 2?", None]})
    solved = leeroo.solve(frame, column="q", pool=place / "pool.toml", store=place / "store")
    assert isinstance(solved, pl.DataFrame)
    assert solved["answer"].to_list() == ["1. large says 2\n2. large says 4", None]
