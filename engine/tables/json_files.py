"""JSON, line by line or as a list: any keys in any row, and every value of the type it has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pyarrow as pa

from leeroo.engine.errors import InputError
from leeroo.engine.tables.inputs import Kind, pattern_of
from leeroo.engine.tables.streams import Stream, read
from leeroo.engine.tables.values import from_text, quote_text

# A row may be so long.
_ROW_BYTES = 1 << 26
_OBJECTS = f"""
read_json_objects(getvariable('files'), format = '{{format}}', maximum_object_size = {_ROW_BYTES},
                  hive_partitioning = false)
"""
# The keys of all rows in the order in which they first come, with the types of their values. Rows of one structure are
# counted as one: memory grows with the number of structures, not of rows.
_KEYS = """
SELECT key, list(DISTINCT CASE each.type WHEN 'VARCHAR' THEN each.value->>'$' ELSE 'JSON' END) AS types,
       bool_and(json_type(found.structure) = 'OBJECT' OR found.structure::VARCHAR = '"JSON"') AS objects
FROM (SELECT structure, min(row) AS row
      FROM (SELECT json_structure(json) AS structure, row_number() OVER () AS row FROM {objects})
      GROUP BY structure) found, json_each(found.structure) each
GROUP BY key ORDER BY min(found.row), arg_min(each.id, found.row)
"""
_INTEGERS = {"BIGINT", "UBIGINT", "HUGEINT"}
# Whether all numbers of a column keep their digits in its type.
_KEEPS = {
    pa.int64(): "bool_and(v[{i}] IS NULL OR TRY_CAST(v[{i}] AS BIGINT) IS NOT NULL)",
    pa.float64(): "bool_and(v[{i}] IS NULL OR abs(v[{i}]::DOUBLE) < CASE WHEN regexp_matches(v[{i}], '[.eE]')"
    " THEN 1e308 ELSE 9007199254740992 END)",
}
_VALUE = {
    pa.string(): "v[{i}]->>'$'",
    pa.bool_(): "v[{i}]::BOOLEAN",
    pa.int64(): "v[{i}]::BIGINT",
    pa.float64(): "v[{i}]::DOUBLE",
    pa.json_(): "nullif(v[{i}]::VARCHAR, 'null')",
}


def json_streams(paths: Sequence[str], kind: Kind) -> list[Stream]:
    """Return the stream of all rows of some files, with the columns of all of them."""
    objects = _OBJECTS.format(format="newline_delimited" if kind == "jsonl" else "auto")
    patterns = [pattern_of(path) for path in paths]
    types = _without_loss(_keys(paths, objects, patterns), objects, patterns)
    named = [pa.field(key or f"column{i}", kind) for i, (key, kind) in enumerate(types.items())]
    schema = pa.schema([from_text(field) for field in named])
    values = [_VALUE[kind].format(i=i) for i, kind in enumerate(types.values(), 1)]

    def batches() -> Iterator[pa.RecordBatch]:
        if types:
            for batch in read(_select(values, types, objects), patterns):
                columns = [_cast(column, kind) for column, kind in zip(batch.columns, types.values(), strict=True)]
                yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return [Stream(schema, batches)]


def _keys(paths: Sequence[str], objects: str, patterns: Sequence[str]) -> dict[str, pa.DataType]:
    """Return the keys of all rows in the order in which they first come, each with the type that holds its values."""
    found = read(_KEYS.format(objects=objects), patterns).read_all().to_pylist()
    if not all(each["objects"] for each in found):
        for path in paths:
            if (bad := bad_line(path)) is not None:
                raise InputError(f"{path}: line {bad[0]} is no JSON object ({bad[1]}); mend or remove that line")
        raise InputError(f"{', '.join(paths)}: holds something that is no JSON object")
    return {each["key"]: _type(set(each["types"])) for each in found if each["key"] is not None}


def _type(names: set[str]) -> pa.DataType:
    """Return the type that holds values of these types of JSON."""
    match names - {"NULL"}:
        case some if some <= {"VARCHAR"}:
            return pa.string()
        case some if some <= {"BOOLEAN"}:
            return pa.bool_()
        case some if some <= _INTEGERS:
            return pa.int64()
        case some if some <= {"DOUBLE", *_INTEGERS}:
            return pa.float64()
    return pa.json_()


def _without_loss(types: Mapping[str, pa.DataType], objects: str, patterns: Sequence[str]) -> dict[str, pa.DataType]:
    """Return the same types, but JSON where a number would lose digits."""
    checks = {key: _KEEPS[kind].format(i=i) for i, (key, kind) in enumerate(types.items(), 1) if kind in _KEEPS}
    if not checks:
        return dict(types)
    [row] = read(_select(list(checks.values()), types, objects), patterns).read_all().to_pylist()
    lossy = {key for key, keeps in zip(checks, row.values(), strict=True) if keeps is False}
    return {key: pa.json_() if key in lossy else kind for key, kind in types.items()}


def _select(values: Sequence[str], keys: Iterable[str], objects: str) -> str:
    """Return SQL for values built from `v`, the list of the values of all keys."""
    pointers = ", ".join(quote_text("/" + key.replace("~", "~0").replace("/", "~1")) for key in keys)
    columns = ", ".join(f"{value} AS c{i}" for i, value in enumerate(values))
    return f"SELECT {columns} FROM (SELECT json_extract(json, [{pointers}]) AS v FROM {objects})"


def _cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    return pa.ExtensionArray.from_storage(kind, column) if kind == pa.json_() else column


def bad_line(path: str) -> tuple[int, str] | None:
    """Return number and complaint of the first line that is not JSON."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    if not isinstance(json.loads(line), dict):
                        return number, "it is not an object"
                except (ValueError, RecursionError) as error:
                    return number, str(error)
    return None
