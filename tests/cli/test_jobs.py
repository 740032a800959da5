"""The commands mmlu and label, from the command line, and leeroo.label in Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

import leeroo
from tests.command import leeroo as run


@pytest.fixture
def recorded(tmp_path: Path, shared_data: Path) -> Path:
    """Return a folder with a pool of recorded outcomes of three experts on MMLU."""
    entry = '[[expert]]\nname = "{}"\nmodel = "{}"\nbackend = "replay"\nusd_per_m_input = {}\nusd_per_m_output = {}\n'
    data = (shared_data / "mmlu9").resolve()
    names = (("llama-3-8b", 0.2, 0.2), ("mixtral-8x7b-instruct", 0.6, 0.6), ("gpt-4-1106-preview", 10, 30))
    (tmp_path / "pool.toml").write_text("".join(entry.format(name, data, *prices) for name, *prices in names))
    return tmp_path


def test_recorded_mmlu_from_one_command(recorded: Path, shared_data: Path) -> None:
    """The tables, the page, the answers as Parquet; and the same as JSON, from the store."""
    command = ["mmlu", "--data", str(shared_data.resolve() / "mmlu9"), "--pool", "pool.toml", "--store", "store"]
    command += ["--router", "none"]
    done = run(*command, "--out", "answers.parquet", "--report", "report.html", cwd=recorded)
    assert done.returncode == 0, done.stderr
    assert "64.3 % of 2,157 questions right" in done.stdout
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["gpt-4-1106-preview", "1.104678", "80.7", "1.7", "89.1", "83.1", "83.6", "65.1"] in rows
    assert "written: report.html" in done.stderr
    assert "abstract algebra" in (recorded / "report.html").read_text()
    scored = duckdb.execute(f"SELECT count(*), round(avg(score), 4) FROM '{recorded / 'answers.parquet'}'").fetchall()
    assert scored == [(2157, 0.643)]
    report = json.loads(run(*command, "--json", cwd=recorded).stdout)
    assert report["n"] == 2157
    assert round(report["comparison"]["experts"][0]["accuracy"]["value"], 4) == 0.8071
    assert report["cost_usd"] == 0  # all of it is in the store
    assert report["list_cost_usd"] > 0


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--data", "nowhere"], "nowhere has no questions"),
        (["--subjects", "alchemy"], "there is no subject 'alchemy'"),
        (["--subjects", "astronomy,,"], "--subjects takes names with commas between"),
        (["--report", "page.pdf"], "give it a name that ends in .html"),
        (["--out", "nowhere/answers.parquet"], "nowhere"),
        (["--expert", "nobody"], "no expert is called 'nobody'"),
    ],
)
def test_mistakes_in_mmlu_are_one_line(recorded: Path, shared_data: Path, options: list[str], line: str) -> None:
    """A wrong argument of mmlu is one line, and no expert is called."""
    data = [] if "--data" in options else ["--data", str(shared_data.resolve() / "mmlu9")]
    done = run("mmlu", *data, "--pool", "pool.toml", "--store", "store", *options, cwd=recorded)
    assert done.returncode == 2
    assert line in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stdout == ""


@pytest.fixture
def tickets(tmp_path: Path, api: Any) -> Path:
    """Return a folder with tickets, one of them blank, and a pool of two experts of a real API."""

    def says(model: str, prompt: str) -> dict[str, float]:
        text = prompt.rsplit("Text: ", 1)[1]
        right = "billing" if "invoice" in text else "bug"
        wrong = "bug" if right == "billing" else "billing"
        p = 0.99 if model == "large" or "crash" in text else 0.6
        return {right: p, wrong: 1 - p}

    api.says = says
    entry = """[[expert]]
name = "{0}"
model = "{0}"
backend = "openai"
base_url = "{1}"
usd_per_m_input = {2}
usd_per_m_output = {2}
"""
    (tmp_path / "pool.toml").write_text(entry.format("small", api.url, 1) + entry.format("large", api.url, 10))
    (tmp_path / "tickets.csv").write_text(
        "id,text,team\n1,The app has a crash,bug\n2,My invoice is wrong,billing\n3,,bug\n4,Another crash,billing\n"
    )
    return tmp_path


def test_tickets_are_labelled_from_one_command(tickets: Path) -> None:
    """One command writes the table, the rows to check, the page, and agreement with the gold column."""
    command = ["label", "tickets.csv", "--labels", "bug,billing", "--pool", "pool.toml", "--store", "store"]
    done = run(
        *command, "--out", "labelled.csv", "--gold", "team", "--check", "2", "--report", "page.html", cwd=tickets
    )
    assert done.returncode == 0, done.stderr
    labelled = pl.read_csv(tickets / "labelled.csv")
    assert labelled["label"].to_list() == ["bug", "billing", None, "bug"]
    assert labelled["expert"].to_list() == ["small", "large", None, "small"]
    assert labelled.columns == [
        "id", "text", "team", "label", "confidence", "expert", "cost_usd", "list_cost_usd", "error",
    ]  # fmt: skip
    assert len(pl.read_csv(tickets / "labelled-check.csv")) == 2
    rows = [line.split() for line in done.stdout.splitlines()]
    assert ["labels", "50.0", "15.0", "to", "85.0", "58.3"] in rows
    page = (tickets / "page.html").read_text()
    assert page.count("<svg") == 2
    assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")
    report = json.loads(run(*command, "--out", "again.csv", "--gold", "team", "--json", cwd=tickets).stdout)
    assert report["agreement"]["accuracy"]["value"] == 0.5
    assert report["cost_usd"] == 0  # all of it is in the store


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--labels", "bug"], "labels are chosen from at least 2, not from 1"),
        (["--labels", "bug,billing", "--column", "body"], "the input has no column 'body'"),
        (["--labels", "bug,billing", "--gold", "truth"], "the input has no column 'truth'"),
        (["--labels", "bug,billing", "--gold", "team", "--several"], "--gold is for one label a row"),
        (["--labels", "missing.toml"], "cannot read the labels in missing.toml"),
    ],
)
def test_mistakes_in_label_are_one_line(tickets: Path, api: Any, options: list[str], line: str) -> None:
    """A wrong argument of label is one line, and no expert is called."""
    done = run(
        "label", "tickets.csv", "--pool", "pool.toml", "--store", "store", "--out", "o.csv", *options, cwd=tickets
    )
    assert done.returncode == 2
    assert line in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not api.asked


def test_labels_for_a_data_frame(tickets: Path) -> None:
    """The same kind of table comes back."""
    frame = pl.DataFrame({"text": ["a crash", "an invoice"], "n": [1, 2]})
    labelled = leeroo.label(frame, ["bug", "billing"], pool=tickets / "pool.toml", store=tickets / "store")
    assert isinstance(labelled, pl.DataFrame)
    assert labelled["label"].to_list() == ["bug", "billing"]
    assert labelled["n"].to_list() == [1, 2]


def test_mmlu_without_answers_says_why(tmp_path: Path, api: Any) -> None:
    """The command prints how many failed and the commonest reason, writes the page, and exits with 1."""
    api.does = {"": "content_filter"}
    rows = [{"subject": "own", "question": f"Number {i}?", "choices": ["x", "y"], "answer": "A"} for i in range(3)]
    for split in ("test", "dev"):
        pl.DataFrame(rows).write_parquet(tmp_path / f"{split}.parquet")
    entry = '[[expert]]\nname = "m"\nmodel = "m"\nbackend = "openai"\nbase_url = "{}"\nusd_per_m_input = 1\nusd_per_m_output = 1\n'
    (tmp_path / "pool.toml").write_text(entry.format(api.url))
    command = ["mmlu", "--data", ".", "--shots", "0", "--pool", "pool.toml", "--store", "store", "--report", "r.html"]
    done = run(*command, cwd=tmp_path)
    assert done.returncode == 1
    assert "3 of 3 rows failed:" in done.stderr
    assert "3 x " in done.stderr
    assert "Traceback" not in done.stderr
    assert "<svg" in (tmp_path / "r.html").read_text()
