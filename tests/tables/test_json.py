"""JSON lines with any keys in any row; every value keeps its own type and its digits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from leeroo.engine.errors import InputError
from leeroo.engine.tables import open_input, write_table
from leeroo.engine.tables.values import as_text


def _table(path: Path, *lines: str) -> pa.Table:
    path.write_text("\n".join(lines), encoding="utf-8")
    return open_input(path).read_all()


def test_keys_of_all_rows_are_columns(tmp_path: Path) -> None:
    """Rows have different keys, one of them late; what a row lacks is NULL."""
    table = _table(tmp_path / "t.jsonl", *(['{"q": "a", "n": 1}'] * 30_000), '{"late": "b", "a/b~c": true}')
    assert table.column_names == ["q", "n", "late", "a/b~c"]
    assert table.num_rows == 30_001
    assert table.slice(30_000).to_pylist() == [{"q": None, "n": None, "late": "b", "a/b~c": True}]


def test_a_number_among_texts_is_its_text(tmp_path: Path) -> None:
    """Questions of several types are read as text, and come out in their own types."""
    table = _table(tmp_path / "t.jsonl", '{"q": "say \\"a\\""}', '{"q": 42}', '{"q": null}', '{"q": {"a": [1]}}')
    assert as_text(table.column("q")).to_pylist() == ['say "a"', "42", None, '{"a":[1]}']
    write_table(table.to_reader(), tmp_path / "o.jsonl")
    written = [json.loads(line)["q"] for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert written == ['say "a"', 42, None, {"a": [1]}]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "-2", "9223372036854775807"], pa.int64()),
        (["0.25", "1.5"], pa.float64()),
        (["true", "null"], pa.bool_()),
        (['"2024-01-01"', '"x"'], pa.string()),
        (["12345678901234567890123", "1"], pa.json_()),
        (["9007199254740993", "0.5"], pa.json_()),
        (["18446744073709551615"], pa.json_()),
        (["1e400"], pa.json_()),
        (["1", "true"], pa.json_()),
        (["[1, 2]", "[]"], pa.json_()),
    ],
)
def test_values_keep_their_types_and_digits(tmp_path: Path, values: list[str], kind: pa.DataType) -> None:
    """A column has a type of Arrow's that holds all its values, else it is JSON as written."""
    table = _table(tmp_path / "t.jsonl", *(f'{{"v": {value}}}' for value in values))
    assert table.schema.field("v").type == kind
    write_table(table.to_reader(), tmp_path / "o.jsonl")
    lines = (tmp_path / "o.jsonl").read_text().splitlines()
    # Numbers as text: Python would round them.
    read: Any = [json.loads(line, parse_int=str, parse_float=str)["v"] for line in lines]
    assert read == [json.loads(value, parse_int=str, parse_float=str) for value in values]


def test_json_as_python_writes_it_is_read(tmp_path: Path) -> None:
    """NaN and infinities are NULL, half characters U+FFFD; the word NaN in a text stays."""
    table = _table(tmp_path / "t.jsonl", '{"x": NaN, "t": "NaN or \\ud83d", "n": {"a": -Infinity}}')
    assert table.to_pylist() == [{"x": None, "t": "NaN or \ufffd", "n": '{"a":null}'}]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"q": "a"}\n{"q": oops}\n', "line 2 is not JSON"),
        ('{"q": "a"}\n[1]\n', "line 2 is no JSON object"),
        ("5\n", "line 1 is no JSON object"),
    ],
)
def test_a_line_that_is_no_object_is_numbered(tmp_path: Path, text: str, says: str) -> None:
    """The error says which line is wrong."""
    (tmp_path / "t.jsonl").write_text(text)
    with pytest.raises(InputError, match=says):
        open_input(tmp_path / "t.jsonl").read_all()


def test_a_list_of_objects_is_read(tmp_path: Path) -> None:
    """A .json file may hold one list, on as many lines as it likes."""
    table = _table(tmp_path / "t.json", "[", '{"q": "a"},', '{"q": "b",', '"n": 1}', "]")
    assert table.to_pylist() == [{"q": "a", "n": None}, {"q": "b", "n": 1}]
