"""Every command that writes keeps what is not its own, and says so before it asks or computes anything."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner, Result

from leeroo.cli.main import app
from leeroo.engine.errors import LeerooError, OutputError, UsageError

QUESTIONS = pa.table({"question": ["What is 1 plus 1?", "What is 2 plus 2?"]})


@pytest.fixture
def place(tmp_path: Path, pool_file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide a current folder with an input, a pool and recorded outcomes, and a folder that holds precious.txt."""
    monkeypatch.chdir(tmp_path)
    pq.write_table(QUESTIONS, tmp_path / "t.parquet")
    for name in ("results", "results.parquet", "results.html", "results.svg"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "precious.txt").write_text("mine")
    return tmp_path


def _leeroo(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


_POOL = ["--pool", "pool.toml", "--store", "store", "--no-progress"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "t.parquet", "--out", "results", *_POOL],
        ["run", "t.parquet", "--out", "results.parquet", *_POOL],
        ["run", "t.parquet", "--out", ".", *_POOL],
        ["run", "t.parquet", "--out", "results", "--overwrite", *_POOL],
        ["route", "t.parquet", "--out", "results", *_POOL],
        ["sql", "SELECT leeroo_answer(question) FROM 't.parquet'", "--out", "results", *_POOL],
        ["label", "t.parquet", "--column", "question", "--labels", "a,b", "--out", "results", *_POOL],
        [
            "label",
            "t.parquet",
            "--column",
            "question",
            "--labels",
            "a,b",
            "--out",
            "o.csv",
            "--report",
            "results.html",
            *_POOL,
        ],
        ["solve", "t.parquet", "--out", "results", *_POOL],
        ["mmlu", "--data", "data", "--out", "results", *_POOL],
        ["mmlu", "--data", "data", "--report", "results.html", *_POOL],
        ["train", "--data", "data", "--out", "results"],
        ["evaluate", "--router", "router", "--data", "data", "--plot", "results.svg"],
        ["evaluate", "--router", "router", "--data", "data", "--report", "results.html"],
        ["gaps", "--data", "data", "--plot", "results.svg"],
        ["select-experts", "--data", "data", "--plot", "results.svg"],
        ["selfplay", "--out", "results", "--pool", "pool.toml"],
        ["selfplay", "report", "results", "--page", "results.html"],
        ["selfplay", "report", "results", "--plot", "results.svg"],
    ],
    ids=lambda arguments: " ".join(arguments[:1] + arguments[-4:]),
)
def test_files_of_others_stay(place: Path, arguments: list[str]) -> None:
    """No command replaces a file that it did not write; nothing is sent, so there is no store."""
    done = _leeroo(*arguments)
    assert isinstance(done.exception, UsageError), done.output
    for name in ("results", "results.parquet", "results.html", "results.svg"):
        assert [file.read_text() for file in (place / name).iterdir()] == ["mine"]
    assert pq.read_table("t.parquet").equals(QUESTIONS)
    assert not (place / "store").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "t.csv", "--out", "t.csv"],
        ["run", "*.csv", "--out", "t.csv"],
        ["route", "t.csv", "--out", "t.csv"],
        ["solve", "t.csv", "--out", "t.csv"],
        ["label", "t.csv", "--column", "question", "--labels", "a,b", "--out", "t.csv"],
        ["label", "t-check.csv", "--column", "question", "--labels", "a,b", "--check", "1", "--out", "t.csv"],
        ["sql", "SELECT question, leeroo_answer(question) FROM 't.csv'", "--out", "t.csv"],
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_an_input_is_replaced_only_with_overwrite(place: Path, arguments: list[str]) -> None:
    """An input that is also an output is an error without --overwrite."""
    for name in ("t.csv", "t-check.csv"):
        (place / name).write_text("question\nWhat is 1 plus 1?\n")
    done = _leeroo(*arguments, *_POOL)
    assert isinstance(done.exception, OutputError), done.output
    assert "would replace the input" in str(done.exception)
    assert (place / "t.csv").read_text() == "question\nWhat is 1 plus 1?\n"
    assert not (place / "store").exists()


@pytest.mark.parametrize(
    ("arguments", "file"),
    [
        (
            ["label", "t.parquet", "--column", "question", "--labels", "a,b", "--check", "1", "--out", "l.csv"],
            "l-check.csv",
        ),
        (["learn", "t.parquet", "--budget", "1", "--out", "mine"], "mine.html"),
    ],
)
def test_a_file_that_was_not_named_is_not_replaced(place: Path, arguments: list[str], file: str) -> None:
    """A command that writes a file beside its output keeps what people have there under that name."""
    (place / file).write_text("mine")
    done = _leeroo(*arguments, *_POOL)
    assert isinstance(done.exception, OutputError), done.output
    assert f"{file} is there" in str(done.exception)
    assert (place / file).read_text() == "mine"
    assert not (place / "store").exists()


def test_rows_to_check_are_replaced_with_overwrite(place: Path) -> None:
    """With --overwrite the rows that people should check are written again."""
    (place / "l-check.csv").write_text("mine")
    label = ["label", "t.parquet", "--column", "question", "--labels", "large says 2,large says 4", "--out", "l.csv"]
    done = _leeroo(*label, "--check", "2", "--overwrite", *_POOL)
    assert done.exit_code == 0, (done.output, done.exception)
    with open("l-check.csv", newline="") as file:
        assert {row["label"] for row in csv.DictReader(file)} == {"large says 2", "large says 4"}


def test_overwrite_replaces_the_input(place: Path) -> None:
    """With --overwrite the table takes the place of its input."""
    done = _leeroo("run", "t.parquet", "--out", "t.parquet", "--overwrite", *_POOL)
    assert done.exit_code == 0, done.output
    assert pq.read_table("t.parquet").column("answer").to_pylist() == ["large says 2", "large says 4"]


def test_an_output_in_a_pattern_is_not_read_again(place: Path) -> None:
    """The second run would read what the first has written, and says so."""
    (place / "in").mkdir()
    shutil.copy("t.parquet", "in/t.parquet")
    arguments = ["run", "in/*.parquet", "--out", "in/answers.parquet", *_POOL]
    assert _leeroo(*arguments).exit_code == 0
    assert "would replace the input in/answers.parquet" in str(_leeroo(*arguments).exception)
    assert pq.read_table("in/answers.parquet").num_rows == 2


@pytest.mark.parametrize("command", ["run", "solve"])
def test_standard_output_holds_the_table_alone(place: Path, command: str) -> None:
    """'-' is JSONL on standard output; messages go to standard error, and --json is refused with it."""
    done = _leeroo(command, "t.parquet", "--out", "-", *_POOL)
    assert done.exit_code == 0, done.output
    assert not (place / "-").exists()
    if command == "solve":
        assert "--json and --out -" in str(_leeroo(command, "t.parquet", "--out", "-", "--json", *_POOL).exception)


def test_csv_comes_out_as_it_came_in(place: Path) -> None:
    """Values that are passed through are not read as numbers or booleans."""
    (place / "t.csv").write_text(
        "question,ver,code,ok,big\nWhat is 1 plus 1?,1.10,01234,true,12345678901234567890123\n"
    )
    for name in ("o.csv", "o.jsonl"):
        assert _leeroo("run", "t.csv", "--out", name, *_POOL).exit_code == 0
    with open("o.csv", newline="") as file:
        row = next(csv.DictReader(file))
    for found in (row, json.loads((place / "o.jsonl").read_text())):
        assert [found[name] for name in ("ver", "code", "ok", "big")] == [
            "1.10",
            "01234",
            "true",
            "12345678901234567890123",
        ]
        assert found["answer"] == "large says 2"


def test_options_describe_the_form_of_an_input(place: Path) -> None:
    """--format, --delimiter, --no-header and --encoding are used where the name says nothing."""
    (place / "t.txt").write_bytes("What is 1 plus 1?;ä\n".encode("latin-1"))
    form = ["--format", "csv", "--delimiter", ";", "--no-header", "--encoding", "latin-1", "--column", "column0"]
    done = _leeroo("run", "t.txt", "--out", "o.parquet", *form, *_POOL)
    assert done.exit_code == 0, (done.output, done.exception)
    assert pq.read_table("o.parquet").select(["column1", "answer"]).to_pylist() == [
        {"column1": "ä", "answer": "large says 2"}
    ]


def test_a_router_folder_with_more_in_it_is_kept(place: Path) -> None:
    """A router replaces a router, but no folder that has other files in it."""
    (place / "router").mkdir()
    (place / "router" / "router.json").touch()
    (place / "router" / "precious.txt").write_text("mine")
    done = _leeroo("train", "--data", "data", "--out", "router")
    assert isinstance(done.exception, LeerooError)
    assert "precious.txt" in str(done.exception)
    assert (place / "router" / "precious.txt").read_text() == "mine"
