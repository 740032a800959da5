"""What other programs read is valid: JSON without NaN, digits kept, nested cells as JSON, no formulas for people."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from leeroo.engine.tables import open_input, write_table
from leeroo.engine.tables.values import without_formulas

NAN = float("nan")


def _written(path: Path, table: pa.Table) -> list[dict[str, Any]]:
    write_table(table.to_reader(), path)
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return [json.loads(line, parse_constant=refuse, parse_int=str) for line in path.read_text().splitlines()]


def test_no_number_of_json_is_nan(tmp_path: Path) -> None:
    """NaN and infinities are null, in lists and structures too; what is NULL stays so."""
    table = pa.table(
        {
            "x": [NAN, 1.5],
            "l": pa.array([[NAN, 2.0], None], pa.list_(pa.float32())),
            "s": pa.array([{"a": float("inf"), "b": [{"c": NAN}]}, None]),
        }
    )
    assert _written(tmp_path / "o.jsonl", table) == [
        {"x": None, "l": [None, 2.0], "s": {"a": None, "b": [{"c": None}]}},
        {"x": 1.5, "l": None, "s": None},
    ]


def test_digits_are_kept(tmp_path: Path) -> None:
    """A decimal of 30 digits and the largest integers come out whole."""
    big = "123456789012345678901234567890"
    table = pa.table({"d": pa.array([Decimal(big)], pa.decimal128(38, 0)), "u": pa.array([2**64 - 1], pa.uint64())})
    for name in ("o.jsonl", "o.csv"):
        assert _written(tmp_path / name, table) == [{"d": big, "u": str(2**64 - 1)}]


def test_nested_cells_are_json(tmp_path: Path) -> None:
    """A list or a structure in CSV is JSON, text is as it is."""
    table = pa.table({"l": [["a, b", None]], "s": [{"a": 'say "x"', "n": [1]}], "t": ["[1]"]})
    [row] = _written(tmp_path / "o.csv", table)
    assert json.loads(row["l"]) == ["a, b", None]
    assert json.loads(row["s"]) == {"a": 'say "x"', "n": [1]}
    assert row["t"] == "[1]"


@pytest.mark.parametrize("name", ["o.csv", "o.jsonl", "o.parquet"])
def test_names_that_differ_by_case_stay(tmp_path: Path, name: str) -> None:
    """Columns are written under their own names, and read again under these."""
    table = pa.table({"ID": ["a", "b"], "id": ["c", None], 'say "x"': ["d", "e"], "Id": ["f", "g"]})
    assert write_table(table.to_reader(), tmp_path / name) == 2
    assert open_input(tmp_path / name).read_all().to_pydict() == table.to_pydict()


def test_columns_of_one_name_are_written(tmp_path: Path) -> None:
    """CSV has the name twice, as in the input; keys of JSON have numbers, for programs keep one key of each name."""
    table = pa.Table.from_arrays([pa.array(["x"]), pa.array(["y"]), pa.array(["z"])], ["a", "a", "a_1"])
    write_table(table.to_reader(), tmp_path / "o.csv")
    assert (tmp_path / "o.csv").read_text() == "a,a,a_1\nx,y,z\n"
    assert _written(tmp_path / "o.jsonl", table) == [{"a": "x", "a_1": "y", "a_1_1": "z"}]


@pytest.mark.parametrize(("name", "content"), [("o.csv", "a,B\n"), ("o.tsv", "a\tB\n"), ("o.jsonl", "")])
def test_a_table_without_rows_is_written(tmp_path: Path, name: str, content: str) -> None:
    """A file of CSV has the names of its columns all the same."""
    assert (
        write_table(
            pa.table({"a": pa.array([], pa.int64()), "B": pa.array([], pa.string())}).to_reader(), tmp_path / name
        )
        == 0
    )
    assert (tmp_path / name).read_text() == content


def test_rows_of_large_tables_keep_their_order(tmp_path: Path) -> None:
    """The names come first, and the rows follow as they came."""
    table = pa.table({"n": pa.array(range(300_000))})
    assert write_table(table.to_reader(10_000), tmp_path / "o.csv") == 300_000
    assert (tmp_path / "o.csv").read_text().split() == ["n", *map(str, range(300_000))]


def test_people_get_no_formulas() -> None:
    """A text that begins as a formula does has an apostrophe before it; numbers and other texts stay."""
    table = pa.table({"t": ["=1+1", "@x", "-2", "+3", "a=b", None, "\t=x"], "n": [-1] * 7})
    found = without_formulas(table)
    assert found.column("t").to_pylist() == ["'=1+1", "'@x", "'-2", "'+3", "a=b", None, "'\t=x"]
    assert found.column("n").to_pylist() == [-1] * 7
