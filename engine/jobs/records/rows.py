"""Records of every row of a table: answers under the schema of a record, and typed columns of their values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.batch.write import check_names
from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.extract import extract
from leeroo.engine.jobs.records.kinds import Record, read_answer, whole_schema
from leeroo.engine.schema import ANSWERS


def read_record(record: Record, answer: str, finish_reason: str | None = None) -> tuple[Any, str | None]:
    """Return the values of a record in an answer, or the reason why there are none."""
    text, why = extract(answer, whole_schema(record), finish_reason)
    if text is None:
        return None, why
    try:
        return read_answer(record, text), None
    except ValueError as error:
        return None, f"the answer cannot be converted: {error}"


def record_rows(engine: Engine, rows: pa.RecordBatchReader, record: Record, criteria: Criteria) -> pa.Table:
    """Answer every row of a table with a record.

    Returns:
        The table with a typed column for each field, and the columns of `schema.ANSWERS` but the first. A row whose
        answer is no such record has NULLs, with the reason as error.

    Raises:
        UsageError: a field has the name of another column.
        InputError, PoolError, OutputError: as `Engine.answer`.

    """
    prefix = criteria.prefix
    check_fields(rows.schema, record, prefix)
    table = engine.answer_table(rows, replace(criteria, json_schema=whole_schema(record)))
    names = ("answer", "finish_reason", "error")
    said = zip(*(table.column(f"{prefix}{name}").to_pylist() for name in names), strict=True)
    found = [(None, why) if answer is None else read_record(record, answer, end) for answer, end, why in said]
    place = table.schema.get_field_index(f"{prefix}error")
    table = table.set_column(place, table.schema.field(place), pa.array([why for _, why in found], pa.string()))
    return replace_answer(table, record, [value for value, _ in found], prefix)


def replace_answer(table: pa.Table, record: Record, values: Sequence[Any], prefix: str) -> pa.Table:
    """Return a table with columns of the fields of a record in the place of its answers."""
    columns = pa.array(values, record.arrow).flatten()
    at = table.schema.get_field_index(f"{prefix}answer")
    table = table.remove_column(at)
    for i, (field, column) in enumerate(zip(record.arrow, columns, strict=True)):
        table = table.add_column(at + i, field.with_name(prefix + field.name), column)
    return table


def check_fields(rows: pa.Schema, record: Record, prefix: str) -> None:
    """Check, before anything is paid for, that the columns will have different names; raises as `record_rows`."""
    check_names(rows, pa.schema(list(record.arrow)), prefix)
    taken = {name.casefold() for name in ANSWERS.names[1:]}
    clash = [field.name for field in record.fields if field.name.casefold() in taken]
    if clash:
        raise UsageError(
            f"the field {clash[0]!r} has the name of a column of answers: rename it; these are"
            f" {', '.join(ANSWERS.names[1:])}"
        )
