"""Extract: answers in JSON under a schema. The JSON is found in the text of an answer, and checked.

Knows nothing of SQL.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.backends.schemas import complaint, validator
from leeroo.engine.errors import UsageError

# A block of Markdown, into which models often put JSON.
_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL | re.IGNORECASE)


def extract(answer: str, schema: str, finish_reason: str | None = None) -> tuple[str | None, str | None]:
    """Return the JSON in an answer, or why there is none that is valid under a schema; it may have ended by length."""
    why = complaint(answer, schema, finish_reason)
    if why is None:
        return answer, None
    fenced = _FENCED.search(answer)
    if fenced is None:
        return None, why
    why = complaint(fenced[1], schema, finish_reason)
    return (fenced[1].strip(), None) if why is None else (None, why)


def check_schema(schema: str) -> None:
    """Check that a text is a JSON schema.

    Raises:
        UsageError: it is not one.

    """
    try:
        validator(schema)
    except ValueError as error:
        raise UsageError(str(error)) from None


def read_schema(given: str | Mapping[str, Any]) -> str:
    """Return a JSON schema as text.

    Raises:
        UsageError: it is not one.

    """
    try:
        text = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"the schema is no JSON: {error}") from error
    check_schema(text)
    return text


def extract_rows(engine: Engine, rows: pa.RecordBatchReader, schema: str, criteria: Criteria) -> pa.Table:
    """Answer every row of a table with JSON that is valid under a schema.

    Returns:
        The table with the columns of `schema.ANSWERS`. An answer without such JSON is NULL, with the reason as error.

    Raises:
        InputError, PoolError, OutputError: as `Engine.answer`.

    """
    table = engine.answer_table(rows, replace(criteria, json_schema=schema))
    names = [f"{criteria.prefix}{name}" for name in ("answer", "error")]
    ends = table.column(f"{criteria.prefix}finish_reason").to_pylist()
    rows_said = zip(*(table.column(name).to_pylist() for name in names), ends, strict=True)
    found = [(said, why) if said is None else extract(said, schema, end) for said, why, end in rows_said]
    for i, name in enumerate(names):
        place = table.schema.get_field_index(name)
        values = pa.array([row[i] for row in found], pa.string())
        table = table.set_column(place, table.schema.field(place), values)
    return table
