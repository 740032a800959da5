"""leeroo feedback and leeroo train --store: routers learn from the scores of people."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.command import leeroo


@pytest.fixture
def answered(tmp_path: Path, pool_file: Path) -> Path:
    """Return a folder with answers of 'small' to 40 questions, as `leeroo run` wrote them, and their store."""
    duckdb.sql(f"COPY (SELECT question FROM '{tmp_path}/data/queries.parquet') TO '{tmp_path}/questions.parquet'")
    run = ["run", "questions.parquet", "--out", "answers.parquet", "--pool", str(pool_file), "--expert", "small"]
    done = leeroo(*run, "--store", "store", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    return tmp_path


def _write(place: Path, query: str, name: str = "judged.parquet") -> None:
    duckdb.sql(f"COPY ({query.format(answers=place / 'answers.parquet')}) TO '{place / name}'")


def test_a_table_with_a_gold_column_is_judged(answered: Path) -> None:
    """Rows that can be judged are kept and counted by expert; the others are named, with exit code 1."""
    _write(
        answered,
        "SELECT * REPLACE (CASE WHEN n = 4 THEN '  ' ELSE question END AS question),"
        " CASE WHEN n = 3 THEN NULL WHEN n % 4 = 0 THEN -1 ELSE 2 * (n - 1) END AS right"
        " FROM (SELECT *, row_number() OVER () AS n FROM '{answers}')",
    )
    done = leeroo("feedback", "judged.parquet", "--gold", "right", "--store", "store", cwd=answered)
    assert done.returncode == 1, done.stderr
    assert ["small", "38", "0.763"] in [line.split() for line in done.stdout.splitlines()]
    assert "38 outcomes kept: store" in done.stdout
    assert "1 rows have neither gold nor score: passed over" in done.stderr
    assert "1 rows cannot be judged:\n  row 4: there is no question" in done.stderr


def test_scores_are_reported_as_json(answered: Path) -> None:
    """A score has precedence over a gold, and a wrong score is that row's error."""
    _write(
        answered,
        "SELECT question, answer AS said, expert AS who, '0' AS gold,"
        " CASE WHEN rowid = 0 THEN 'good' WHEN rowid = 1 THEN '7' ELSE '0.5' END AS stars"
        " FROM (SELECT *, row_number() OVER () - 1 AS rowid FROM '{answers}')",
        "judged.csv",
    )
    options = ["--score", "stars", "--gold", "gold", "--answer", "said", "--expert", "who", "--store", "new", "--json"]
    done = leeroo("feedback", "judged.csv", *options, cwd=answered)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert found["experts"] == {"small": {"feedback": 38, "mean_score": 0.5}}
    assert (found["kept"], found["failed"], found["passed_over"], found["drift"]) == (38, 2, 0, {})
    assert [error["row"] for error in found["errors"]] == [1, 2]
    assert "'good' is no number" in found["errors"][0]["error"]
    assert "scale scores" in found["errors"][1]["error"]


def test_gold_of_questions_alone(answered: Path) -> None:
    """Without answers in the table, those in the store are judged."""
    _write(answered, "SELECT question, split_part(answer, ' ', 3) AS gold FROM '{answers}'", "gold.jsonl")
    done = leeroo("feedback", "gold.jsonl", "--gold", "gold", "--store", "store", "--json", cwd=answered)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["experts"] == {"small": {"feedback": 40, "mean_score": 1.0}}


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], "name the column with what would have been right (--gold)"),
        (["--gold", "nothing"], "the input has no column 'nothing'; its columns are: question, answer"),
        (["--gold", "answer", "--expert", "who"], "the input has no column 'who'"),
        (["--gold", "answer", "--column", "text"], "the input has no column 'text'"),
    ],
)
def test_bad_usage_is_one_line(answered: Path, options: list[str], line: str) -> None:
    """One line says the error and how to mend it, with exit code 2."""
    done = leeroo("feedback", "answers.parquet", *options, "--store", "store", cwd=answered)
    assert done.returncode == 2
    assert line in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_router_learned_from_feedback_alone(answered: Path, pool_file: Path) -> None:
    """`train --store` needs no data folder where there is feedback; the router knows the expert."""
    train = ["train", "--out", "router", "--encoder", "static"]
    refused = leeroo(*train, "--store", "store", cwd=answered)
    assert (refused.returncode, "holds no feedback" in refused.stderr) == (2, True)
    assert "--data" in leeroo(*train, cwd=answered).stderr
    assert "there is no answer store nowhere" in leeroo(*train, "--store", "nowhere", cwd=answered).stderr
    _write(answered, "SELECT question, CASE WHEN rowid % 2 = 0 THEN 'says' ELSE 'x' END AS gold"
                     " FROM (SELECT *, row_number() OVER () AS rowid FROM '{answers}')")  # fmt: skip
    leeroo("feedback", "judged.parquet", "--gold", "gold", "--store", "store", cwd=answered)
    done = leeroo(*train, "--store", "store", cwd=answered)
    assert done.returncode == 0, done.stderr
    assert "40 outcomes from the feedback in store" in done.stderr
    route = ["route", "questions.parquet", "--out", "routes.parquet", "--pool", str(pool_file), "--router", "router"]
    assert leeroo(*route, "--store", "store", cwd=answered).returncode == 0


def test_columns_that_differ_by_case_are_not_confused(answered: Path) -> None:
    """Right answers in a column Answer are compared with the answers of the run, and not with themselves."""
    rows = pq.read_table(answered / "answers.parquet")
    both = rows.add_column(0, "Answer", pa.array(["-1"] * len(rows)))
    pq.write_table(both, answered / "both.parquet")
    done = leeroo("feedback", "both.parquet", "--gold", "Answer", "--store", "store", "--json", cwd=answered)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["experts"]["small"]["mean_score"] == 0
