"""Records as Python describes them: a Pydantic model, a dataclass, or an Arrow schema."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import types
import typing
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
from pydantic import BaseModel

from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.records.kinds import Field, Kind, Many, Named, Record
from leeroo.engine.jobs.records.scalars import SCALARS, decimal
from leeroo.engine.jobs.records.sql_types import enumeration

_OF_PYTHON = {
    str: "VARCHAR",
    int: "BIGINT",
    float: "DOUBLE",
    bool: "BOOLEAN",
    datetime.date: "DATE",
    datetime.time: "TIME",
    datetime.datetime: "TIMESTAMP",
}
# Of decimal numbers whose digits nobody says.
_DECIMAL = (38, 9)
_LISTS = (list, tuple, set, frozenset, Sequence)
_MAPS = (dict, Mapping)


def read_declared(given: Any) -> Record:
    """Return the record that a class or an Arrow schema describes.

    Raises:
        UsageError: it describes none; the message names the field.
    """
    try:
        if isinstance(given, pa.Schema):
            return _of_fields(list(given))
        if isinstance(given, pa.StructType):
            return _of_fields([given.field(i) for i in range(given.num_fields)])
        if is_class(given):
            return _of_class(given, ())
    except ValueError as error:
        raise UsageError(f"{getattr(given, '__name__', 'the schema')}: {error}") from None
    raise UsageError(f"a schema is a Pydantic model, a dataclass, an Arrow schema or a JSON schema, not {given!r:.80}")


def is_class(given: Any) -> bool:
    """Return whether this is a Pydantic model or a dataclass."""
    return isinstance(given, type) and (issubclass(given, BaseModel) or dataclasses.is_dataclass(given))


def _of_class(given: type, within: tuple[type, ...]) -> Record:
    if given in within:
        raise ValueError(f"{given.__name__} holds itself, and a record has an end")
    fields = []
    for name, hint, about, metadata in _hints(given):
        try:
            fields.append(Field(name, _of_hint(hint, metadata, (*within, given)), about))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return Record(tuple(fields))


def _hints(given: type) -> list[tuple[str, Any, str | None, Sequence[Any]]]:
    """Return the fields of a class: name, type, what is said about it, and constraints."""
    if issubclass(given, BaseModel):
        return [(name, each.annotation, each.description, each.metadata) for name, each in given.model_fields.items()]
    try:
        hints = typing.get_type_hints(given)
    except (NameError, TypeError) as error:
        raise ValueError(f"its types cannot be read: {error}") from None
    return [
        (each.name, hints[each.name], each.metadata.get("description"), ())
        for each in dataclasses.fields(typing.cast(Any, given))
    ]


def _of_hint(hint: Any, metadata: Sequence[Any], within: tuple[type, ...]) -> Kind:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _of_hint(inner[0], inner[1:], within)
    if origin in (typing.Union, types.UnionType):
        some = [each for each in inner if each is not type(None)]
        if len(some) == 1:
            return _of_hint(some[0], metadata, within)
    elif origin is typing.Literal:
        return enumeration(tuple(each for each in inner if each is not None))
    elif origin in _LISTS and inner:
        return Many(_of_hint(inner[0], (), within))
    elif origin in _MAPS and inner[:1] == (str,):
        return Named(_of_hint(inner[1], (), within))
    elif hint is Decimal:
        return _decimal(metadata)
    elif hint in _OF_PYTHON:
        return SCALARS[_OF_PYTHON[hint]]
    elif isinstance(hint, type) and issubclass(hint, enum.Enum):
        return enumeration(tuple(each.value for each in hint))
    elif is_class(hint):
        return _of_class(hint, within)
    raise ValueError(f"values of the type {getattr(hint, '__name__', hint)!s} cannot be read from a text")


def _decimal(metadata: Sequence[Any]) -> Kind:
    """Return decimal numbers with the digits that constraints allow."""
    named = ("max_digits", "decimal_places")
    said = [[n for each in metadata if (n := getattr(each, name, None)) is not None] for name in named]
    digits = said[0][0] if said[0] else _DECIMAL[0]
    return decimal(digits, said[1][0] if said[1] else min(_DECIMAL[1], digits))


def _of_fields(fields: Sequence[pa.Field]) -> Record:
    found = []
    for field in fields:
        try:
            about = (field.metadata or {}).get(b"description")
            found.append(Field(field.name, _of_arrow(field.type), about and about.decode(errors="replace")))
        except ValueError as error:
            raise ValueError(f"{field.name}: {error}") from None
    return Record(tuple(found))


def _of_arrow(kind: pa.DataType) -> Kind:
    if isinstance(kind, pa.StructType):
        return _of_fields([kind.field(i) for i in range(kind.num_fields)])
    if isinstance(kind, pa.MapType) and pa.types.is_string(kind.key_type):
        return Named(_of_arrow(kind.item_type))
    if isinstance(kind, pa.ListType | pa.LargeListType):
        return Many(_of_arrow(kind.value_type))
    if isinstance(kind, pa.Decimal128Type):
        return decimal(kind.precision, kind.scale)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return SCALARS["VARCHAR"]
    if pa.types.is_timestamp(kind):
        return SCALARS["TIMESTAMP" if kind.tz is None else "TIMESTAMP WITH TIME ZONE"]
    found = next((each for each in SCALARS.values() if each.arrow == kind), None)
    if found is None:
        raise ValueError(f"values of the type {kind} cannot be read from a text")
    return found
