"""Values of a table in other forms: columns as plain text, and SQL for what CSV and JSON can hold."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_FROM_TEXT = b"leeroo.from_text"
_YES, _NO = ["true", "yes", "1"], ["false", "no", "0"]


def is_json(kind: pa.DataType) -> bool:
    """Return whether values of this Arrow type are JSON text."""
    return getattr(kind, "extension_name", None) == "arrow.json"


def is_text(kind: pa.DataType) -> bool:
    """Return whether values of this Arrow type are text (a column of nothing but NULL counts)."""
    if pa.types.is_dictionary(kind):
        return is_text(kind.value_type)
    return kind in (pa.string(), pa.large_string(), pa.string_view(), pa.null()) or is_json(kind)


def from_text(field: pa.Field) -> pa.Field:
    """Return the field of values that stand as text in a file, such as the numbers of JSON."""
    return field.with_metadata({_FROM_TEXT: b"yes"})


def stands_as_text(field: pa.Field) -> bool:
    """Return whether the values of a field stand as text in a file, and so can be questions as they are written."""
    return _FROM_TEXT in (field.metadata or {})


def as_text(column: pa.Array | pa.ChunkedArray) -> Any:
    """Return a column as text: JSON texts without their quotes, other JSON and other types as they are written."""
    if isinstance(column, pa.ChunkedArray):
        return pa.chunked_array([as_text(chunk) for chunk in column.chunks], pa.string())
    if pa.types.is_dictionary(column.type):
        return as_text(column.dictionary).take(column.indices)
    if is_json(column.type):
        return pa.array([_plain(text) for text in column.storage.to_pylist()], pa.string())
    return column.cast(pa.string())


def _plain(text: str | None) -> str | None:
    if text is None or text == "null":
        return None
    plain: str = json.loads(text) if text.startswith('"') else text
    return plain


def without_formulas(table: pa.Table) -> pa.Table:
    """Return a table for people's spreadsheets: texts that look like formulas have an apostrophe before them."""
    for i, field in enumerate(table.schema):
        if is_text(field.type):
            plain = pc.replace_substring_regex(as_text(table.column(i)), r"\A([=+\-@\t\r])", r"'\1")
            table = table.set_column(i, field.name, plain)
    return table


def quote(name: str) -> str:
    """Return an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(value: str) -> str:
    """Return a text of SQL."""
    return "'" + value.replace("'", "''") + "'"


def for_json(expression: str, field: pa.Field) -> str:
    """Return SQL for a value that JSON can hold: NaN and infinities are NULL, decimals keep their digits."""
    return _for_json(expression, field.type, 0)


def for_csv(expression: str, field: pa.Field) -> str:
    """Return SQL for a value that a cell can hold: nested values are JSON."""
    return f"to_json({for_json(expression, field)})::VARCHAR" if pa.types.is_nested(field.type) else expression


def _for_json(value: str, kind: pa.DataType, depth: int) -> str:
    if pa.types.is_floating(kind):
        return f"CASE WHEN isfinite({value}) THEN {value} END"
    if pa.types.is_decimal(kind):
        return f"{value}::VARCHAR::JSON"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        each = f"x{depth}"
        inner = _for_json(each, kind.value_type, depth + 1)
        return value if inner == each else f"list_transform({value}, lambda {each}: {inner})"
    if pa.types.is_struct(kind) and kind.num_fields:
        fields = [kind.field(i) for i in range(kind.num_fields)]
        parts = [(quote(f.name), _for_json(f"({value}).{quote(f.name)}", f.type, depth)) for f in fields]
        if any(part != f"({value}).{name}" for name, part in parts):
            packed = ", ".join(f"{name} := {part}" for name, part in parts)
            return f"CASE WHEN {value} IS NOT NULL THEN struct_pack({packed}) END"
    return value


def can_mark(kind: pa.DataType) -> bool:
    """Return whether values of this Arrow type may say yes or no."""
    return is_text(kind) or pa.types.is_boolean(kind) or pa.types.is_integer(kind)


def read_marks(column: pa.Array | pa.ChunkedArray) -> tuple[Any, tuple[int, Any] | None]:
    """Return a column of true and false, 1 and 0, or yes and no as booleans, and the first value that is none of these.

    Nothing, and text of nothing but white space, is NULL.
    """
    words = pc.utf8_lower(pc.utf8_trim_whitespace(as_text(column)))
    yes, no, blank = (pc.is_in(words, pa.array(each, pa.string())) for each in (_YES, _NO, ["", None]))
    wrong = pc.index(pc.or_(pc.or_(yes, no), blank), False).as_py()
    return pc.if_else(blank, None, yes), None if wrong < 0 else (wrong, column[wrong].as_py())
