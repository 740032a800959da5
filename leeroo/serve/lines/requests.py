"""The request of a line: columns of the engine's input, in one form from the file to the engine.

It is a dictionary of what the line gives, which is JSON in the database. Its names are those of `ASK`, so that a new
argument is a name here at once. Knows nothing of OpenAI's bodies and of batches.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa

from leeroo.engine.batch.prompts import CONTEXT
from leeroo.engine.schema import ASK

LineRequest = dict[str, Any]

_TEXTS = ("question", *CONTEXT)
# `n` is how many answers a line wants, and no column: each of them is a row for the engine.
_NAMES = frozenset((*_TEXTS, *ASK.names, "n"))
_ROW = pa.schema([*(pa.field(name, pa.string()) for name in _TEXTS), pa.field("private", pa.bool_()), *ASK])


def line_request(**columns: Any) -> LineRequest:
    """Return the request of a line; None and False are left out, as they ask for nothing.

    Raises:
        TypeError: the engine has no such column.

    """
    if unknown := columns.keys() - _NAMES:
        raise TypeError(f"the engine's input has no column {', '.join(sorted(unknown))}")
    return {name: value for name, value in columns.items() if value is not None and value is not False}


def count_answers(request: LineRequest) -> int:
    """Return how many answers a line wants."""
    return int(request.get("n", 1))


def to_table(requests: Iterable[tuple[LineRequest, bool]]) -> pa.Table:
    """Return requests, private or not, as input of the engine: a row for each answer, its arguments in `ask`."""
    rows = [row for request, private in requests for row in _rows(request, private)]
    flat = pa.Table.from_pylist(rows, schema=_ROW)
    ask = pa.StructArray.from_arrays([flat.column(name).combine_chunks() for name in ASK.names], fields=list(ASK))
    return flat.select([*_TEXTS, "private"]).append_column("ask", ask)


def _rows(request: LineRequest, private: bool) -> Iterator[dict[str, Any]]:
    """Yield the rows of a line; where it has a seed, each answer has one of its own."""
    for number in range(count_answers(request)):
        seed = {"seed": request["seed"] + number} if "seed" in request else {}
        yield {**request, **seed, "private": private}
