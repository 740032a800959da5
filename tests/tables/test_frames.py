"""A data frame comes back as it was, with the new columns after its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import leeroo
from leeroo.engine.errors import InputError

ASKED = ["What is 3 plus 3?", "What is 1 plus 1?"]
SAID = ["large says 6", "large says 2"]


@pytest.fixture
def options(pool_file: Path, tmp_path: Path) -> dict[str, Any]:
    """Provide the replayed pool, with a store of its own."""
    return {"pool": pool_file, "store": tmp_path / "store"}


def test_a_pandas_frame_comes_back_as_it_was(options: dict[str, Any]) -> None:
    """Index, dtypes, objects and duplicate names are those of the frame; the frame itself is not changed."""
    frame = pd.DataFrame(
        {
            "question": ASKED,
            "big": pd.array([None, 9007199254740993], dtype="Int64"),
            "kind": pd.Categorical(["x", "y"]),
            "sparse": pd.arrays.SparseArray([0, 1]),
            "object": [{1, 2}, object],
        },
        index=pd.MultiIndex.from_tuples([("a", 1), ("a", 1)]),
    )
    frame = pd.concat([frame, frame[["kind"]]], axis=1)
    before = frame.copy()
    found = leeroo.answer(frame, **options)
    pd.testing.assert_frame_equal(found.iloc[:, : frame.shape[1]], before)
    pd.testing.assert_frame_equal(frame, before)
    assert found["answer"].tolist() == SAID


@pytest.mark.parametrize("dtype", [pl.String, pl.Categorical, pl.Enum(ASKED)])
def test_a_polars_frame_comes_back_as_it_was(options: dict[str, Any], dtype: Any) -> None:
    """Dtypes stay, also those that Arrow does not have; text of every kind can be a question."""
    frame = pl.DataFrame(
        {
            "question": pl.Series(ASKED, dtype=dtype),
            "n": pl.Series([2**100, 1], dtype=pl.Int128),
            "o": pl.Series([object(), object()], dtype=pl.Object),
        }
    )
    found = leeroo.answer(frame, **options)
    assert found.select(frame.columns).schema == frame.schema
    assert found["n"].to_list() == [2**100, 1]
    assert found["answer"].to_list() == SAID


def test_a_lazy_frame_is_computed_once(options: dict[str, Any]) -> None:
    """The result of a lazy frame is what comes back."""
    runs: list[int] = []

    def count(frame: pl.DataFrame) -> pl.DataFrame:
        runs.append(1)
        return frame

    found = leeroo.answer(pl.LazyFrame({"question": ASKED}).map_batches(count), **options)
    assert found["answer"].to_list() == SAID
    assert len(runs) == 1


def test_an_arrow_table_keeps_its_types(options: dict[str, Any]) -> None:
    """Dictionaries of string views can be questions; durations and dictionaries come back."""
    views = pa.DictionaryArray.from_arrays(pa.array([1, 0], pa.uint32()), pa.array(ASKED[::-1], pa.string_view()))
    table = pa.table({"question": views, "d": pa.array([1, 2], pa.duration("s"))})
    found = leeroo.answer(table, **options)
    assert found.select(["question", "d"]).equals(table)
    assert found.column("answer").to_pylist() == SAID


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (pd.DataFrame([["a", "b"]], columns=["question", "question"]), "more than one column 'question'"),
        (pd.DataFrame({"question": ["a", 5]}), "the column 'question' of the data frame cannot be read"),
        (pl.DataFrame({"question": pl.Series([2**100], dtype=pl.Int128)}), "'question'"),
        (pd.DataFrame({"question": ["a"], "Answer": ["b"]}), "already has the column 'answer'"),
        (pd.DataFrame({"text": ["a"], "id": [1]}), "no column 'question'; its columns are: text, id"),
    ],
)
def test_a_column_that_is_no_text_is_one_line(options: dict[str, Any], frame: Any, says: str) -> None:
    """The column is named, without a traceback of another library's."""
    with pytest.raises(InputError, match=says) as error:
        leeroo.answer(frame, **options)
    assert "\n" not in str(error.value)


def test_sparse_and_empty_columns_are_read(options: dict[str, Any]) -> None:
    """A sparse column of text is filled in; a frame without rows has no answers, whatever its dtype."""
    sparse = pd.DataFrame({"question": pd.arrays.SparseArray(ASKED, dtype=pd.SparseDtype("object", None))})
    assert leeroo.answer(sparse, **options)["answer"].tolist() == SAID
    for empty in (pd.DataFrame({"question": []}), pd.DataFrame({"question": pd.Series([], dtype="float64")})):
        assert list(leeroo.answer(empty, **options).columns[:2]) == ["question", "answer"]


def test_json_of_a_relation_is_asked_as_text(options: dict[str, Any]) -> None:
    """Texts of a JSON column have no quotes in a prompt, and the column comes back as JSON."""
    con = duckdb.connect()
    relation = con.sql(
        "SELECT to_json(q) AS question, to_json([q]) AS list FROM unnest($asked) t(q)", params={"asked": ASKED}
    )
    found = leeroo.answer(relation, **options)
    assert found.select("answer").fetchall() == [(each,) for each in SAID]
    assert found.types[:2] == relation.types == ["JSON", "JSON"]
    assert found.select("question", "list").fetchall() == relation.fetchall()


def test_labels_and_solutions_join_a_frame_too(options: dict[str, Any]) -> None:
    """The other functions for frames keep the frame in the same way."""
    frame = pd.DataFrame({"question": ASKED, "big": pd.array([None, 9007199254740993], dtype="Int64")}, index=[7, 9])
    for found in (leeroo.solve(frame, **options), leeroo.label(frame, ["a", "b"], column="question", **options)):
        pd.testing.assert_frame_equal(found[["question", "big"]], frame)
