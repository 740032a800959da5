"""Prompts of semantic operations: text with {names} of columns, filled in for many rows or pairs at a time."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.batch.layout import field_names, text_of
from leeroo.engine.errors import UsageError

_SIDED = re.compile(r"\{\{|\}\}|\{\s*([lr])\s*\.\s*(\w+)\s*\}|\{([^{}]*)\}")
SIDES = ("l", "r")


class JoinPrompt(NamedTuple):
    """The statement of a join about a pair of rows.

    Attributes:
        task: With {l_name} and {r_name} for the columns.
        names: The columns of the left side, and those of the right side.

    """

    task: str
    names: tuple[tuple[str, ...], tuple[str, ...]]


@functools.lru_cache(maxsize=64)
def read_join_prompt(prompt: str) -> JoinPrompt:
    """Read the statement of a join, as "the complaint {l.text} is about the product {r.name}".

    Raises:
        UsageError: a name has no side, or one side is not named.

    """
    names: dict[str, dict[str, None]] = {side: {} for side in SIDES}

    def put(found: re.Match[str]) -> str:
        if found[1] is not None:
            names[found[1]][found[2]] = None
            return f"{{{found[1]}_{found[2]}}}"
        if found[3] is not None:
            raise UsageError(
                f"{{{found[3]}}} in the prompt is a column of neither side: write {{l.name}} for a column of the left"
                " table and {r.name} for one of the right, and two braces for one"
            )
        return found[0]

    task = _SIDED.sub(put, prompt)
    for side, table in zip(SIDES, ("left", "right"), strict=True):
        if not names[side]:
            raise UsageError(f"the prompt names no column of the {table} table: write {{{side}.name}} with its name")
    return JoinPrompt(task, (tuple(names["l"]), tuple(names["r"])))


def named_fields(row: str, names: Sequence[str], prefix: str = "") -> str | None:
    """Return some columns of a row, both as JSON objects; None where one is NULL, or all are blank.

    Raises:
        UsageError: a column is not there.

    """
    there = json.loads(row)
    for name in names:
        if name not in there:
            raise UsageError(f"there is no column {name!r}; the columns are: {', '.join(there)}")
    values = [there[name] for name in names]
    if None in values or not any(text_of(value).strip() for value in values):
        return None
    return json.dumps({f"{prefix}{name}": value for name, value in zip(names, values, strict=True)}, ensure_ascii=False)


def shown_text(row: str, shown: str | None) -> str | None:
    """Return what of a row (JSON) experts see: a column, a text with {names}, or all of it; None where that is blank.

    Raises:
        UsageError: a column is not there.

    """
    if shown is None:
        there = {name: value for name, value in json.loads(row).items() if value is not None}
        lines = [f"{name}: {text_of(value)}" for name, value in there.items()]
        return "\n".join(lines) or None
    names = field_names(shown)
    fields = named_fields(row, names or (shown,))
    if fields is None:
        return None
    values = json.loads(fields)
    return fill_in_one(shown, values) if names else text_of(values[shown])


def fill_in_one(task: str, values: Mapping[str, object]) -> str:
    """Return a text with its {names} replaced."""
    return "".join(part if name is None else text_of(values[name]) for part, name in _parts(task))


def fill_in_all(task: str, columns: Mapping[str, pa.Array]) -> pa.Array:
    """Return a text [n] with its {names} replaced by columns of text [n]."""
    n = len(next(iter(columns.values())))
    parts = [pa.repeat(pa.scalar(part), n) if name is None else columns[name] for part, name in _parts(task)]
    return pc.binary_join_element_wise(*parts, "")


def merge_objects(left: pa.Array, right: pa.Array) -> pa.Array:
    """Return JSON objects [n] with the members of two; none is empty."""
    first = pc.utf8_slice_codeunits(left, 0, -1)
    return pc.binary_join_element_wise(first, pc.utf8_slice_codeunits(right, 1), ", ")


_PLACE = re.compile(r"\{\{|\}\}|\{(\w+)\}")


def _parts(task: str) -> list[tuple[str, str | None]]:
    """Split a text at its {names}: texts without a name, and empty texts with one."""
    parts: list[tuple[str, str | None]] = []
    at = 0
    for found in _PLACE.finditer(task):
        parts.append((task[at : found.start()], None))
        parts.append(("", found[1]) if found[1] else (found[0][0], None))
        at = found.end()
    parts.append((task[at:], None))
    return [(text, name) for text, name in parts if text or name]
