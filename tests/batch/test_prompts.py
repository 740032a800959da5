"""Rows become distinct questions, and the input is checked before anything is spent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from leeroo.engine import locks
from leeroo.engine.batch.criteria import Criteria
from leeroo.engine.batch.prompts import read_input
from leeroo.engine.batch.worktable import Worktable
from leeroo.engine.errors import InputError, UsageError
from leeroo.engine.schema import ASK


@pytest.fixture
def worktable(tmp_path: Path) -> Iterator[Worktable]:
    """Provide a working folder."""
    worktable = Worktable(tmp_path)
    yield worktable
    worktable.close()


def _distinct(worktable: Worktable) -> list[tuple[str, int, int]]:
    return worktable._con.execute("SELECT question, rows, first_row FROM questions ORDER BY id").fetchall()


def test_equal_questions_are_one(worktable: Worktable) -> None:
    """Distinct questions are numbered by first appearance and count their rows; NULL is no question."""
    table = pa.table({"question": ["b", "a", None, "b", "a", "b"]})
    found = read_input(table.to_reader(), Criteria(), worktable)
    assert (found.rows, found.distinct) == (6, 2)
    assert _distinct(worktable) == [("b", 3, 0), ("a", 2, 1)]


def test_private_and_public_questions_differ(worktable: Worktable) -> None:
    """A private row is a question of its own, though a public one has the same words."""
    table = pa.table({"question": ["a", "a", "a"], "secret": [True, False, None]})
    assert read_input(table.to_reader(), Criteria(private_column="secret"), worktable).distinct == 2


def test_arguments_of_a_row_make_another_question(worktable: Worktable) -> None:
    """The same words under another system text, limit or expert are another question."""
    asks = [
        {"system": "x"},
        {"system": "x"},
        {"system": "y"},
        {"max_tokens": 5},
        {"expert": "x"},
        None,
        {"system": None},
    ]
    table = pa.table({"question": ["a"] * 7, "ask": pa.array(asks, pa.struct(list(ASK)))})
    assert read_input(table.to_reader(), Criteria(ask_column="ask"), worktable).distinct == 5


def test_another_conversation_makes_another_question(worktable: Worktable) -> None:
    """The same last words after another conversation are another question, whatever the texts look like."""
    turns = '[{"role": "user", "content": "x"}]'
    asks = [{"turns": turns}, {"turns": turns}, {"turns": "[]"}, None]
    questions = ["a", "a", "a", f"{len(turns)}|{turns}|a"]
    table = pa.table({"question": questions, "ask": pa.array(asks, pa.struct(list(ASK)))})
    assert read_input(table.to_reader(), Criteria(ask_column="ask"), worktable).distinct == 3


def test_no_other_file_is_opened(worktable: Worktable, tmp_path: Path) -> None:
    """The working database reads and writes no files but its own, and its settings are locked."""
    with pytest.raises(duckdb.PermissionException):
        worktable._con.execute(f"COPY (SELECT 1) TO '{tmp_path / 'out.csv'}'")
    with pytest.raises(duckdb.InvalidInputException):
        worktable._con.execute("SET enable_external_access = true")


def test_sampled_rows_are_their_own(worktable: Worktable) -> None:
    """At a temperature above 0 equal rows are sampled one by one; at 0 they are one."""
    asks = pa.array([{"temperature": 0.7}] * 3 + [{"temperature": 0.0}] * 3, pa.struct([("temperature", pa.float64())]))
    table = pa.table({"question": ["a"] * 6, "ask": asks})
    assert read_input(table.to_reader(), Criteria(ask_column="ask"), worktable).distinct == 4


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())])
def test_text_of_any_kind_is_read(worktable: Worktable, kind: pa.DataType) -> None:
    """Large strings, string views and dictionaries hold questions as well."""
    table = pa.table({"question": pa.array(["a", "b", "a"]).cast(kind)})
    assert read_input(table.to_reader(), Criteria(), worktable).distinct == 2


@pytest.mark.parametrize("text", ["", " ", "\t\n", "\u2003\u00a0", "\u200b", "\x00"])
def test_blank_text_is_no_question(worktable: Worktable, text: str) -> None:
    """Empty text, and text of nothing but white space or control characters, is no question."""
    read_input(pa.table({"question": [text, "no"]}).to_reader(), Criteria(), worktable)
    assert worktable._con.execute("SELECT question FROM questions").fetchall() == [("no",)]


@pytest.mark.parametrize("text", ["NUL \x00 inside", "שלום, מה שלומך?", "👩‍👩‍👧 emoji", "x" * 1_000_000])
def test_odd_text_goes_through_unharmed(worktable: Worktable, text: str) -> None:
    """NUL bytes, right-to-left text, emoji and very long text are questions like any other."""
    read_input(pa.table({"question": [text]}).to_reader(), Criteria(), worktable)
    assert worktable._con.execute("SELECT question FROM questions").fetchall() == [(text,)]


def test_a_missing_column_is_named_with_those_there_are(worktable: Worktable) -> None:
    """The message names the missing column, the columns there are, and the option that chooses."""
    with pytest.raises(
        InputError, match=r"no column 'question'; its columns are: prompt, id \(choose one with column=\)"
    ):
        read_input(pa.table({"prompt": ["a"], "id": [1]}).to_reader(), Criteria(), worktable)


def test_a_column_of_numbers_is_refused(worktable: Worktable) -> None:
    """A question column that is no text is refused with its type."""
    with pytest.raises(InputError, match="'question' is of type int64, not text"):
        read_input(pa.table({"question": [1]}).to_reader(), Criteria(), worktable)


@pytest.mark.parametrize(
    "marks",
    [[True, False, None], [1, 0, None], ["true", "False", None], ["YES", " no ", ""], ["1", "0", " "]],
)
def test_a_row_is_private_unless_it_says_no(worktable: Worktable, marks: list[Any]) -> None:
    """True and false, 1 and 0, yes and no are read; a row that says nothing is private."""
    table = pa.table({"question": ["a", "b", "c"], "p": marks})
    read_input(table.to_reader(), Criteria(private_column="p"), worktable)
    found = worktable._con.execute("SELECT question, private FROM questions ORDER BY id").fetchall()
    assert found == [("a", True), ("b", False), ("c", True)]


@pytest.mark.parametrize(("marks", "says"), [(["no", "maybe"], "row 2 .*'p' is 'maybe'"), ([0, 2], "row 2 .*'p' is 2")])
def test_a_value_that_is_neither_yes_nor_no_is_named(worktable: Worktable, marks: list[Any], says: str) -> None:
    """A wrong value is refused with its row, because a misreading would leak it."""
    table = pa.table({"question": ["a", "b"], "p": marks})
    with pytest.raises(InputError, match=says):
        read_input(table.to_reader(), Criteria(private_column="p"), worktable)


def test_a_private_column_of_another_type_is_refused(worktable: Worktable) -> None:
    """A column of fractions cannot mark rows."""
    with pytest.raises(InputError, match="'p' is of type double"):
        read_input(pa.table({"question": ["a"], "p": [0.5]}).to_reader(), Criteria(private_column="p"), worktable)


def test_an_input_that_breaks_off_is_one_line(worktable: Worktable) -> None:
    """An error of the reader in the middle comes out as one sentence."""

    def broken() -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pydict({"question": ["a"]})
        raise OSError("the cable was cut")

    reader = pa.RecordBatchReader.from_batches(pa.schema([("question", pa.string())]), broken())
    with pytest.raises(InputError, match="cannot be read to its end: .*the cable was cut"):
        read_input(reader, Criteria(), worktable)


def test_impossible_numbers_are_refused() -> None:
    """A negative or infinite budget, and a budget together with a cost weight, are refused by name."""
    for bad in (-1.0, float("nan"), float("inf")):
        with pytest.raises(UsageError, match="max_cost_usd must be a number"):
            Criteria(max_cost_usd=bad)
    with pytest.raises(UsageError, match="not both"):
        Criteria(max_cost_usd=1, cost_weight=1)


def test_working_folders_of_the_dead_are_swept(tmp_path: Path) -> None:
    """A folder whose process is gone is removed, one in use stays."""
    living = Worktable(tmp_path)
    dead = tmp_path / "dead"
    dead.mkdir()
    (dead / "rows.duckdb").touch()
    dead.with_suffix(".lock").touch()
    locks.sweep(tmp_path)
    assert living.folder.exists()
    assert not dead.exists()
    living.close()
    assert not living.folder.exists()
