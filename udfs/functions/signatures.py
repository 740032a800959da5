"""Signatures of the SQL functions: which arguments of a row each takes, and their types in SQL.

The arguments are columns of `schema.ASK`, and `private`, which marks a row that must not leave local experts. These
lists build the macros of leeroo/sql, the raw functions below them, and the reading of their columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from leeroo.engine.schema import ASK

# Options of `Criteria` that variables of SQL with the prefix leeroo_ override.
VARIABLES: dict[str, pa.DataType] = {
    "max_cost_usd": pa.float64(),
    "cost_weight": pa.float64(),
    "latency_weight": pa.float64(),
    "on_error": pa.string(),
    "proxy": pa.bool_(),
    "learn": pa.bool_(),
    "image_folder": pa.string(),
    "allow_urls": pa.bool_(),
}

# The arguments of each raw function after its own columns, in the order of the public macros.
TAKES: dict[str, tuple[str, ...]] = {
    "answers": ("expert", "system", "max_tokens", "private"),
    "choices": ("expert", "system", "private"),
    "labels": ("expert", "system", "private"),
    "filters": ("expert", "system", "private"),
    "scored": ("expert", "system", "private"),
    "extracts": ("expert", "system", "max_tokens", "private"),
    "records": ("expert", "system", "max_tokens", "private"),
    "decisions": ("expert", "system", "private"),
    "routes": ("private",),
    "solutions": ("private",),
    "embeddings": ("private",),
    "searches": ("expert", "private"),
    "aggregates": ("expert", "system", "max_tokens", "private"),
}

_SQL_TYPES = {
    pa.string(): "VARCHAR",
    pa.float64(): "DOUBLE",
    pa.float32(): "FLOAT",
    pa.int64(): "BIGINT",
    pa.int32(): "INTEGER",
    pa.bool_(): "BOOLEAN",
    pa.date32(): "DATE",
}


class Spellings(NamedTuple):
    """The arguments of one function as its macros write them."""

    names: str  # "expert", "private"
    defaults: str  # "expert" := NULL, "private" := false
    typed: str  # "expert" VARCHAR := NULL, "private" BOOLEAN := false
    casts: str  # "expert"::VARCHAR, "private"::BOOLEAN


def types_of(function: str) -> list[pa.DataType]:
    """Return the types of the arguments that a raw function takes after its own columns."""
    return [_type_of(name) for name in TAKES[function]]


def fill_in(macros: str, own: str) -> str:
    """Return the text of macros with the names of one registration's raw functions and with all arguments.

    Args:
        macros: One of the files of leeroo/sql.
        own: The end of the names of these raw functions.

    """
    variables = ", ".join(f"getvariable('leeroo_{name}')::{sql_type(kind)}" for name, kind in VARIABLES.items())
    spelled: Mapping[str, Any] = {function: _spell(names) for function, names in TAKES.items()}
    return macros.format(id=own, variables=variables, **spelled)


def sql_type(kind: pa.DataType) -> str:
    """Return the name in SQL of an Arrow type that the functions take or give."""
    if pa.types.is_timestamp(kind):
        return "TIMESTAMPTZ"
    if pa.types.is_struct(kind):
        return "STRUCT(" + ", ".join(f'"{field.name}" {sql_type(field.type)}' for field in kind) + ")"
    if pa.types.is_list(kind):
        return f"{sql_type(kind.value_type)}[]"
    if pa.types.is_fixed_size_list(kind):
        return f"{sql_type(kind.value_type)}[{kind.list_size}]"
    if pa.types.is_map(kind):
        return f"MAP({sql_type(kind.key_type)}, {sql_type(kind.item_type)})"
    return _SQL_TYPES[kind]


def _type_of(argument: str) -> pa.DataType:
    if argument == "private":
        return pa.bool_()
    kind = ASK.field(argument).type
    # A number beyond 32 bits is refused by us, with the argument's name.
    return pa.int64() if pa.types.is_integer(kind) else kind


def _spell(names: tuple[str, ...]) -> Spellings:
    quoted = {f'"{name}"': (sql_type(_type_of(name)), "false" if name == "private" else "NULL") for name in names}
    return Spellings(
        names=", ".join(quoted),
        defaults=", ".join(f"{name} := {default}" for name, (_, default) in quoted.items()),
        typed=", ".join(f"{name} {kind} := {default}" for name, (kind, default) in quoted.items()),
        casts=", ".join(f"{name}::{kind}" for name, (kind, _) in quoted.items()),
    )
