"""Data frames in and out. A frame keeps its own columns: only those that a run needs are read."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from leeroo.engine.errors import InputError, UsageError
from leeroo.engine.tables.streams import BATCH_ROWS, read_relation

# Characters of a text that an error quotes.
_SHOWN = 40


def as_frame(given: Any, column: str) -> Any:
    """Return a frame itself, what a lazy frame of Polars computes, or a list or series as a table with one column.

    Raises:
        UsageError: it is one text alone, or a list that holds something else.
    """
    if isinstance(given, str):
        raise UsageError(f"one text alone is no table: give a list, such as [{_shortened(given)!r}]")
    if _library(given) in ("polars", "pandas") and hasattr(given, "to_frame"):
        return given.to_frame(column)
    if not isinstance(given, list | tuple):
        return _eager(given)
    for i, each in enumerate(given):
        if each is not None and not isinstance(each, str):
            raise UsageError(f"item {i + 1} of the list is of type {type(each).__name__}: a list holds texts and None")
    return pa.table({column: pa.array(map(_whole, given), pa.string())})


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _whole(text: str | None) -> str | None:
    return None if text is None else _text(text)


def _eager(frame: Any) -> Any:
    return frame.collect() if _library(frame) == "polars" and hasattr(frame, "collect") else frame


def from_frame(frame: Any, columns: Collection[str] | None = None) -> pa.RecordBatchReader:
    """Read the rows of a Polars, pandas or Arrow table, or of a DuckDB relation.

    Half characters in Python strings, which text cannot hold, become U+FFFD.

    Args:
        frame: The table.
        columns: Those that are needed; the others of a table in memory are there by name, as NULL. None is all.

    Raises:
        InputError: it is none of these, or a column or the relation cannot be read.
    """
    if isinstance(frame, pa.RecordBatchReader):
        return frame
    if isinstance(frame, duckdb.DuckDBPyRelation):
        try:
            return read_relation(frame)
        except duckdb.Error as error:
            raise InputError(f"the relation cannot be read: {str(error).splitlines()[0]}") from error
    frame = _eager(frame)
    if _is_table(frame):
        names = _names(frame)
        arrays = [
            _column(frame, i, name) if columns is None or name in columns else pa.nulls(len(frame))
            for i, name in enumerate(names)
        ]
        return pa.Table.from_arrays(arrays, names).to_reader(BATCH_ROWS)
    if hasattr(frame, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(frame)
    raise InputError(
        f"cannot read rows from {type(frame).__name__}; give a Polars, pandas or Arrow table or a DuckDB relation"
    )


def like_frame(reader: pa.RecordBatchReader, frame: Any) -> Any:
    """Return the same kind of table as `frame`: its own columns as they are, and those that the reader has after them.

    It is an Arrow table where there is no such kind.
    """
    table = reader.read_all()
    if isinstance(frame, duckdb.DuckDBPyRelation):
        return duckdb.from_arrow(table)
    if not _is_table(frame):
        return table
    added = table.select(range(len(_names(frame)), table.num_columns))
    if _library(frame) == "polars":
        import polars

        return frame.hstack(polars.DataFrame(polars.from_arrow(added)))
    joined = frame if isinstance(frame, pa.Table) else frame.copy(deep=False)
    for name, column in zip(added.column_names, added.columns, strict=True):
        if isinstance(frame, pa.Table):
            joined = joined.append_column(added.schema.field(name), column)
        else:
            joined[name] = column.to_pandas().array
    return joined


def _library(frame: Any) -> str:
    return type(frame).__module__.partition(".")[0]


def _is_table(frame: Any) -> bool:
    """Return whether a frame has its columns in memory, by name."""
    return isinstance(frame, pa.Table) or (_library(frame) in ("pandas", "polars") and hasattr(frame, "columns"))


def _names(frame: Any) -> list[str]:
    return [str(name) for name in (frame.column_names if isinstance(frame, pa.Table) else frame.columns)]


def _column(frame: Any, i: int, name: str) -> pa.Array | pa.ChunkedArray:
    """Return a column of a table in memory, by its position."""
    if isinstance(frame, pa.Table):
        return frame.column(i)
    if not len(frame):
        return pa.nulls(0)
    try:
        if _library(frame) == "polars":
            return frame.to_series(i).to_arrow()
        return _from_series(frame.iloc[:, i])
    # Extension types of pandas may leave conversions out, which is no fault of ours.
    except (pa.ArrowException, TypeError, ValueError, NotImplementedError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise InputError(f"the column {name!r} of the data frame cannot be read: {first}") from error


def _from_series(series: Any) -> pa.Array | pa.ChunkedArray:
    """Return a column of pandas; a sparse one is filled in."""
    try:
        return pa.array(np.asarray(series) if hasattr(series.array, "sp_values") else series, from_pandas=True)
    except UnicodeEncodeError:
        return pa.array([_text(value) if isinstance(value, str) else value for value in series], from_pandas=True)


def _text(value: str) -> str:
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
