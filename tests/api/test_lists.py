"""Lists of texts in, Arrow tables out."""

from __future__ import annotations

from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import leeroo
from leeroo.engine.errors import UsageError
from leeroo.engine.schema import ANSWERS


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list_becomes_a_table(options: dict[str, Any], kind: Any) -> None:
    """The texts are the first column, in their order; None is not answered."""
    found = leeroo.answer(kind(["What is 3 plus 3?", None, "What is 1 plus 1?"]), **options)
    assert isinstance(found, pa.Table)
    assert found.column_names[: 1 + len(ANSWERS)] == ["question", *ANSWERS.names]
    assert found.column("question").to_pylist() == ["What is 3 plus 3?", None, "What is 1 plus 1?"]
    assert found.column("answer").to_pylist() == ["large says 6", None, "large says 2"]


def test_the_column_is_the_one_that_is_named(options: dict[str, Any]) -> None:
    """It is the field of a prompt, too."""
    assert leeroo.answer(["What is 3 plus 3?"], column="asked", **options).column_names[0] == "asked"
    filled = leeroo.answer(["3 plus 3"], prompt="What is {sum}?", **options)
    assert filled.column_names[0] == "sum"
    assert filled.column("answer").to_pylist() == ["large says 6"]


@pytest.mark.parametrize("series", [pl.Series("x", ["What is 3 plus 3?"]), pd.Series(["What is 3 plus 3?"], index=[7])])
def test_a_series_becomes_a_frame_of_its_library(options: dict[str, Any], series: Any) -> None:
    """Series of Polars and pandas are tables with one column."""
    found = leeroo.answer(series, **options)
    assert type(found) is type(series.to_frame())
    assert list(found.columns[:2]) == ["question", "answer"]
    assert list(found["answer"]) == ["large says 6"]


def test_an_empty_list_is_an_empty_table(options: dict[str, Any]) -> None:
    """Its columns are there."""
    found = leeroo.answer([], **options)
    assert found.num_rows == 0
    assert "answer" in found.column_names


def test_half_characters_become_the_replacement_character(options: dict[str, Any]) -> None:
    """Text that UTF-8 cannot hold costs no other row."""
    with pytest.warns(leeroo.RowsFailedWarning):
        found = leeroo.answer(["What is 3 plus 3?", "\ud800"], **options)
    assert found.column("question").to_pylist()[1] == "\ufffd"
    assert found.column("answer").to_pylist()[0] == "large says 6"


@pytest.mark.parametrize("function", [leeroo.answer, leeroo.solve, lambda given: leeroo.label(given, ["a", "b"])])
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("Who wrote Faust?", r"one text alone is no table: give a list, such as \['Who wrote Faust\?'\]"),
        (["a", 5], "item 2 of the list is of type int: a list holds texts and None"),
    ],
)
def test_what_is_no_list_of_texts_is_one_line(function: Any, given: Any, says: str) -> None:
    """One text alone, and numbers, are refused before anything is opened."""
    with pytest.raises(UsageError, match=says):
        function(given)
