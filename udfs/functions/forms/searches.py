"""Operations on whole tables: each has one question, which holds the different texts of its rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.jobs.semantic.dedupe import Dedupe
from leeroo.engine.jobs.semantic.join import Join
from leeroo.engine.jobs.semantic.rank import Rank
from leeroo.engine.jobs.semantic.results import MATCHES
from leeroo.udfs.functions.forms.form import COUNT, NUMBER, TEXT, TEXTS, Columns, Form, RowQuestions, arguments_of
from leeroo.udfs.functions.requests import Arguments

Make = Callable[..., Join | Dedupe | Rank]


def _reader(make: Make, sides: int, names: Sequence[str]) -> Callable[[Columns], RowQuestions]:
    """Return the reader of an operation: lists of texts, its own settings (NULL: the default), and its arguments."""

    def read(columns: Columns) -> RowQuestions:
        n = len(columns[0])
        rows = list(zip(*(column.to_pylist() for column in columns), strict=True))
        return RowQuestions(
            pa.array([_question(row[:sides]) for row in rows], pa.string()),
            np.arange(n),
            [_arguments(make, dict(zip(names, row[sides:], strict=False)), row[sides + len(names) :]) for row in rows],
        )

    return read


def _question(lists: Sequence[list[str] | None]) -> str | None:
    """Return the different texts of each side, in an order of their own: tables are read in any order."""
    if not all(lists):
        return None
    return json.dumps([sorted(set(each or ())) for each in lists], ensure_ascii=False)


def _arguments(make: Make, settings: dict[str, Any], given: Sequence[Any]) -> Arguments:
    arguments = arguments_of("searches", given)
    own = {name: value for name, value in settings.items() if value is not None}
    return arguments._replace(operation=make(**own, expert=arguments.expert, private=arguments.private))


def as_found(known: pa.StructArray, _: Columns) -> pa.Array:
    """Return the rows that were found, at no cost where all of it was paid for before."""
    lists = known.field("found")
    rows = lists.flatten()
    paid = pc.equal(known.field("cost_usd"), 0.0).take(pc.list_parent_indices(lists))
    columns = dict(zip(rows.type.names, rows.flatten(), strict=True))
    zero = pc.if_else(columns["cost_usd"].is_valid(), 0.0, None)
    columns["cost_usd"] = pc.if_else(paid, zero, columns["cost_usd"])
    found = pa.StructArray.from_arrays(list(columns.values()), fields=list(rows.type))
    ends = np.cumsum(lists.value_lengths().fill_null(0).to_numpy(zero_copy_only=False))
    missing = np.append(known.is_null().to_numpy(zero_copy_only=False), False)
    return pa.ListArray.from_arrays(pa.array(np.append(0, ends), pa.int32(), mask=missing), found)


_FOUND = pa.list_(pa.struct(list(MATCHES)))


def _form(make: Make, sides: int, settings: dict[str, pa.DataType]) -> Form:
    takes = (*[TEXTS] * sides, *settings.values())
    return Form("searches", _reader(make, sides, list(settings)), as_found, takes, _FOUND, "searches")


FORMS = {
    "joins": _form(Join, 2, {"prompt": TEXT, "k": COUNT, "sample": NUMBER, "threshold": NUMBER, "model": TEXT}),
    "dedupes": _form(Dedupe, 1, {"prompt": TEXT, "k": COUNT, "similarity": NUMBER, "threshold": NUMBER, "model": TEXT}),
    "ranks": _form(Rank, 1, {"criterion": TEXT, "k": COUNT, "group": COUNT}),
}
