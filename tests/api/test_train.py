"""Training in Python does what the command does, on files and on data frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import leeroo
from leeroo.engine.errors import InputError, LeerooError, RouterError, UsageError
from tests import command

pytestmark = pytest.mark.usefixtures("kept_vectors")
TEXTS = [f"What is {n} plus {n}?" for n in range(20)]


@pytest.fixture
def long() -> pl.DataFrame:
    """Provide outcomes with a row for each question and model."""
    rows = [
        (text, name, n % 2 if name == "small" else 1) for n, text in enumerate(TEXTS) for name in ("small", "large")
    ]
    return pl.DataFrame(rows, schema=["question", "model", "correct"], orient="row")


def _same(one: leeroo.Router, other: leeroo.Router) -> bool:
    return one.fingerprint == other.fingerprint


def test_a_frame_is_learned_as_the_command_learns_its_file(long: pl.DataFrame, tmp_path: Path) -> None:
    """The router is the same, and stands in `out`."""
    long.write_csv(tmp_path / "outcomes.csv")
    done = command.leeroo("train", "--data", "outcomes.csv", "--encoder", "static", "--out", "router", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    by_command = leeroo.Router.load(tmp_path / "router")
    trained = leeroo.train(long, encoder="static", out=tmp_path / "own")
    assert trained.experts == ("large", "small")
    assert _same(trained, by_command)
    assert _same(leeroo.Router.load(tmp_path / "own"), by_command)
    assert _same(leeroo.train(str(tmp_path / "outcomes.csv"), encoder=["static"]), by_command)


def test_every_kind_of_frame_and_form_is_the_same(long: pl.DataFrame) -> None:
    """Polars, pandas, Arrow and DuckDB, with a row for each outcome or a column for each model."""
    first = leeroo.train(long, encoder="static")
    wide = long.pivot("model", index="question", values="correct")
    relation = duckdb.connect().from_arrow(long.to_arrow())
    for frame in (long.lazy(), long.to_pandas(), long.to_arrow(), relation, wide, wide.to_pandas()):
        assert _same(leeroo.train(frame, encoder="static"), first), type(frame)


def test_columns_may_have_other_names(long: pl.DataFrame) -> None:
    """A mapping says what they are."""
    other = long.rename({"question": "frage", "correct": "gut"})
    trained = leeroo.train(other, map={"frage": "question", "gut": "score"}, encoder="static")
    assert _same(trained, leeroo.train(long, encoder="static"))


def test_several_sources_are_learned_together(long: pl.DataFrame, tmp_path: Path) -> None:
    """Files and frames in one list."""
    long.head(20).write_parquet(tmp_path / "a.parquet")
    said: list[str] = []
    trained = leeroo.train([tmp_path / "a.parquet", long.tail(20)], encoder="static", on_progress=said.append)
    assert _same(trained, leeroo.train(long, encoder="static"))
    assert f"reading {tmp_path / 'a.parquet'}, the data frame" in said


def test_an_expert_is_added_to_a_router(long: pl.DataFrame, tmp_path: Path) -> None:
    """A router in memory or in a folder is taken over; it has the same score for the experts that it knew."""
    small = leeroo.train(long.filter(pl.col("model") == "small"), encoder="static", out=tmp_path / "small")
    large = long.filter(pl.col("model") == "large")
    both = leeroo.train(large, router=small)
    assert both.experts == ("small", "large")
    assert _same(leeroo.train(large, router=tmp_path / "small"), both)


def test_a_trained_router_chooses(long: pl.DataFrame, pool_file: Path, tmp_path: Path) -> None:
    """What was saved is taken by `router=`."""
    leeroo.train(long, encoder="static", out=tmp_path / "router", pool=pool_file)
    found = leeroo.answer(TEXTS[:3], pool=pool_file, router=tmp_path / "router", store=tmp_path / "store")
    assert None not in found.column("predicted_score").to_pylist()


def _frame(**columns: Any) -> pa.Table:
    return pa.table({"question": TEXTS, **{name: [1] * len(TEXTS) for name in columns}})


@pytest.mark.parametrize(
    ("given", "kind", "says"),
    [
        ({}, UsageError, r"nothing to learn from: name recorded outcomes \(data=\)"),
        ({"data": 5}, InputError, "cannot read rows from int"),
        ({"data": "nowhere"}, RouterError, "there is no data folder nowhere"),
        ({"data": pd.DataFrame({"question": TEXTS})}, InputError, "the data frame is of no known form"),
        ({"data": _frame(a=1, b=1), "map": {"c": "score"}}, UsageError, "the data frame has no column 'c'"),
        ({"data": _frame(a=1, b=1), "map": {"a": "x"}}, UsageError, "'x' is no name of ours"),
        ({"data": _frame(a=1, b=1), "router": "r", "encoder": "static"}, UsageError, "no place beside router="),
        ({"data": _frame(a=1, b=1).slice(0, 5)}, RouterError, "the data frame: 5 questions with outcomes"),
        ({"data": [_frame(a=1, b=1), _frame()]}, InputError, "data frame 2 is of no known form"),
    ],
)
def test_wrong_data_is_one_line(given: dict[str, Any], kind: type[LeerooError], says: str) -> None:
    """The frame and the argument are named."""
    with pytest.raises(kind, match=says) as error:
        leeroo.train(**given)
    assert "\n" not in str(error.value)
    assert "--" not in str(error.value)


def test_names_that_the_pool_does_not_have_are_refused(pool_file: Path) -> None:
    """A pool says early that names differ; one expert without outcomes is a line."""
    with pytest.raises(UsageError, match="none of the pool's experts has outcomes: the pool has large, small"):
        leeroo.train(_frame(a=1, b=1), encoder="static", pool=pool_file)
    said: list[str] = []
    leeroo.train(_frame(large=1, b=1), encoder="static", pool=pool_file, on_progress=said.append)
    assert any(line.startswith("no outcomes of small: ") for line in said)
