"""Fields of a row in a question: a JSON object of those that a text names, with references in the places of images."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from leeroo.engine.batch.layout import field_names, image_names
from leeroo.engine.errors import UsageError
from leeroo.udfs.functions.images import image_fields, refer


class Fields(NamedTuple):
    """The fields of n rows.

    Attributes:
        objects: JSON objects, None where there is nothing to ask.
        pictures: The names of the fields that are images.
        images: The bytes of images, by their hashes.
    """

    objects: list[str | None]
    pictures: list[tuple[str, ...]]
    images: dict[str, bytes]


def read_fields(tasks: Sequence[str | None], values: Sequence[str | None], kinds: pa.Array) -> Fields:
    """Read the fields that tasks name.

    Args:
        tasks: Texts with {names}, None where a row has none.
        values: The fields as JSON objects.
        kinds: The name of their type in SQL, the same for all rows of a call.

    Raises:
        UsageError: a task names a field that is not there.

    """
    if not any(tasks):
        return Fields([None] * len(tasks), [()] * len(tasks), {})
    of_bytes = image_fields(next(iter(kinds.drop_null()[:1].to_pylist()), ""))
    pictures = [() if task is None else _pictures(task, tuple(of_bytes)) for task in tasks]
    read = Fields([], pictures, {})
    for task, text, shown in zip(tasks, values, pictures, strict=True):
        fields = None if task is None or text is None else _named(task, text)
        if fields is not None and shown:
            fields, held = refer(fields, shown, of_bytes)
            read.images.update(held)
        read.objects.append(None if fields is None else json.dumps(fields, ensure_ascii=False))
    return read


@functools.lru_cache(maxsize=64)
def _pictures(task: str, of_bytes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the fields of a task that are images: those of bytes, and of texts that it marks."""
    marked = image_names(task)
    return tuple(name for name in _names(task) if name in marked or name in of_bytes)


def _named(task: str, values: str) -> dict[str, Any] | None:
    """Return the fields that a task names; None if one of them is NULL."""
    there = json.loads(values)
    wanted = _names(task)
    missing = [name for name in wanted if name not in there]
    if missing:
        raise UsageError(f"there is no field {missing[0]!r} for {{{missing[0]}}}; the fields are: {', '.join(there)}")
    if any(there[name] is None for name in wanted):
        return None
    return {name: there[name] for name in wanted}


_names = functools.lru_cache(maxsize=64)(field_names)
