"""Texts of rows: what of a row an operation on tables sees, computed for each row by itself."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from leeroo.engine.jobs.semantic.prompts import SIDES, named_fields, read_join_prompt, shown_text
from leeroo.udfs.functions.calls import naming


def shown(functions: pa.Array, rows: pa.Array, columns: pa.Array) -> pa.Array:
    """Return the texts of rows (JSON): a column, a text with {names}, or all columns; NULL where that is blank.

    Raises:
        UsageError: a column is not there.

    """
    with naming(functions[0].as_py()):
        return pa.array(
            [shown_text(row, column) for row, column in zip(rows.to_pylist(), columns.to_pylist(), strict=True)],
            pa.string(),
        )


def sides(names: pa.Array, rows: pa.Array, prompts: pa.Array) -> pa.Array:
    """Return the columns of rows (JSON) that the prompt of a join names for the side 'l' or 'r', as JSON objects.

    Raises:
        UsageError: a column is not there, or the prompt is wrong.

    """
    prompt, side = prompts[0].as_py(), names[0].as_py()
    with naming("leeroo_join"):
        if prompt is None:
            return pa.nulls(len(rows), pa.string())
        wanted = read_join_prompt(prompt).names[SIDES.index(side)]
        return pa.array([named_fields(row, wanted, f"{side}_") for row in rows.to_pylist()], pa.string())


ROW_TEXTS: dict[str, Callable[..., pa.Array]] = {"shown": shown, "side": sides}
