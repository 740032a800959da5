"""Records as SQL describes them: names with types, lists of values, and further records.

    {'name': 'VARCHAR', 'tags': 'VARCHAR[]', 'kind': ['a', 'b'], 'address': {'city': 'VARCHAR'}}

Types are written as DuckDB writes them, and read by it. A list of one record is a list of such records. Fields may
also be text, as the columns of a table are: `name VARCHAR, tags VARCHAR[]`.
"""

from __future__ import annotations

import functools
import json
from typing import Any

import duckdb

from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.records.kinds import Enumeration, Field, Kind, Many, Named, Record
from leeroo.engine.jobs.records.scalars import SCALARS, decimal


@functools.cache
def _database() -> duckdb.DuckDBPyConnection:
    """Return the database that reads types: the user's own is at work while a function is called."""
    return duckdb.connect()


def _sql_type(text: str) -> Any:
    return _database().cursor().sqltype(text)


@functools.lru_cache(maxsize=64)
def read_spec(spec: str) -> Record:
    """Return the record of a description in JSON.

    Raises:
        UsageError: it is none; the message names the field.
    """
    try:
        given = json.loads(spec)
    except ValueError:
        given = None
    if isinstance(given, str):
        return read_fields(given)
    if not isinstance(given, dict):
        raise UsageError(f"a record is fields with their types, such as {{'name': 'VARCHAR'}}, not {spec[:80]}")
    try:
        return _record(given)
    except ValueError as error:
        raise UsageError(str(error)) from None


def read_fields(text: str) -> Record:
    """Return the record of fields as a table in SQL has them: `name VARCHAR, age INTEGER`.

    Raises:
        UsageError: they cannot be read.
    """
    try:
        kind = _of_type(_sql_type(f"STRUCT({text})"))
    except duckdb.Error:
        kind = None
    except ValueError as error:
        raise UsageError(str(error)) from None
    if not isinstance(kind, Record):
        raise UsageError(
            f"the fields {text[:80]!r} cannot be read: write names and types, as in name VARCHAR, due DATE"
        )
    return kind


def _record(given: dict[str, Any]) -> Record:
    fields = []
    for name, each in given.items():
        try:
            fields.append(Field(name, _kind(each)))
        except ValueError as error:
            raise ValueError(f"{' '.join(name.split())}: {error}") from None
    return Record(tuple(fields))


def _kind(given: Any) -> Kind:
    if isinstance(given, str):
        return _named_type(given)
    if isinstance(given, dict):
        return _record(given)
    if isinstance(given, list):
        return Many(_record(given[0])) if len(given) == 1 and isinstance(given[0], dict) else enumeration(given)
    raise ValueError(f"a type is text, a list of values or a further record, not {json.dumps(given)[:80]}")


def enumeration(values: list[Any] | tuple[Any, ...]) -> Enumeration:
    """Return the kind of these values.

    Raises:
        ValueError: they are not different texts, or different whole numbers.
    """
    texts = all(isinstance(value, str) and value.strip() for value in values)
    numbers = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    if not values or not (texts or numbers) or len(set(values)) < len(values):
        raise ValueError(f"values to choose from must be different texts or whole numbers, not {list(values)!s:.80}")
    return Enumeration(tuple(values))


def _named_type(name: str) -> Kind:
    try:
        kind = _sql_type(name)
    except duckdb.Error:
        raise ValueError(
            f"there is no type {name[:80]!r}; types are VARCHAR, INTEGER, DATE, VARCHAR[] and so on"
        ) from None
    return _of_type(kind)


def _of_type(kind: Any) -> Kind:
    """Return the kind of a DuckDB type; raises ValueError where no text has such values."""
    if str(kind) in SCALARS:
        return SCALARS[str(kind)]
    children = dict(kind.children) if kind.id in ("list", "enum", "map", "struct", "decimal") else {}
    if kind.id == "decimal":
        return decimal(children["precision"], children["scale"])
    if kind.id == "list":
        return Many(_of_type(children["child"]))
    if kind.id == "enum":
        return enumeration(children["values"])
    if kind.id == "map" and str(children["key"]) == "VARCHAR":
        return Named(_of_type(children["value"]))
    if kind.id == "struct":
        return Record(tuple(Field(name, _of_type(each)) for name, each in kind.children))
    raise ValueError(f"values of the type {kind} cannot be read from a text")
