"""The report of any run: what it counts, on the command line and in Python."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import leeroo
from leeroo.engine.errors import InputError, OutputError
from leeroo.engine.store.feedback import Feedback
from leeroo.engine.store.store import Store
from tests.command import leeroo as run

UNKNOWN = "What is the question?"


@pytest.fixture
def place(tmp_path: Path, pool_file: Path) -> Path:
    """Provide a folder with `answers.parquet`: 40 replayed rows, an equal one, one that failed and one without text."""
    sums = [f"What is {i} plus {i}?" for i in range(40)]
    table = pa.table(
        {"question": [*sums, sums[0], UNKNOWN, None], "right": [*map(str, range(0, 80, 2)), "1", "2", "3"]}
    )
    pq.write_table(table, tmp_path / "questions.parquet")
    command = ("run", "questions.parquet", "--out", "answers.parquet", "--pool", pool_file, "--expert", "small")
    assert run(*command, "--store", "store", cwd=tmp_path).returncode == 1
    return tmp_path


def _data(place: Path, *arguments: str, table: str = "answers.parquet") -> dict[str, Any]:
    done = run("report", table, "--json", *arguments, cwd=place)
    assert done.returncode == 0, done.stderr
    data: dict[str, Any] = json.loads(done.stdout)
    return data


def test_it_counts_rows_spend_and_failures(place: Path) -> None:
    """An equal row costs nothing, a row without a question did not fail, and a reason has the row that it is from."""
    data = _data(place)
    assert (data["rows"], data["failed"], data["blank"], data["unpaid"]) == (43, 1, 1, 1)
    assert data["cost_usd"] == pytest.approx(40 * 150e-6)
    assert data["list_cost_usd"] == pytest.approx(41 * 150e-6)
    [reason] = data["failures"]
    assert (reason["rows"], reason["first_row"], reason["experts"]) == (1, 42, ["small"])
    assert data["experts"]["small"]["rows"] == 42
    assert data["most_expensive"] == list(range(1, 11))


@pytest.mark.parametrize(
    ("arguments", "scored", "observed", "whence"),
    [
        ((), 41, 21 / 41, "column recorded_score"),
        (("--gold", "right"), 41, 40 / 41, "comparison with right"),
        (("--score", "prompt_tokens"), 41, 10.0, "column prompt_tokens"),
    ],
)
def test_quality_is_that_of_the_run_of_gold_or_of_scores(
    place: Path, arguments: tuple[str, ...], scored: int, observed: float, whence: str
) -> None:
    """Half of the replayed answers count as right; compared with the sums all but the one with a wrong gold are."""
    data = _data(place, *arguments)
    assert (data["scored"], data["observed_from"]) == (scored, whence)
    assert data["observed"] == pytest.approx(observed)


def test_feedback_in_the_store_is_quality_too(place: Path) -> None:
    """Only a score for the same question and expert counts."""
    with contextlib.closing(Store(place / "store")) as store:
        given = [("What is 1 plus 1?", "small", 0.25), ("What is 2 plus 2?", "large", 0.5)]
        store.give([Feedback(question, expert, "x", score, None) for question, expert, score in given])
    duckdb.sql(f"COPY (SELECT * EXCLUDE recorded_score FROM '{place}/answers.parquet') TO '{place}/own.parquet'")
    data = _data(place, "--store", "store", table="own.parquet")
    assert (data["scored"], data["observed"], data["observed_from"]) == (1, 0.25, "feedback in the store")
    assert run("report", "own.parquet", "--store", "none", cwd=place).stderr.count("\n") == 1


def test_calibration_is_the_mean_distance_of_predicted_and_observed(tmp_path: Path) -> None:
    """Two bins with errors of 0.1 and 0.3; rows without a prediction do not count."""
    rows = [(0.95, 1.0)] * 15 + [(0.95, 0.1)] * 1 + [(0.2, 0.5)] * 4 + [(None, 1.0)]
    _write(tmp_path, expert=["x"] * 21, predicted_score=[p for p, _ in rows], rating=[s for _, s in rows])
    bins = 16 * abs(0.95 - 15.1 / 16) + 4 * 0.3
    assert _data(tmp_path, "--score", "rating")["calibration_error"] == pytest.approx(bins / 20)


def _write(place: Path, **columns: list[Any]) -> None:
    n = len(next(iter(columns.values())))
    usual = {"question": [f"q{i}" for i in range(n)], "answer": ["a"] * n, "cost_usd": [0.5] * n}
    usual |= {"list_cost_usd": [0.5] * n, "error": pa.nulls(n, pa.string())}
    pq.write_table(pa.table(usual | columns), place / "answers.parquet")


def test_labels_solutions_and_mmlu_have_reports_too(tmp_path: Path) -> None:
    """Labels are compared as they are, steps have experts, and MMLU brings its scores."""
    _write(tmp_path, label=["a", "b"], confidence=[0.9, 0.8], expert=["x", "x"], people=["a", "a"])
    data = _data(tmp_path, "--gold", "people")
    assert (data["observed"], data["predicted"]) == (0.5, pytest.approx(0.85))
    steps = [[{"expert": "x", "list_cost_usd": 0.1, "error": None}] * 2, []]
    _write(tmp_path, steps=steps)
    assert _data(tmp_path)["experts"]["x"]["rows"] == 2
    _write(tmp_path, letter=["A", "B"], score=[1.0, 0.0], expert=["x", "y"])
    assert _data(tmp_path)["observed"] == 0.5


def test_the_columns_of_the_last_prefix_count(tmp_path: Path) -> None:
    """A table that was answered twice is reported as it was answered last."""
    again: dict[str, list[Any]] = {
        "again_answer": ["b"],
        "again_cost_usd": [2.0],
        "again_list_cost_usd": [2.0],
        "again_expert": ["y"],
    }
    _write(tmp_path, expert=["x"], **again, again_error=[None])
    data = _data(tmp_path)
    assert (list(data["experts"]), data["cost_usd"]) == (["y"], 2.0)


def test_a_table_of_a_million_rows_has_a_small_page(tmp_path: Path) -> None:
    """Some rows are browsed, failed ones among them, and the page says how many; a long text is cut, and says so."""
    duckdb.sql(
        "COPY (SELECT i AS id, repeat('long ', 2000) AS question, 'a' AS answer, 'x' AS expert, 0.001 AS cost_usd,"
        " 0.001 AS list_cost_usd, CASE WHEN i % 1000 = 0 THEN 'no luck' END AS error FROM range(100_000) t(i))"
        f" TO '{tmp_path}/answers.parquet'"
    )
    done = run("report", "answers.parquet", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "written: answers.html\n")
    html = (tmp_path / "answers.html").read_text()
    assert len(html) < 3_000_000
    assert html.count("<details") == 500
    assert html.count('data-group="failed"') >= 100
    assert "500 of 100,000 rows" in html
    assert "… (10000 characters)" in html


def test_a_page_goes_where_it_is_named_and_replaces_no_other_file(place: Path) -> None:
    """Beside the table by default, where a page of ours is replaced and nothing else is."""
    assert run("report", "answers.parquet", cwd=place).returncode == 0
    assert run("report", "answers.parquet", cwd=place).returncode == 0
    (place / "answers.html").write_text("mine")
    done = run("report", "answers.parquet", cwd=place)
    assert (done.returncode, "--out" in done.stderr) == (2, True)
    assert (place / "answers.html").read_text() == "mine"
    assert run("report", "answers.parquet", "--out", "page.html", cwd=place).returncode == 0
    assert run("report", "answers.parquet", "--out", "page.txt", cwd=place).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("questions.parquet",), ("no table of answers", "leeroo run")),
        (("answers.parquet", "--gold", "rigth"), ("rigth", "right")),
    ],
)
def test_what_cannot_be_reported_is_one_line(place: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    """A table without answers, or a column that is not there."""
    done = run("report", *arguments, cwd=place)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    for word in words:
        assert word in done.stderr


def test_an_empty_table_has_a_report(tmp_path: Path) -> None:
    """It says that there are no rows."""
    _write(tmp_path, expert=["x"])
    duckdb.sql(f"COPY (FROM '{tmp_path}/answers.parquet' LIMIT 0) TO '{tmp_path}/none.parquet'")
    assert run("report", "none.parquet", cwd=tmp_path).stdout.startswith("0 rows\n")


def test_python_reports_frames_relations_and_files_as_the_command_does(place: Path) -> None:
    """The same numbers; printed it is the tables, and saved the page."""
    file = place / "answers.parquet"
    frame = pl.read_parquet(file)
    for answers in (frame, frame.to_pandas(), frame.to_arrow(), duckdb.read_parquet(str(file)), file):
        report = leeroo.report(answers, gold="right", title="Sums")
        assert report.data == _data(place, "--gold", "right")
    assert "43 rows: 41 answered, 1 failed" in str(report)
    assert "small" in repr(report)
    report.save(place / "sums.html")
    assert "<h1>Sums</h1>" in (place / "sums.html").read_text()
    with pytest.raises(OutputError, match=r"\.html"):
        report.save(place / "sums.txt")
    with pytest.raises(InputError, match="no table of answers"):
        leeroo.report(pl.DataFrame({"question": ["?"]}))


def test_columns_that_differ_by_case_are_not_confused(place: Path) -> None:
    """A table of one's own with Answer and Expert, which DuckDB takes for the run's columns, changes no figure."""
    answers = pq.read_table(place / "answers.parquet")
    theirs = {"Expert": pa.array(["nobody"] * len(answers)), "Answer": answers["right"], "Question": answers["answer"]}
    both = pa.table([*theirs.values(), *answers.columns], names=[*theirs, *answers.column_names])
    report, alone = leeroo.report(both, gold="Answer"), leeroo.report(answers, gold="right")
    assert report.data["experts"] == alone.data["experts"]
    assert list(report.data["experts"]) == ["small"]
    assert 0 < report.data["observed"] < 1


def test_numbers_that_are_none_count_as_unknown(place: Path) -> None:
    """A predicted score that is NaN, as pandas writes what is missing, spoils neither a mean nor the JSON."""
    answers = pq.read_table(place / "answers.parquet")
    at = answers.column_names.index("predicted_score")
    scores = pa.array([float("nan") if i else 0.5 for i in range(len(answers))])
    pq.write_table(answers.set_column(at, "predicted_score", scores), place / "odd.parquet")
    assert _data(place, table="odd.parquet")["predicted"] == 0.5


def test_labels_have_a_confidence(tmp_path: Path) -> None:
    """A table of labels calls what was predicted by its name there, and compares whole labels."""
    labels = pa.table(
        {"text": ["a", "b"], "gold": ["bug", "bug"], "label": ["bug", "no bug"], "confidence": [0.9, 0.4]}
        | {"expert": ["one", "one"], "cost_usd": [0.1, 0.1], "list_cost_usd": [0.1, 0.1]}
        | {"error": pa.nulls(2, pa.string())}
    )
    report = leeroo.report(labels, gold="gold")
    assert report.data["observed"] == 0.5
    assert "confidence" in str(report)
    assert "predicted" not in str(report)
