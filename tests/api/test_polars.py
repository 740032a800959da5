"""Expressions of Polars: one batch wherever Polars hands over the whole column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import leeroo.polars
from leeroo.engine.errors import UsageError
from tests.provider import Provider

N = 40
FRAME = pl.DataFrame({"q": [f"What is {n} plus {n}?" for n in range(N)], "g": [n % 2 for n in range(N)]})
SAID = [f"large says {2 * n}" for n in range(N)]


@pytest.fixture
def runs(options: dict[str, Any]) -> Callable[[], list[int]]:
    """Return a function that gives the rows of each run so far."""

    def rows() -> list[int]:
        with leeroo.connect(**options) as con:
            return [n for (n,) in con.execute("SELECT rows FROM leeroo_runs()").fetchall()]

    return rows


IN_ONE: dict[str, Callable[[pl.Expr, Path], pl.DataFrame]] = {
    "with_columns": lambda said, _: FRAME.with_columns(said),
    "select": lambda said, _: FRAME.select(said),
    "lazy": lambda said, _: FRAME.lazy().with_columns(said).collect(),
    "chunks": lambda said, _: pl.concat([FRAME.head(9), FRAME.tail(N - 9)], rechunk=False).with_columns(said),
    "streaming": lambda said, _: FRAME.lazy().with_columns(said).collect(engine="streaming"),
    "scan": lambda said, file: pl.scan_parquet(file).with_columns(said).collect(engine="streaming"),
    "when": lambda said, _: FRAME.with_columns(pl.when(pl.col("g") >= 0).then(said).alias("answer")),
    "filter": lambda said, _: FRAME.lazy().with_columns(said).filter(pl.col("answer").is_not_null()).collect(),
    "head": lambda said, _: FRAME.lazy().with_columns(said).head(N).collect(),
}


@pytest.mark.parametrize("context", IN_ONE)
def test_a_column_is_one_batch(
    context: str, options: dict[str, Any], runs: Callable[[], list[int]], tmp_path: Path
) -> None:
    """Eager, lazy and streaming, of one chunk, of several, and of a file with several row groups."""
    FRAME.write_parquet(tmp_path / "frame.parquet", row_group_size=7)
    found = IN_ONE[context](leeroo.polars.answer("q", **options), tmp_path / "frame.parquet")
    assert found["answer"].to_list() == SAID
    assert runs() == [N]


def test_a_group_is_a_batch_of_its_own(options: dict[str, Any], runs: Callable[[], list[int]]) -> None:
    """As the documentation says of `group_by`."""
    grouped = FRAME.group_by("g", maintain_order=True).agg(leeroo.polars.answer(pl.col("q"), **options))
    assert grouped["answer"].to_list() == [SAID[::2], SAID[1::2]]
    assert runs() == [N // 2, N // 2]


def test_nothing_is_answered_before_rows_are_needed(options: dict[str, Any], tmp_path: Path) -> None:
    """The schema of a lazy frame needs no run."""
    lazy = FRAME.lazy().with_columns(leeroo.polars.answer("q", **options))
    assert lazy.collect_schema()["answer"] == pl.String
    assert not (tmp_path / "store").exists()


def test_null_stays_null(options: dict[str, Any]) -> None:
    """A frame without rows too has the column."""
    frame = pl.DataFrame({"q": [None, "What is 3 plus 3?"]})
    assert frame.with_columns(leeroo.polars.answer("q", **options))["answer"].to_list() == [None, "large says 6"]
    assert FRAME.head(0).with_columns(leeroo.polars.answer("q", **options)).columns == ["q", "g", "answer"]


def test_fields_of_a_struct_are_columns(options: dict[str, Any]) -> None:
    """A prompt names them, and one may mark private rows."""
    frame = pl.DataFrame({"a": [3], "b": [3], "secret": [True]})
    said = leeroo.polars.answer(pl.struct("a", "b"), prompt="What is {a} plus {b}?", **options)
    assert frame.with_columns(said)["answer"].to_list() == ["large says 6"]


def test_labels(api: Provider, api_entry: Callable[..., str], tmp_path: Path) -> None:
    """Each row has one of the labels."""
    api.says = lambda _, prompt: {"bug": 0.9, "billing": 0.1} if "crash" in prompt else {"bug": 0.1, "billing": 0.9}
    (tmp_path / "pool.toml").write_text(api_entry("m", 1, 1))
    frame = pl.DataFrame({"ticket": ["It crashes: a crash.", "I paid twice."]})
    labelled = leeroo.polars.label("ticket", ["bug", "billing"], pool=tmp_path / "pool.toml", store=tmp_path / "store")
    assert frame.with_columns(labelled)["label"].to_list() == ["bug", "billing"]


def test_a_wrong_option_is_the_error_of_the_query(options: dict[str, Any]) -> None:
    """Polars passes our error on as it is."""
    with pytest.raises(UsageError, match="max_cost_usd must be a number of at least 0"):
        FRAME.with_columns(leeroo.polars.answer("q", max_cost_usd=-1, **options))
