"""Inputs against a plain reader: CSV against Python's csv, JSON lines against its json, Parquet against Arrow.

Whatever stands in a file, its rows come out as they are, or one line says why not.
"""

from __future__ import annotations

import csv
import io
import json
import math
import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from leeroo.engine.errors import InputError
from leeroo.engine.tables import open_input, write_table

Cases = Callable[[int], Iterator[tuple[str, random.Random]]]

_PIECES = [
    "a", "B", "word ", " ", "1", "01", "1.10", "-7", "1e9", "true", "NULL", "null", "NaN", "\\", "\\N", "'", '"', '""',
    ",", ";", "|", "\t", "#", "\n", "\r\n", "\r", "ä", "東京", "\U0001f600", "\u2028", "\x00", "\x1e", "=1+1", "{", "[", "\ufeff",
]  # fmt: skip
_WEIRD = ["", "q", "Q", "a b", 'say "x"', "ä", "0", "x.y", "a/b~c", "$", "select", "c0", "column0", "'", "\\", "answer"]


def _text(rng: random.Random, most: int = 6) -> str:
    return "".join(rng.choices(_PIECES, k=rng.randrange(most)))


def _names(rng: random.Random) -> list[str]:
    return rng.sample(_WEIRD, rng.randrange(1, 6))


def _read_or_refuse(path: Path, name: str) -> None:
    """Read a file; an error of ours is one line, another is a fault."""
    said = ""
    try:
        open_input(path).read_all()
    except InputError as error:
        said = str(error)
    except Exception as error:
        raise AssertionError((name, path.read_bytes())) from error
    assert "\n" not in said, (name, path.read_bytes())


def test_csv_is_read_as_the_standard_has_it(cases: Cases, tmp_path: Path) -> None:
    """Any valid CSV file has the rows that Python's csv module reads."""
    path = tmp_path / "t.csv"
    for name, rng in cases(50):
        names = _names(rng)
        rows = [[_text(rng) for _ in names] for _ in range(rng.choice([0, 1, 2, 5, 50]))]
        text = io.StringIO()
        # A row of one empty value needs quotes: a blank line is no row.
        writer = csv.writer(
            text,
            lineterminator=rng.choice(["\n", "\r\n"]),
            quoting=csv.QUOTE_ALL if len(names) == 1 or rng.random() < 0.3 else csv.QUOTE_MINIMAL,
        )
        writer.writerow(names)
        writer.writerows(rows)
        content = text.getvalue().encode()
        path.write_bytes(content if rng.random() < 0.8 else content.rstrip(b"\r\n"))
        read = list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))
        if any(len(row) != len(names) for row in read):
            continue  # Python leaves a lone carriage return without quotes
        table = open_input(path).read_all()
        shown = [[value or "" for value in row] for row in zip(*(c.to_pylist() for c in table.columns), strict=True)]
        assert shown == read[1:], (name, content)
        assert table.column_names == [each or f"column{i}" for i, each in enumerate(read[0])], (name, content)


def test_damaged_csv_is_read_or_refused(cases: Cases, tmp_path: Path) -> None:
    """A file of any bytes is read, or refused in one line; it never hangs and never ends in a foreign error."""
    path = tmp_path / "t.csv"
    for name, rng in cases(40):
        content = bytearray(("q,n\n" + "".join(_text(rng) + rng.choice([",", "\n"]) for _ in range(20))).encode())
        for _ in range(rng.randrange(4)):
            content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(content)
        _read_or_refuse(path, name)


def _value(rng: random.Random, depth: int = 0) -> Any:
    kinds: list[Callable[[], Any]] = [
        lambda: None,
        lambda: rng.random() < 0.5,
        lambda: rng.choice([0, 1, -5, 2**53 + 1, -(2**63), 2**64, 10**30]),
        lambda: rng.choice([0.5, -0.0, 1.0, 1e-300, 1e22, math.nan, math.inf]),
        lambda: _text(rng),
        lambda: [_value(rng, depth + 1) for _ in range(rng.randrange(3))],
        lambda: {_text(rng, 3): _value(rng, depth + 1) for _ in range(rng.randrange(3))},
    ]
    return rng.choice(kinds if depth < 2 else kinds[:5])()


def _valid(value: Any) -> Any:
    """Return a value as JSON can hold it."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [_valid(each) for each in value]
    return {key: _valid(each) for key, each in value.items()} if isinstance(value, dict) else value


def test_json_lines_keep_every_value(cases: Cases, tmp_path: Path) -> None:
    """Any objects go in and come out of JSON lines as they were, with NULL for keys that a row lacks."""
    path, out = tmp_path / "t.jsonl", tmp_path / "o.jsonl"
    for name, rng in cases(15):
        keys = [key for key in _names(rng) if key]
        column = {key: rng.choice([None, _text, _value]) for key in keys}
        rows = [
            {key: make(rng) if make else rng.randrange(9) for key, make in column.items() if rng.random() < 0.8}
            for _ in range(rng.choice([1, 2, 5, 50]))
        ]
        content = "".join(json.dumps(row, ensure_ascii=rng.random() < 0.5) + "\n" for row in rows)
        path.write_text(content, encoding="utf-8", newline="")
        table = open_input(path).read_all()
        there = list(dict.fromkeys(key for row in rows for key in row))
        assert table.column_names == there, (name, content)
        if there:
            write_table(table.to_reader(), out)
            written = [json.loads(line) for line in out.read_text(encoding="utf-8").split("\n") if line]
            assert written == [{key: _valid(row.get(key)) for key in there} for row in rows], (name, content)


def test_damaged_json_is_read_or_refused(cases: Cases, tmp_path: Path) -> None:
    """Lines of any bytes are read, or refused in one line."""
    for name, rng in cases(40):
        path = tmp_path / rng.choice(["t.jsonl", "t.json"])
        content = bytearray("\n".join(json.dumps({"q": _value(rng)}) for _ in range(5)).encode())
        for _ in range(rng.randrange(4)):
            content[rng.randrange(len(content))] = rng.choice([*b'{}[]",:\\u\n\x00', rng.randrange(256)])
        path.write_bytes(content)
        _read_or_refuse(path, name)


def _kind(rng: random.Random) -> pa.DataType:
    plain = [pa.int8(), pa.int64(), pa.uint64(), pa.float32(), pa.float64(), pa.bool_(), pa.string(), pa.large_string(), pa.date32(), pa.timestamp("us"), pa.decimal128(20, 3), pa.binary()]  # fmt: skip
    one = rng.choice(plain)
    return rng.choice([one, one, one, pa.list_(one), pa.struct([("a", one), ("b", pa.string())])])


def test_parquet_keeps_every_value(cases: Cases, tmp_path: Path) -> None:
    """Any columns come out of a Parquet file as they went in, and can be written as CSV and JSON lines."""
    import numpy as np

    path = tmp_path / "t.parquet"
    for name, rng in cases(20):
        columns = {}
        n = rng.choice([0, 1, 3, 100])
        for key in filter(None, _names(rng)):
            kind = _kind(rng)
            inner = (
                kind.value_type if pa.types.is_list(kind) else kind.field(0).type if pa.types.is_struct(kind) else kind
            )
            ints = pa.array(np.array([rng.randrange(100) for _ in range(n)], np.int64))
            texts = pa.array([None if rng.random() < 0.2 else _text(rng) for _ in range(n)], pa.string())
            if pa.types.is_string(inner) or pa.types.is_large_string(inner) or pa.types.is_binary(inner):
                values = texts.cast(inner)
            elif pa.types.is_date(inner):
                values = ints.cast(pa.int32()).cast(inner)
            elif pa.types.is_decimal(inner):
                values = pa.array([Decimal(v) / 8 for v in ints.to_pylist()], inner)
            else:
                values = ints.cast(inner)
            if pa.types.is_list(kind):
                values = pa.array([[v] * rng.randrange(3) for v in values.to_pylist()], kind)
            elif pa.types.is_struct(kind):
                values = pa.StructArray.from_arrays([values, texts], fields=list(kind))
            columns[key] = values
        if not columns:
            continue
        table = pa.table(columns)
        pq.write_table(table, path, row_group_size=rng.choice([1, 50, 1000]))
        read = open_input(path).read_all()
        assert read.to_pylist() == table.to_pylist(), (name, table.schema)
        for out in ("o.csv", "o.jsonl", "o.parquet"):
            assert write_table(read.to_reader(), tmp_path / out) == n, (name, table.schema)
