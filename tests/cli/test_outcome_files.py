"""Commands that learn from outcomes or look at them, with files of outcomes in the place of data folders."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from tests.command import leeroo

pytestmark = pytest.mark.usefixtures("kept_vectors")


@pytest.fixture(scope="module")
def place(kept_vectors: None, real_place: Path) -> Path:
    """Return a folder with `data`, outcomes of real models on 60 questions of each split, and the same as files."""
    place = real_place
    long = (
        "SELECT question, prompt, subject, category, split, o.expert AS model, score = 1 AS correct, prompt_tokens, "
        f"completion_tokens, usd_per_m_input, usd_per_m_output FROM '{place}/data/queries.parquet' JOIN "
        f"'{place}/data/outcomes.parquet' o USING (query_id) JOIN '{place}/data/experts.parquet' USING (expert)"
    )
    duckdb.sql(f"COPY ({long}) TO '{place}/long.csv'")
    duckdb.sql(f"COPY (SELECT * EXCLUDE (split) RENAME (correct AS gut) FROM ({long}) WHERE split = 'train') "
               f"TO '{place}/unsplit.parquet'")  # fmt: skip
    for source_, router in (("data", "of_folder"), ("long.csv", "of_file")):
        done = leeroo("train", "--data", source_, "--out", router, cwd=place)
        assert done.returncode == 0, done.stderr
    return place


def test_a_router_of_a_file_is_that_of_the_equal_folder(place: Path) -> None:
    """Both routers have the same bytes."""
    for file in ("numbers.npz", "router.json"):
        assert (place / "of_file" / file).read_bytes() == (place / "of_folder" / file).read_bytes()


def test_evaluating_on_a_file_is_as_on_the_equal_folder(place: Path) -> None:
    """The numbers are the same; the form is said on standard error, and the file is called by its name."""
    of_file, of_folder = (
        leeroo("evaluate", "--router", "of_folder", "--data", data, "--json", cwd=place)
        for data in ("long.csv", "data")
    )
    assert of_file.returncode == 0, of_file.stderr
    assert json.loads(of_file.stdout) == json.loads(of_folder.stdout)
    assert "long.csv: long form, question = 'question', prompt = 'prompt', expert = 'model'" in of_file.stderr
    assert "reading long.csv" in of_file.stderr


@pytest.mark.parametrize("command", [("select-experts", "-k", "2"), ("gaps",)])
def test_other_commands_take_files_too(place: Path, command: tuple[str, ...]) -> None:
    """Their JSON is that of the equal folder."""
    of_file, of_folder = (leeroo(*command, "--data", data, "--json", cwd=place) for data in ("long.csv", "data"))
    assert of_file.returncode == 0, of_file.stderr
    assert json.loads(of_file.stdout) == json.loads(of_folder.stdout)


def test_files_and_folders_are_learned_together(place: Path) -> None:
    """Each `--data` is what it is, and a map names the columns of the files."""
    arguments = ("--data", "unsplit.parquet", "--data", "data", "--map", "gut=score", "--encoder", "static")
    done = leeroo("select-experts", *arguments[:6], cwd=place)
    assert done.returncode == 0, done.stderr
    assert "unsplit.parquet: long form" in done.stderr
    assert "60 questions" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "unsplit.parquet", "--map", "gut=score"], "no question of unsplit.parquet is for tests: measure all with --split all"),
        (["--data", "data", "--map", "gut=score"], "--map is for files of outcomes; data is a data folder"),
        (["--data", "unsplit.parquet"], "unsplit.parquet has no column of scores"),
        (["--data", "gone.csv"], "there is no file gone.csv"),
        (["--data", "nowhere"], "there is no data folder nowhere"),
        (["--data", "few.csv"], "few.csv: 1 questions with outcomes in the split 'test'; at least 10 are needed"),
    ],
)  # fmt: skip
def test_wrong_data_is_one_line(place: Path, arguments: list[str], message: str) -> None:
    """An error names the file as the user did, in its last line, with exit code 2."""
    (place / "few.csv").write_text("question,model,score,split\nq,llama-3-8b,1,test\n")
    done = leeroo("evaluate", "--router", "of_folder", *arguments, cwd=place)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith(f"leeroo: {message}")


def test_a_check_tells_what_would_be_read(tmp_path: Path) -> None:
    """Counts by expert, rows left out with reasons, and what follows from what is missing."""
    lines = [f"q{i},a,1\nq{i},b," for i in range(8)]
    (tmp_path / "t.csv").write_text("\n".join(["question,model,score", *lines, "q0,a,0"]) + "\n")
    done = leeroo("outcomes", "check", "t.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for part in (
        "t.csv: long form, question = 'question', expert = 'model', score = 'score', scores are numbers; 8 questions, 1 expert",
        "t.csv: row 2, t.csv: row 4, t.csv: row 6",
        "8 questions are for training: a router needs at least 10",
        "few outcomes, so the predictions lean on the other experts: a (8)",
        "neither tokens nor costs: each expert's max_tokens is expected of its answers",
        "no prices of a: leeroo evaluate needs them",
        "1 pairs of question and expert are there more than once, 1 with scores that differ: the means count",
    ):
        assert part in done.stdout
    found = json.loads(leeroo("outcomes", "check", "t.csv", "--json", cwd=tmp_path).stdout)
    assert found["experts"]["a"]["outcomes"] == 8
    assert found["left_out"] == [{"reason": "no score", "rows": 8, "examples": [f"t.csv: row {n}" for n in (2, 4, 6)]}]
    assert (found["repeated"], found["contradicting"], found["splits"]) == (1, 1, {"train": 8})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.csv"], "there is no file gone.csv"),
        (["t.csv", "--map", "score"], "--map takes COLUMN=NAME"),
        (["t.csv"], "t.csv is of no known form; its columns are x, y; forms that are read: a row for each question"),
        (["data"], "data is a data folder or empty: name a file of outcomes"),
    ],
)
def test_a_check_of_something_wrong_is_one_line(
    tmp_path: Path, data_folder: Path, arguments: list[str], message: str
) -> None:
    """The line says what is wrong, with exit code 2."""
    (tmp_path / "t.csv").write_text("x,y\n1,2\n")
    done = leeroo("outcomes", "check", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"leeroo: {message}")
    assert done.stderr.count("\n") == 1
