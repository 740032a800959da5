"""What other programs read is valid: JSON without NaN, digits kept, nested cells as JSON, no formulas for people."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

from leeroo.engine.tables import write_table
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


def test_names_that_differ_by_case_stay(tmp_path: Path) -> None:
    """Columns are written under their own names."""
    assert _written(tmp_path / "o.csv", pa.table({"ID": ["a"], 'say "x"': ["b"]})) == [{"ID": "a", 'say "x"': "b"}]


def test_people_get_no_formulas() -> None:
    """A text that begins as a formula does has an apostrophe before it; numbers and other texts stay."""
    table = pa.table({"t": ["=1+1", "@x", "-2", "+3", "a=b", None, "\t=x"], "n": [-1] * 7})
    found = without_formulas(table)
    assert found.column("t").to_pylist() == ["'=1+1", "'@x", "'-2", "'+3", "a=b", None, "'\t=x"]
    assert found.column("n").to_pylist() == [-1] * 7
