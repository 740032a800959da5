"""What is extracted from every row: JSON under a schema of the user's, or a typed record; reads which is meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.jobs.extract import extract_rows, read_schema
from leeroo.engine.jobs.records.declared import read_declared
from leeroo.engine.jobs.records.kinds import Record
from leeroo.engine.jobs.records.rows import record_rows
from leeroo.engine.jobs.records.sql_types import read_fields


def read_wanted(given: Any) -> Record | str:
    """Return a record, or a JSON schema as text.

    Args:
        given: A JSON schema as a mapping or as text; fields with their types as text, `name VARCHAR, due DATE`; a
            Pydantic model, a dataclass or an Arrow schema.

    Raises:
        UsageError: it is none of these.
    """
    if isinstance(given, str) and not given.lstrip().startswith("{"):
        return read_fields(given)
    return read_schema(given) if isinstance(given, str | Mapping) else read_declared(given)


def extract_wanted(engine: Engine, rows: pa.RecordBatchReader, wanted: Record | str, criteria: Criteria) -> pa.Table:
    """Answer every row of a table with what is wanted: see `record_rows` and `extract_rows`."""
    extract_all: Any = record_rows if isinstance(wanted, Record) else extract_rows
    table: pa.Table = extract_all(engine, rows, wanted, criteria)
    return table
