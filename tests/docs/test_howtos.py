"""Every command, statement and program of the how-to pages below runs as written."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import leeroo
from leeroo.cli.main import app
from leeroo.engine.orchestrator.shipped.catalogue import shipped
from leeroo.engine.pool import DEFAULT_POOL
from leeroo.engine.schema import ANSWERS, LABELLED, SOLVED, STEP
from tests import three_experts

pytestmark = pytest.mark.usefixtures("models_here")

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "how-to"
TICKETS = [
    "I was charged twice for May.",
    "The page stays white after I log in.",
    None,
    "Where is your office?",
]


def _commands(page: str) -> list[list[str]]:
    return [shlex.split(line)[1:] for line in re.findall(r"^    (leeroo .*)$", page, flags=re.MULTILINE)]


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide a folder with what the pages mention, where the examples run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEEROO_STORE", str(tmp_path / "store"))
    for folder in (ROOT / "examples" / "local", DEFAULT_POOL.parent):
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "mmlu").mkdir()
    for split, n in (("test", 2), ("dev", 5)):
        rows = [
            {
                "subject": subject,
                "question": f"{subject} {split} {i}: which number is the greatest?",
                "choices": ["1", "2", "3", str(4 + i)],
                "answer": "D",
            }
            for subject in ("astronomy", "virology")
            for i in range(n)
        ]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mmlu" / f"{split}.parquet")
    questions = ["What is 2 plus 2? Double the result.", None, "What is the capital of France?"]
    pl.DataFrame({"question": questions}).write_csv(tmp_path / "questions.csv")
    tickets = pl.DataFrame({"id": range(len(TICKETS)), "text": TICKETS})
    tickets.write_csv(tmp_path / "tickets.csv")
    tickets.with_columns(stars=pl.Series(["bad", "bad", "bad", "good"])).write_parquet(tmp_path / "reviews.parquet")
    return tmp_path


def _run(command: list[str]) -> None:
    done = CliRunner().invoke(app, [*command, "--no-progress"])
    assert done.exit_code == 0, (command, done.output, done.exception)


def test_running_mmlu_works_as_described(place: Path) -> None:
    """Commands, statements and the program run with the questions of a folder instead of the hub's."""
    page = (PAGES / "run-mmlu.md").read_text("utf-8")
    commands = _commands(page)
    assert len(commands) == 3
    for command in commands:
        _run([*command, "--data", "mmlu"])
    assert (place / "report.html").is_file()
    statements = _blocks(page, "sql")
    assert len(statements) == 2
    with leeroo.connect() as con:
        shown = [con.sql(statement) for statement in statements]
        assert shown[0] is not None
        assert sum(row[2] for row in shown[0].fetchall()) == 4  # of the first command
        assert shown[1] is not None
        assert [row[0] for row in sorted(shown[1].fetchall())] == ["astronomy", "virology"]
    [program] = _blocks(page, "python")
    names: dict[str, Any] = {}
    exec(program, names)
    assert list(names["results"].subjects) == ["astronomy"]


def test_labelling_a_table(place: Path) -> None:
    """The commands, with the file of labels that is shown; then the statement; then the call."""
    page = (PAGES / "label-a-table.md").read_text("utf-8")
    [labels] = _blocks(page, "toml")
    (place / "labels.toml").write_text(labels)
    *commands, check = _commands(page)
    assert [command[0] for command in commands] == ["label"] * 3
    for command in commands:
        _run(command)
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
    [statement] = _blocks(page, "sql")
    with leeroo.connect() as con:
        con.sql("CREATE TABLE tickets AS FROM 'tickets.csv'")
        con.sql(statement)
        assert {row[0] for row in con.execute("SELECT label FROM labelled").fetchall()} <= {
            "billing",
            "bug",
            "other",
            None,
        }
    [call] = _blocks(page, "python")
    names: dict[str, Any] = {"leeroo": leeroo, "frame": pl.read_csv(place / "tickets.csv")}
    exec(call, names)
    assert isinstance(names["labelled"], pl.DataFrame)
    assert len(names["labelled"]) == len(TICKETS)


def test_solving_a_table_works_as_described(place: Path) -> None:
    """The commands, the statement and the call run as shown."""
    page = (PAGES / "solve-questions-in-parts.md").read_text("utf-8")
    commands = _commands(page)
    assert len(commands) == 3
    for command in commands:
        _run(command)
    solved = pl.read_parquet(place / "solved.parquet")
    assert solved.columns[1:] == SOLVED.names
    assert [None if steps is None else len(steps) for steps in solved["steps"]] == [2, None, 1]
    assert all(f"`{field.name}`" in page for field in STEP)
    [statement] = _blocks(page, "sql")
    with leeroo.connect() as con:
        con.sql("CREATE TABLE questions AS FROM 'questions.csv'")
        con.sql(statement)
        assert con.execute("SELECT len(solution.steps) FROM solved").fetchall() == [(2,), (None,), (1,)]
    [call] = _blocks(page, "python")
    names: dict[str, Any] = {"leeroo": leeroo, "frame": pl.read_csv(place / "questions.csv")}
    exec(call, names)
    assert names["solved"].columns[1:] == SOLVED.names


def test_routers_that_ship(place: Path) -> None:
    """The commands run in the order of the page, and its table has the questions and experts of each router."""
    page = (PAGES / "use-shipped-routers.md").read_text("utf-8")
    commands = [shlex.split(line, comments=True)[1:] for line in re.findall(r"^    (leeroo .*)$", page, re.MULTILINE)]
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
    page = (PAGES / "learn-while-answering.md").read_text("utf-8")
    table = three_experts.set_up(place, api, 45)
    answer, explain, sample = _commands(page)
    _run(answer)
    answered = pl.read_csv(place / "answers.csv")
    assert answered.columns == [*table.columns, *ANSWERS.names]
    assert answered["error"].null_count() == 45
    assert all((place / name).exists() for name in ("router", "report.html"))
    foreseen = CliRunner().invoke(app, explain)
    assert foreseen.output.splitlines()[-1].strip().startswith("Learning: a first wave of "), foreseen.output
    shutil.rmtree(place / "router")
    _run(sample)
    assert all((place / name).exists() for name in ("router", "router.html"))
    [statements] = _blocks(page, "sql")
    with leeroo.connect(pool="pool.toml") as con:
        con.sql("CREATE TABLE questions AS FROM 'questions.csv'")
        for statement in statements.split(";\n")[:3]:
            con.sql(statement)
        assert con.execute("SELECT count(answer) FROM answered").fetchall() == [(45,)]
    shutil.rmtree(place / "router")
    [call] = _blocks(page, "python")
    names: dict[str, Any] = {"leeroo": leeroo, "frame": table}
    exec(call, names)
    assert names["answered"].columns == answered.columns
    assert (place / "router").exists()


def test_answering_a_table(place: Path) -> None:
    """The commands, the statement and the call; `explain` of the table of options too."""
    page = (PAGES / "answer-a-table.md").read_text("utf-8")
    answer, summarise, reasons = _commands(page)
    for command, out in ((answer, "answers.csv"), (summarise, "summaries.csv")):
        _run(command)
        assert pl.read_csv(out)["answer"].is_null().to_list() == [text is None for text in TICKETS]
    done = CliRunner().invoke(app, reasons)
    assert done.exit_code == 0, done.output
    [explain] = re.findall(r"`leeroo (explain .*?)`", page)
    assert CliRunner().invoke(app, shlex.split(explain)).exit_code == 0
    [statement] = _blocks(page, "sql")
    with leeroo.connect() as con:
        con.sql(statement)
        assert con.execute("SELECT count(answer) FROM answered").fetchall() == [(3,)]
    [call] = _blocks(page, "python")
    names: dict[str, Any] = {"leeroo": leeroo, "frame": pl.read_csv(place / "tickets.csv")}
    exec(call, names)
    assert names["answers"].columns[2:] == ANSWERS.names


def test_writing_prompts(place: Path) -> None:
    """The same prompt over two columns, in all three ways."""
    page = (PAGES / "write-prompts.md").read_text("utf-8")
    reviews = pl.DataFrame({"product": ["phone", "kettle"], "review": ["Superb camera.", "It broke after one day."]})
    reviews.write_csv("reviews.csv")
    [command] = _commands(page)
    _run(command)
    [statement] = _blocks(page, "sql")
    [call] = _blocks(page, "python")
    names: dict[str, Any] = {"leeroo": leeroo, "frame": reviews}
    exec(call, names)
    with leeroo.connect(store=place / "store") as con:
        con.register("reviews", reviews)
        rows = con.sql(statement)
        assert rows is not None
        answers = [answer for (answer,) in rows.fetchall()]
    assert answers == names["answers"]["answer"].to_list() == pl.read_csv("answers.csv")["answer"].to_list()
    assert names["answers"]["cost_usd"].sum() == 0  # from the store: it is the same prompt


def test_extracting_fields(place: Path) -> None:
    """The statements and the program make columns of a text."""
    page = (PAGES / "extract-fields.md").read_text("utf-8")
    make, read = _blocks(page, "sql")
    with leeroo.connect(store=place / "store") as con:
        con.sql("CREATE TABLE texts AS SELECT 'John Smith is 42 years old and lives in Boston.' AS text")
        con.sql(make)
        rows = con.sql(read)
        assert rows is not None
        assert (rows.columns, [str(kind) for kind in rows.types]) == (["name", "age"], ["VARCHAR", "INTEGER"])
        people = rows.fetchall()
    [program] = _blocks(page, "python")
    texts = pl.DataFrame({"text": ["John Smith is 42 years old and lives in Boston."]})
    names: dict[str, Any] = {"leeroo": leeroo, "polars": pl, "frame": texts}
    exec(program, names)
    assert [tuple(each.values()) for each in names["people"]["answer"]] == people


def test_polars_expressions_and_asyncio(place: Path) -> None:
    """The programs add the columns that the page names."""
    page = (PAGES / "use-dbt-and-notebooks.md").read_text("utf-8")
    names: dict[str, Any] = {"leeroo": leeroo, "frame": pl.DataFrame({"text": TICKETS[:1]})}
    for program in _blocks(page[page.index("## Polars expressions") :], "python"):
        exec(program, names)
    assert names["answered"].columns == ["id", "text", "answer"]
    assert set(names["labelled"]["label"]) <= {"billing", "bug", "other", None}
    assert names["answers"].columns == ["id", "text", *ANSWERS.names]


def test_training_a_router(place: Path) -> None:
    """The first commands and the program, on outcomes of the embedded pool in one file."""
    page = (PAGES / "train-a-router.md").read_text("utf-8")
    outcomes = pl.read_parquet("data/outcomes.parquet").join(pl.read_parquet("data/queries.parquet"), on="query_id")
    outcomes.filter(split="train").head(120).select("question", pl.col("expert").alias("model"), "score").write_csv(
        "results.csv"
    )
    commands = _commands(page)
    assert [words[0] for words in commands] == ["outcomes", "train", "run"]
    for words in commands:
        done = CliRunner().invoke(app, words)
        assert done.exit_code == 0, (words, done.output, done.exception)
    chosen = pl.read_csv("answers.csv")
    assert chosen["predicted_score"].null_count() == chosen["question"].null_count()
    shutil.rmtree("router")
    [program] = _blocks(page, "python")
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
    _run(["run", "some.csv", "--pool", "replay.toml", "--out", "answers.parquet"])
    judged = pl.read_parquet("answers.parquet").with_columns(right_answer=recorded["answer"], rating=1.0)
    judged.write_parquet("answers.parquet")
    commands = _commands((PAGES / "give-feedback.md").read_text("utf-8"))
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
    page = (PAGES / "compare-experts.md").read_text("utf-8")
    commands = _commands(page)
    assert [command[0] for command in commands] == ["evaluate", "select-experts", "gaps"]
    for command in commands:
        done = CliRunner().invoke(app, [word.replace("6", "2") for word in command])
        assert done.exit_code == 0, (command, done.output, done.exception)
    assert all((place / name).is_file() for name in ("evaluation.html", "gaps.svg"))
    [program] = _blocks(page, "python")
    names: dict[str, Any] = {"leeroo": leeroo}
    exec(program, names)
    done = CliRunner().invoke(app, ["evaluate", "--router", "router", "--data", "outcomes", "--json", "--quiet"])
    assert names["measured"].data == json.loads(done.stdout)
