"""Every command, statement and program of the how-to pages about answers runs as written."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from typer.testing import CliRunner

import leeroo
from leeroo.cli.main import app
from leeroo.engine.schema import ANSWERS, LABELLED, SOLVED, STEP
from tests.docs.site import TICKETS, blocks_of, commands_of, run, source

pytestmark = pytest.mark.usefixtures("models_here")


def test_answering_a_table(place: Path) -> None:
    """The commands, the statement and the call; `explain` of the table of options too."""
    page = source("how-to/answer-a-table")
    answer, summarise, reasons = commands_of(page)
    for command, out in ((answer, "answers.csv"), (summarise, "summaries.csv")):
        run(command)
        assert pl.read_csv(out)["answer"].is_null().to_list() == [text is None for text in TICKETS]
    done = CliRunner().invoke(app, reasons)
    assert done.exit_code == 0, done.output
    [explain] = re.findall(r"`leeroo (explain .*?)`", page)
    assert CliRunner().invoke(app, shlex.split(explain)).exit_code == 0
    [statement] = blocks_of(page, "sql")
    with leeroo.connect() as con:
        con.sql(statement)
        assert con.execute("SELECT count(answer) FROM answered").fetchall() == [(3,)]
    [call] = blocks_of(page, "python")
    names: dict[str, Any] = {"leeroo": leeroo, "frame": pl.read_csv(place / "tickets.csv")}
    exec(call, names)
    assert names["answers"].columns[2:] == ANSWERS.names


def test_writing_prompts(place: Path) -> None:
    """The same prompt over two columns, in all three ways."""
    page = source("how-to/write-prompts")
    reviews = pl.DataFrame({"product": ["phone", "kettle"], "review": ["Superb camera.", "It broke after one day."]})
    reviews.write_csv("reviews.csv")
    [command] = commands_of(page)
    run(command)
    [statement] = blocks_of(page, "sql")
    [call] = blocks_of(page, "python")
    names: dict[str, Any] = {"leeroo": leeroo, "frame": reviews}
    exec(call, names)
    with leeroo.connect(store=place / "store") as con:
        con.register("reviews", reviews)
        rows = con.sql(statement)
        assert rows is not None
        answers = [answer for (answer,) in rows.fetchall()]
    assert answers == names["answers"]["answer"].to_list() == pl.read_csv("answers.csv")["answer"].to_list()
    assert names["answers"]["cost_usd"].sum() == 0  # from the store: it is the same prompt


def test_looking_at_arun(place: Path) -> None:
    """The command and the program make a page of answers, with right answers beside them."""
    page = source("how-to/look-at-a-run")
    frame = pl.DataFrame({"question": ["What is the capital of France?", None], "right_answer": ["Paris", None]})
    [program] = blocks_of(page, "python")
    names: dict[str, Any] = {"leeroo": leeroo, "frame": frame}
    exec(program, names)
    saved = (place / "answers.html").read_text()
    assert "capital of France" in saved
    names["answers"].write_parquet("answers.parquet")
    (place / "answers.html").unlink()
    [command] = commands_of(page)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "capital of France" in (place / "answers.html").read_text()


def test_labelling_a_table(place: Path) -> None:
    """The commands, with the file of labels that is shown; then the statement; then the call."""
    page = source("how-to/label-a-table")
    [labels] = blocks_of(page, "toml")
    (place / "labels.toml").write_text(labels)
    *commands, check = commands_of(page)
    assert [command[0] for command in commands] == ["label"] * 3
    for command in commands:
        run(command)
    sample = pl.read_csv(place / "labelled-check.csv")
    sample.with_columns(correct_label=pl.col("label")).write_csv(place / "labelled-check.csv")
    checked = CliRunner().invoke(app, check)
    assert checked.exit_code == 0, checked.output
    assert "100" in checked.output
    labelled = pl.read_csv(place / "labelled.csv")
    assert labelled.columns[2:] == LABELLED.names
    assert set(labelled["label"]) <= {"billing", "bug", "other", None}
    assert labelled["label"].is_null().to_list() == [text is None for text in TICKETS]
    assert set(pl.read_parquet(place / "labelled.parquet")["label"]) <= {"good", "bad", None}
    assert len(pl.read_csv(place / "labelled-check.csv")) == len(TICKETS)
    assert "confusion" in (place / "report.html").read_text().casefold()
    [statement] = blocks_of(page, "sql")
    with leeroo.connect() as con:
        con.sql("CREATE TABLE tickets AS FROM 'tickets.csv'")
        con.sql(statement)
        assert {row[0] for row in con.execute("SELECT label FROM labelled").fetchall()} <= {
            "billing",
            "bug",
            "other",
            None,
        }
    [call] = blocks_of(page, "python")
    names: dict[str, Any] = {"leeroo": leeroo, "frame": pl.read_csv(place / "tickets.csv")}
    exec(call, names)
    assert isinstance(names["labelled"], pl.DataFrame)
    assert len(names["labelled"]) == len(TICKETS)


def test_extracting_fields(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The statements, the programs and the commands make columns of a text, in the types that they name."""
    page = source("how-to/extract-fields")
    make, read, extract, decide = blocks_of(page, "sql")
    texts = pl.DataFrame({"text": ["John Smith is 42 years old and lives in Boston."]})
    with leeroo.connect(store=place / "store") as con:
        con.register("texts", texts)
        con.sql(make)
        rows = con.sql(read)
        assert rows is not None
        assert (rows.columns, [str(kind) for kind in rows.types]) == (["name", "age"], ["VARCHAR", "INTEGER"])
        assert len(rows.fetchall()) == 1
        con.sql(extract)
        rows = con.sql(decide)
        assert rows is not None
        assert [str(kind) for kind in rows.types] == ["VARCHAR", "INTEGER", "DOUBLE"]
    model, *programs = blocks_of(page, "python")
    (place / "person.py").write_text(model)
    monkeypatch.syspath_prepend(place)
    names: dict[str, Any] = {"leeroo": leeroo, "polars": pl, "frame": texts}
    for program in programs:
        exec(program, names)
    assert names["people"].schema["age"] == pl.Int64
    assert names["described"].schema["answer"] == pl.Struct({"name": pl.String, "age": pl.Int64})
    assert names["decided"].schema["stars"] == pl.Int32
    texts.write_csv("texts.csv")
    for command in commands_of(page):
        run(command)
    assert pl.read_parquet("people.parquet").columns[1:4] == ["name", "age", "kind"]
    assert pl.read_csv("people.csv").columns[1:3] == ["name", "age"]
    assert pl.read_parquet("decided.parquet").schema["stars"] == pl.Int32


def test_solving_a_table_works_as_described(place: Path) -> None:
    """The commands, the statement and the call run as shown."""
    page = source("how-to/solve-questions-in-parts")
    commands = commands_of(page)
    assert len(commands) == 3
    for command in commands:
        run(command)
    solved = pl.read_parquet(place / "solved.parquet")
    assert solved.columns[1:] == SOLVED.names
    assert [None if steps is None else len(steps) for steps in solved["steps"]] == [2, None, 1]
    assert all(f"`{field.name}`" in page for field in STEP)
    [statement] = blocks_of(page, "sql")
    with leeroo.connect() as con:
        con.sql("CREATE TABLE questions AS FROM 'questions.csv'")
        con.sql(statement)
        assert con.execute("SELECT len(solution.steps) FROM solved").fetchall() == [(2,), (None,), (1,)]
    [call] = blocks_of(page, "python")
    names: dict[str, Any] = {"leeroo": leeroo, "frame": pl.read_csv(place / "questions.csv")}
    exec(call, names)
    assert names["solved"].columns[1:] == SOLVED.names


def test_polars_expressions_and_asyncio(place: Path) -> None:
    """The programs add the columns that the page names."""
    page = source("how-to/use-dbt-and-notebooks")
    names: dict[str, Any] = {"leeroo": leeroo, "frame": pl.DataFrame({"text": TICKETS[:1]})}
    for program in blocks_of(page[page.index("## Polars expressions") :], "python"):
        exec(program, names)
    assert names["answered"].columns == ["id", "text", "answer"]
    assert set(names["labelled"]["label"]) <= {"billing", "bug", "other", None}
    assert names["answers"].columns == ["id", "text", *ANSWERS.names]


def test_running_mmlu_works_as_described(place: Path) -> None:
    """Commands, statements and the program run with the questions of a folder instead of the hub's."""
    page = source("how-to/run-mmlu")
    commands = commands_of(page)
    assert len(commands) == 3
    for command in commands:
        run([*command, "--data", "mmlu"])
    assert (place / "report.html").is_file()
    statements = blocks_of(page, "sql")
    assert len(statements) == 2
    with leeroo.connect() as con:
        shown = [con.sql(statement) for statement in statements]
        assert shown[0] is not None
        assert sum(row[2] for row in shown[0].fetchall()) == 4  # of the first command
        assert shown[1] is not None
        assert [row[0] for row in sorted(shown[1].fetchall())] == ["astronomy", "virology"]
    [program] = blocks_of(page, "python")
    names: dict[str, Any] = {}
    exec(program, names)
    assert list(names["results"].subjects) == ["astronomy"]
