"""Every command, statement and program of the how-to pages about learning runs as written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

import leeroo
from leeroo.cli.main import app
from leeroo.engine.orchestrator.shipped.catalogue import shipped
from leeroo.engine.schema import ANSWERS
from tests import three_experts
from tests.docs.site import blocks_of, commands_of, run, source

pytestmark = pytest.mark.usefixtures("models_here")


def test_routers_that_ship(place: Path) -> None:
    """The commands run in the order of the page, and its table has the questions and experts of each router."""
    page = source("how-to/use-shipped-routers")
    commands = commands_of(page)
    assert len(commands) == 5
    for command in commands:
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, (command, done.output, done.exception)
    for name, about in shipped().items():
        row = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
        assert f"{about.questions:,}" in row
        assert f"{len(about.experts)}" in row.replace("the two", "2")


def test_learning_while_answering(place: Path, api: Any) -> None:
    """The commands, the statements and the call run on a small table, and leave what the page says."""
    page = source("how-to/learn-while-answering")
    table = three_experts.set_up(place, api, 45)
    answer, explain, sample = commands_of(page)
    run(answer)
    answered = pl.read_csv(place / "answers.csv")
    assert answered.columns == [*table.columns, *ANSWERS.names]
    assert answered["error"].null_count() == 45
    assert all((place / name).exists() for name in ("router", "report.html"))
    foreseen = CliRunner().invoke(app, explain)
    assert foreseen.output.splitlines()[-1].strip().startswith("Learning: a first wave of "), foreseen.output
    shutil.rmtree(place / "router")
    run(sample)
    assert all((place / name).exists() for name in ("router", "router.html"))
    [statements] = blocks_of(page, "sql")
    with leeroo.connect(pool="pool.toml") as con:
        con.sql("CREATE TABLE questions AS FROM 'questions.csv'")
        for statement in statements.split(";\n")[:3]:
            con.sql(statement)
        assert con.execute("SELECT count(answer) FROM answered").fetchall() == [(45,)]
    shutil.rmtree(place / "router")
    [call] = blocks_of(page, "python")
    names: dict[str, Any] = {"leeroo": leeroo, "frame": table}
    exec(call, names)
    assert names["answered"].columns == answered.columns
    assert (place / "router").exists()


def test_training_a_router(place: Path) -> None:
    """The first commands and the program, on outcomes of the embedded pool in one file."""
    page = source("how-to/train-a-router")
    outcomes = pl.read_parquet("data/outcomes.parquet").join(pl.read_parquet("data/queries.parquet"), on="query_id")
    outcomes.filter(split="train").head(120).select("question", pl.col("expert").alias("model"), "score").write_csv(
        "results.csv"
    )
    commands = commands_of(page)
    assert [words[0] for words in commands] == ["outcomes", "train", "run"]
    for words in commands:
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, (words, done.output, done.exception)
    chosen = pl.read_csv("answers.csv")
    assert chosen["predicted_score"].null_count() == chosen["question"].null_count()
    shutil.rmtree("router")
    [program] = blocks_of(page, "python")
    names: dict[str, Any] = {"leeroo": leeroo, "polars": pl, "questions": pl.read_csv("questions.csv")}
    exec(program, names)
    assert names["answers"]["answer"].to_list() == chosen["answer"].to_list()


def test_giving_feedback(place: Path) -> None:
    """Gold and scores go into the store, and routers learn from it, alone and with recorded outcomes."""
    entry = '[[expert]]\nname = "smollm2-reason"\nmodel = "outcomes"\nbackend = "replay"\nusd_per_m_input = 1\n'
    (place / "data").rename(place / "outcomes")
    (place / "replay.toml").write_text(f"{entry}usd_per_m_output = 1\n")
    recorded = pl.read_parquet("outcomes/queries.parquet").head(20)
    recorded.select("question").write_csv("some.csv")
    run(["run", "some.csv", "--pool", "replay.toml", "--out", "answers.parquet"])
    judged = pl.read_parquet("answers.parquet").with_columns(right_answer=recorded["answer"], rating=1.0)
    judged.write_parquet("answers.parquet")
    commands = commands_of(source("how-to/give-feedback"))
    assert [command[0] for command in commands] == ["feedback", "feedback", "train", "train"]
    for command in commands:
        done = CliRunner().invoke(app, [word.replace("DIR", "store") for word in command])
        assert done.exit_code == 0, (command, done.output, done.exception)
        if command[0] == "train":
            assert (place / "router" / "router.json").is_file()
            shutil.rmtree(place / "router")


def test_comparing_experts(place: Path) -> None:
    """A router on the outcomes that ship is measured, and its two experts are compared; Python measures the same."""
    (place / "data").rename(place / "outcomes")
    page = source("how-to/compare-experts")
    commands = commands_of(page)
    assert [command[0] for command in commands] == ["evaluate", "select-experts", "gaps"]
    for command in commands:
        done = CliRunner().invoke(app, [word.replace("6", "2") for word in command])
        assert done.exit_code == 0, (command, done.output, done.exception)
    assert all((place / name).is_file() for name in ("evaluation.html", "gaps.svg"))
    [program] = blocks_of(page, "python")
    names: dict[str, Any] = {"leeroo": leeroo}
    exec(program, names)
    done = CliRunner().invoke(app, ["evaluate", "--router", "router", "--data", "outcomes", "--json", "--quiet"])
    assert names["measured"].data == json.loads(done.stdout)
