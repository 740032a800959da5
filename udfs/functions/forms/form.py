"""What the forms share: columns become questions with their arguments, and known answers become values.

A function receives columns of up to 2,048 rows. Its reader makes questions of them, NULL where there is nothing to ask,
with the `Arguments` of each. Its writer makes values of SQL of the known answers. Knows nothing of engines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from leeroo.engine.pool import Pool
from leeroo.udfs.functions.requests import Arguments
from leeroo.udfs.functions.signatures import TAKES

TEXT, NUMBER, COUNT, TEXTS = pa.string(), pa.float64(), pa.int64(), pa.list_(pa.string())


class RowQuestions(NamedTuple):
    """The questions of n rows."""

    questions: pa.Array  # text [n], NULL where there is none
    codes: np.ndarray  # int [n]: which of the arguments each row has
    arguments: list[Arguments]
    images: Mapping[str, bytes] = MappingProxyType({})  # those that questions refer to, by their hashes


Columns = Sequence[pa.Array]
Reader = Callable[[Columns], RowQuestions]
Writer = Callable[[pa.Array, Columns], pa.Array]


class Form(NamedTuple):
    """A raw function: `_leeroo_` and its name.

    Attributes:
        kind: How its questions get their values, one of `kinds.KINDS`.
        read: Makes questions of its columns.
        write: Makes its values of the known ones.
        takes: The types of its own columns.
        gives: The type of its values; a function where the pool decides.
        arguments: The line of `signatures.TAKES` with the columns that follow its own, "" for none.
        field: The field of the known values that the writer gets, None for all of them.
        side_effects: True where it is neither folded nor moved, and called once for each row and place where it stands.

    """

    kind: str
    read: Reader
    write: Writer
    takes: tuple[pa.DataType, ...]
    gives: pa.DataType | Callable[[Pool], pa.DataType]
    arguments: str = ""
    field: str | None = None
    side_effects: bool = False


def read_plain(columns: Columns) -> RowQuestions:
    """Read questions without arguments."""
    return RowQuestions(columns[0], np.zeros(len(columns[0]), np.int64), [Arguments()])


def as_known(known: pa.Array, _: Columns) -> pa.Array:
    """Return the values as they are."""
    return known


def as_named(kind: pa.StructType, known: pa.StructArray, _: Columns) -> pa.Array:
    """Return structs with some of the known fields, the answer under another name; NULL where there was no question."""
    columns = [known.field(name) for name in ["answer", *kind.names[1:]]]
    return pa.StructArray.from_arrays(columns, fields=list(kind), mask=known.is_null())


def arguments_of(function: str, row: Sequence[Any], **own: Any) -> Arguments:
    """Return the arguments of a row, as `TAKES` lists them for a function, and others that its form sets."""
    given = dict(zip(TAKES[function], row, strict=True))
    # Nobody knows if a row marked NULL is private.
    return Arguments(**{**given, "private": given["private"] is not False, **own})


def distinct(columns: Sequence[pa.Array | list[Any]], n: int) -> tuple[np.ndarray, list[tuple[Any, ...]]]:
    """Return the distinct rows of these columns, and which of them each of the n rows is, int [n]."""
    if n and all(map(_is_constant, columns)):  # nearly always, as arguments are written into the statement
        return np.zeros(n, np.int64), [tuple(_first(column) for column in columns)]
    numbers: dict[tuple[Any, ...], int] = {}
    given = zip(*(c.to_pylist() if isinstance(c, pa.Array) else c for c in columns), strict=True)
    codes = np.array([numbers.setdefault(row, len(numbers)) for row in given], np.int64)
    return codes, list(numbers)


def _is_constant(column: pa.Array | list[Any]) -> bool:
    """Say if all rows of a column are known to have one value."""
    if not isinstance(column, pa.Array):
        return column.count(column[0]) == len(column)
    return column.null_count == len(column) or (not pa.types.is_nested(column.type) and len(column.unique()) == 1)


def _first(column: pa.Array | list[Any]) -> Any:
    return column[0].as_py() if isinstance(column, pa.Array) else column[0]
