"""CSV as RFC 4180 has it: nothing about it is guessed, and every value is the text that stands in the file."""

from __future__ import annotations

import csv
import itertools
import re
from collections.abc import Iterator, Sequence

import pyarrow as pa

from leeroo.engine.errors import InputError
from leeroo.engine.tables.inputs import Kind, Layout, is_url, pattern_of
from leeroo.engine.tables.streams import Stream, read
from leeroo.engine.tables.values import quote_text

# A row may be so long; DuckDB reads files in buffers of this size.
_ROW_BYTES = 1 << 25
# Stands in no text: a file whose first row has one value holds one column, also where there are commas in its rows.
_NO_DELIMITER = "\x1f"
_ROWS = """
FROM read_csv(getvariable('files'), auto_detect = false, columns = {columns}, delim = {delimiter}, quote = '"',
              escape = '"', comment = '', header = {header}, strict_mode = true, allow_quoted_nulls = false,
              max_line_size = {most}, buffer_size = {most}, hive_partitioning = false)
"""
_FIRST_LINE = f"""
FROM read_csv(getvariable('files'), auto_detect = false, columns = {{'line': 'VARCHAR'}}, delim = '{_NO_DELIMITER}',
              quote = '', escape = '', header = false) LIMIT 1
"""
_WHERE = re.compile(r"CSV Error on Line: (\d+)")
_WHY = re.compile(r"Expected Number of Columns: (\d+) Found: (\d+)|Value with unterminated quote found|Invalid unicode")


def csv_streams(paths: Sequence[str], kind: Kind, layout: Layout) -> list[Stream]:
    """Return a stream for each run of files that have the same columns."""
    delimiter = layout.delimiter or ("\t" if kind == "tsv" else ",")
    heads = [(path, _head(path, delimiter)) for path in paths]
    return [
        _stream([path for path, _ in same], head if layout.header else [""] * len(head), delimiter, layout.header)
        for head, same in itertools.groupby(heads, key=lambda each: each[1])
    ]


def why_no_csv(error: BaseException) -> str:
    """Return where and why DuckDB cannot read a CSV file."""
    text = str(error).strip()
    where, why = _WHERE.search(text), _WHY.search(text)
    if where is None or why is None:
        return text.splitlines()[0]
    if why.group(1):
        reason = (
            f"it has {why.group(2)} values, the first line has {why.group(1)}; quote values with delimiters in them"
        )
    elif why.group().startswith("Value"):
        reason = "a quoted value does not end, or goes on after its end"
    else:
        reason = "it is not UTF-8; name the encoding with --encoding, such as latin-1 or utf-16"
    return f"line {where.group(1)}: {reason}"


def _head(path: str, delimiter: str) -> list[str]:
    """Return the values of the first row."""
    if is_url(path):
        first = read(_FIRST_LINE, [path]).read_all().to_pydict().get("line") or [""]
        return next(csv.reader(first, delimiter=delimiter), [])
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return next((row for row in csv.reader(file, delimiter=delimiter) if row), [])
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8; name its encoding with --encoding, such as latin-1 or utf-16"
        ) from error
    except (csv.Error, TypeError) as error:
        raise InputError(f"{path} cannot be read as CSV: line 1: {error}") from error


def _stream(paths: Sequence[str], head: Sequence[str], delimiter: str, header: bool) -> Stream:
    schema = pa.schema([pa.field(name or f"column{i}", pa.string()) for i, name in enumerate(head)])
    query = _ROWS.format(
        columns="{" + ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(head))) + "}",
        delimiter=quote_text(delimiter if len(head) > 1 else _NO_DELIMITER),
        header=header,
        most=_ROW_BYTES,
    )

    def batches() -> Iterator[pa.RecordBatch]:
        if head:
            for batch in read(query, [pattern_of(path) for path in paths]):
                yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)

    return Stream(schema, batches)
