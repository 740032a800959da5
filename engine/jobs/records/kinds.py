"""The kinds of values that records have: each has a JSON schema, a type in SQL, one in Arrow, and reads values of JSON.

Knows nothing of engines, and not where a record was described.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Protocol

import pyarrow as pa

from leeroo.engine.jobs.records.scalars import Schema

_STATED = "Facts that the text states. A field is null where the text does not say it."


class Kind(Protocol):
    """A kind of values."""

    @property
    def sql(self) -> str:
        """The name of its type in SQL."""
        ...

    @property
    def arrow(self) -> pa.DataType:
        """Its type in Arrow."""
        ...

    @property
    def schema(self) -> Schema:
        """The JSON schema of its values."""
        ...

    def read(self, value: Any) -> Any:
        """Return a value of JSON as Python and Arrow have it; JSON numbers with a point are `Decimal`.

        Raises:
            ValueError: it cannot be converted.
        """
        ...


@dataclass(frozen=True)
class Enumeration:
    """One of some texts or whole numbers."""

    values: tuple[Any, ...]

    @property
    def sql(self) -> str:
        """An ENUM, or the type of the numbers."""
        if not isinstance(self.values[0], str):
            return "BIGINT"
        return f"ENUM({', '.join(quoted(value) for value in self.values)})"

    @property
    def arrow(self) -> pa.DataType:
        """A dictionary, or the type of the numbers."""
        return pa.dictionary(pa.int32(), pa.string()) if isinstance(self.values[0], str) else pa.int64()

    @property
    def schema(self) -> Schema:
        """The values."""
        return {"type": "string" if isinstance(self.values[0], str) else "integer", "enum": list(self.values)}

    def read(self, value: Any) -> Any:
        """Return a value as it is; raises as `Kind.read`."""
        if value not in self.values:
            raise ValueError(f"{value!s:.80} is none of {', '.join(map(str, self.values))}")
        return value


@dataclass(frozen=True)
class Many:
    """Lists of values."""

    each: Kind

    @property
    def sql(self) -> str:
        """A list."""
        return f"{self.each.sql}[]"

    @property
    def arrow(self) -> pa.DataType:
        """A list."""
        return pa.list_(self.each.arrow)

    @property
    def schema(self) -> Schema:
        """An array."""
        return {"type": "array", "items": self.each.schema}

    def read(self, value: Any) -> Any:
        """Return the values; raises as `Kind.read`, with the place."""
        return [_at(f"[{i + 1}]", self.each, each) for i, each in enumerate(value)]


@dataclass(frozen=True)
class Named:
    """Values by name."""

    each: Kind

    @property
    def sql(self) -> str:
        """A map."""
        return f"MAP(VARCHAR, {self.each.sql})"

    @property
    def arrow(self) -> pa.DataType:
        """A map."""
        return pa.map_(pa.string(), self.each.arrow)

    @property
    def schema(self) -> Schema:
        """An object of any names."""
        return {"type": "object", "additionalProperties": self.each.schema}

    def read(self, value: Any) -> Any:
        """Return the values by name; raises as `Kind.read`, with the place."""
        return {name: _at(f"[{name}]", self.each, each) for name, each in value.items()}


@dataclass(frozen=True)
class Field:
    """A field of a record, and what the model is shown to explain it."""

    name: str
    kind: Kind
    about: str | None = None

    @property
    def schema(self) -> Schema:
        """Its JSON schema, which allows null."""
        own = self.kind.schema
        enum = {"enum": [*own["enum"], None]} if "enum" in own else {}
        about = {"description": self.about} if self.about else {}
        return {**own, "type": [own["type"], "null"], **enum, **about}


@dataclass(frozen=True)
class Record:
    """Fields, each with a value or null.

    Raises:
        ValueError: there is none, or two have one name; the names differ by more than case.
    """

    fields: tuple[Field, ...]

    def __post_init__(self) -> None:
        if not self.fields:
            raise ValueError("a record needs at least one field")
        names = [field.name.casefold() for field in self.fields]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"the record has the field {twice[0]!r} twice")
        if not all(name.strip() for name in names):
            raise ValueError("a field of the record has no name")

    @property
    def sql(self) -> str:
        """A struct."""
        return f"STRUCT({', '.join(f'{named(field.name)} {field.kind.sql}' for field in self.fields)})"

    @property
    def arrow(self) -> pa.StructType:
        """A struct."""
        return pa.struct([pa.field(field.name, field.kind.arrow) for field in self.fields])

    @property
    def schema(self) -> Schema:
        """An object with all of the fields."""
        return {
            "type": "object",
            "properties": {field.name: field.schema for field in self.fields},
            "required": [field.name for field in self.fields],
            "additionalProperties": False,
        }

    def read(self, value: Any) -> Any:
        """Return the values by name; raises as `Kind.read`, with the place."""
        return {
            field.name: None if value[field.name] is None else _at(field.name, field.kind, value[field.name])
            for field in self.fields
        }


def whole_schema(record: Record) -> str:
    """Return the JSON schema of a record as text for a model, which says what null is for."""
    return json.dumps({"description": _STATED, **record.schema}, ensure_ascii=False)


def read_answer(record: Record, answer: str) -> Mapping[str, Any]:
    """Return the values of a record from JSON that is valid under its schema.

    Raises:
        ValueError: one cannot be converted; the message names its place.
    """
    values: Mapping[str, Any] = record.read(json.loads(answer, parse_float=Decimal))
    return values


def _at(place: str, kind: Kind, value: Any) -> Any:
    """Read a value; an error says where it is."""
    try:
        return kind.read(value)
    except ValueError as error:
        text = str(error)
        raise ValueError(f"{place}{text}" if text.startswith(("[", ".")) else f"{place}: {text}") from None


def quoted(text: str) -> str:
    """Return a text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def named(text: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + text.replace('"', '""') + '"'
