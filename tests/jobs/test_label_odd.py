"""Labels whatever a model or a table has in it: an answer is never lost, and a wrong thing is one line."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

import leeroo
from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.errors import RowsFailedWarning, UsageError
from leeroo.engine.jobs.agreement import count_experts, count_labels, measure_agreement
from leeroo.engine.jobs.label import ChoiceReader, Labels, label_rows, read_labels, to_check
from leeroo.engine.pool import load_pool
from leeroo.engine.tables import open_input
from leeroo.reports.labels import label_report
from leeroo.reports.page import page
from tests.command import leeroo as run

NAMES = ("billing", "bug", "a-very-long-label")


@pytest.fixture
def engine(tmp_path: Path, api_entry: Callable[..., str]) -> Iterator[Engine]:
    """Return an engine with two experts of a real API."""
    (tmp_path / "pool.toml").write_text(api_entry("small", 1, 256) + api_entry("large", 10, 256))
    with Engine(load_pool(tmp_path / "pool.toml"), store=tmp_path / "store") as engine:
        yield engine


def _label(engine: Engine, texts: list[str | None], **how: Any) -> pa.Table:
    table = pa.table({"text": pa.array(texts, pa.string())})
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        return label_rows(engine, table.to_reader(), Labels(NAMES), Criteria(column="text"), **how)


@pytest.mark.parametrize(
    "others",
    [{}, {"The": 0.001}, {"a-very-long-label": 1e-12}],
    ids=["nothing else", "no label", "another label"],
)
@pytest.mark.parametrize("calibrate", [True, False])
def test_probabilities_that_do_not_name_a_label_never_lose_the_answer(
    engine: Engine, api: Any, others: dict[str, float], calibrate: bool
) -> None:
    """An API that names few tokens keeps its label, with a confidence and without a warning."""
    api.says = lambda _model, prompt: {"bug" if "crash" in prompt else "billing": 0.999, **others}
    labelled = _label(engine, [f"{word} {i}" for i in range(12) for word in ("crash", "invoice")], calibrate=calibrate)
    assert labelled["label"].to_pylist() == ["bug", "billing"] * 12
    assert all(0.9 < sure <= 1 for sure in labelled["confidence"].to_pylist())
    assert labelled["error"].null_count == 24


def test_a_label_without_a_probability_is_certain() -> None:
    """Where the expert gives probabilities to other labels only, its answer counts as certain."""
    answers = pa.table(
        {
            "answer": ["bug", "bug"],
            "expert": ["small", "small"],
            "choice_logprobs": [[-0.1, None, -3.0], [0.0, -1.0, -2.0]],
        }
    )
    first, second = ChoiceReader(calibrate=True).reader(NAMES)(answers).tolist()
    assert first == [0, 1, 0]
    assert 0 < second[1] < 1


def test_a_label_reserves_no_more_than_it_can_take(engine: Engine, api: Any) -> None:
    """A row reserves the longest label's tokens instead of the expert's 256."""
    api.says = lambda _model, _prompt: {"bug": 0.9, "billing": 0.1}
    _label(engine, ["crash"])
    asked = {body.get("max_tokens") or body.get("max_completion_tokens") for body in api.bodies}
    assert all(len(NAMES[-1]) <= most <= len(NAMES[-1]) + 16 for most in asked)


@pytest.mark.parametrize("enough", [0.8, None])
def test_a_table_without_rows_is_labelled(engine: Engine, enough: float | None) -> None:
    """Nothing is sent, and the table, its report and its rows to check are empty."""
    labelled = _label(engine, [], enough=enough)
    assert labelled.column_names == ["text", "label", "confidence", "expert", "cost_usd", "list_cost_usd", "error"]
    assert len(labelled) == len(to_check(labelled, 5)) == 0
    assert (count_labels(labelled), count_experts(labelled)) == ([], [])
    assert "<table" in page(label_report(labelled, None, "Nothing"))


def test_blank_texts_are_no_failures(engine: Engine, api: Any) -> None:
    """Blank texts are not sent, and have no label, no error and no cost, as NULL."""
    api.says = lambda _model, _prompt: {"bug": 0.9, "billing": 0.1}
    for several in (False, True):
        table = pa.table({"text": pa.array(["", "  \n", None], pa.string())})
        labels = Labels(NAMES, several=several)
        labelled = label_rows(engine, table.to_reader(), labels, Criteria(column="text"))
        assert labelled["label"].null_count == labelled["error"].null_count == 3
        assert sum(labelled["cost_usd"].to_pylist()) == 0
    assert not api.asked


def test_gold_that_is_blank_is_no_label() -> None:
    """NULL and NaN are no gold labels either, and a row that failed is never right."""
    labelled = pa.table(
        {
            "gold": ["", "bug", " ", None],
            "number": [float("nan"), 1.0, None, float("nan")],
            "label": [None, "bug", None, None],
            "confidence": [None, 0.9, None, None],
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = measure_agreement(labelled, "gold", ["bug", "billing"])
        assert found is not None
        assert (found.n, found.accuracy.value, found.names) == (1, 1.0, ("bug", "billing"))
        assert measure_agreement(labelled.slice(2), "gold", ["bug", "billing"]) is None
        counted = measure_agreement(labelled, "number", ["1.0", "bug"])
        assert counted is not None
        assert counted.n == 1


@pytest.mark.parametrize("name", ["l.toml", "L.TOML"])
def test_a_file_of_labels_from_windows_is_read(tmp_path: Path, name: str) -> None:
    """A byte order mark and upper case in the file's name make no difference."""
    (tmp_path / name).write_bytes(b"\xef\xbb\xbflabels = ['a', 'b']\r\n")
    assert read_labels(str(tmp_path / name)).names == ("a", "b")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("labels = 1", "labels is missing, or neither a list of names nor a table"),
        ("labels = ['a', 1]", "labels is missing, or neither"),
        ("labels = {a = 1, b = 'x'}", "labels is missing, or neither"),
        ("labels = ['a', 'b']\ninstruction = 1", "instruction is not a text"),
        ("labels = ['a', 'b']\n[[example]]\ntext = 1", r"each \[\[example\]\] has a text and a label"),
        ("labels = ['a', 'b']\nexample = 'x'", r"each \[\[example\]\] has a text and a label"),
        ("labels = ['a', 'b']\nlabel = 'x'", "there is no setting 'label'"),
        ("labels = " + "[" * 5000, "is not valid TOML"),
        ("labels = ['a', '\x00']", "is not valid TOML"),
    ],
)
def test_mistakes_in_a_file_of_labels_are_explained(tmp_path: Path, text: str, line: str) -> None:
    """The message has none of the terms of the library that checks the file."""
    (tmp_path / "l.toml").write_text(text)
    with pytest.raises(UsageError, match=line) as wrong:
        read_labels(str(tmp_path / "l.toml"))
    assert len(str(wrong.value).splitlines()) == 1
    assert "valid list" not in str(wrong.value)


def test_label_says_why_rows_failed(tmp_path: Path, api: Any, api_entry: Callable[..., str]) -> None:
    """The command prints how many rows failed and the commonest reasons, and exits with 1; JSON has the same."""
    api.repeat, api.faults = True, {"broken": ["garbage"]}
    api.says = lambda _model, _prompt: {"bug": 0.9, "billing": 0.1}
    (tmp_path / "pool.toml").write_text(api_entry("only", 1, 3, "[expert.engine]\nmax_retries = 0"))
    pl.DataFrame({"text": ["fine", "broken one", "broken two", ""], "team": ["", "", "", ""]}).write_csv(
        tmp_path / "t.csv"
    )
    command = ["label", "t.csv", "--labels", "bug,billing", "--out", "o.csv"]
    command += ["--pool", "pool.toml", "--store", "store", "--gold", "team"]
    done = run(*command, cwd=tmp_path)
    assert done.returncode == 1
    assert "2 of 4 rows failed:" in done.stderr
    assert "2 x " in done.stderr
    assert "the column 'team' holds no gold label: nothing was compared" in done.stderr
    assert "Warning" not in done.stderr
    done = run(*command, "--json", cwd=tmp_path)
    report = json.loads(done.stdout)
    assert (done.returncode, report["failed"], list(report["errors"].values())) == (1, 2, [2])


def test_python_warns_of_rows_that_failed(tmp_path: Path, api: Any, api_entry: Callable[..., str]) -> None:
    """One warning where the function was called gives their number and the commonest reason."""
    api.does = {"": "content_filter"}
    (tmp_path / "pool.toml").write_text(api_entry("only", 1, 3))
    frame = pl.DataFrame({"text": ["one", "two"], "question": ["What is one?", "What is two?"]})
    place: dict[str, Any] = {"pool": tmp_path / "pool.toml", "store": tmp_path / "store"}
    with pytest.warns(RowsFailedWarning, match=r"^leeroo\.label: 2 of 2 questions asked have no answer") as warned:
        leeroo.label(frame, ["bug", "billing"], **place)
    assert {each.filename for each in warned if each.category is RowsFailedWarning} == {__file__}
    with pytest.warns(RowsFailedWarning, match=r"^leeroo\.solve: 2 of 2 questions asked have no answer"):
        leeroo.solve(frame, **place)
    with pytest.warns(RowsFailedWarning, match=r"^leeroo\.answer: 2 of 2 questions asked have no answer") as warned:
        leeroo.answer(frame, **place)
    assert {each.filename for each in warned if each.category is RowsFailedWarning} == {__file__}


def test_gold_labels_of_a_csv_file_are_compared_as_they_are_written(engine: Engine, api: Any, tmp_path: Path) -> None:
    """Labels that look like booleans or numbers stay text: all are right here."""
    names = ("yes", "1.10")
    api.says = lambda _model, prompt: {"1.10" if "price" in prompt else "yes": 0.9}
    (tmp_path / "t.csv").write_text("text,gold\nis it so,yes\nthe price,1.10\n")
    rows = open_input(tmp_path / "t.csv")
    labelled = label_rows(engine, rows, Labels(names), Criteria(column="text"), enough=None)
    found = measure_agreement(labelled, "gold", names)
    assert found is not None
    assert found.accuracy.value == 1.0


def test_the_cost_of_two_answers_is_rounded_as_that_of_one(
    tmp_path: Path, api: Any, api_entry: Callable[..., str]
) -> None:
    """A row that two experts labelled costs $0.000075, which is not the sum of 0.000015 and 0.00006 in binary."""
    assert 15e-6 + 60e-6 != 75e-6
    api.says = lambda _model, _prompt: {"bug": 0.5, "billing": 0.4}
    (tmp_path / "pool.toml").write_text(api_entry("small", 1, 3) + api_entry("large", 4, 3))
    with Engine(load_pool(tmp_path / "pool.toml"), store=tmp_path / "store") as engine:
        labelled = _label(engine, ["unsure"])
    assert labelled.column("cost_usd").to_pylist() == [75e-6]
    assert labelled.column("list_cost_usd").to_pylist() == [75e-6]
