"""Rows to prompts: read the input once, keep it as it came, and find its distinct questions.

What is asked of the input is checked here. Everything after this stage works on distinct questions: the
table `questions` of the scratch database, one row each, numbered from 0 in the order of first appearance.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.batch.criteria import Criteria
from leeroo.engine.batch.layout import lay_out
from leeroo.engine.batch.scratch import NO_ROOM, Scratch
from leeroo.engine.errors import InputError
from leeroo.engine.schema import ASK
from leeroo.engine.tables.values import as_text, can_mark, is_text, read_marks, stands_as_text


def asking(n: int, given: Mapping[str, Sequence[Any] | pa.Array]) -> pa.StructArray:
    """A column of `ASK` for n rows; what is not given is NULL."""
    columns = [pa.array(given[each.name], each.type) if each.name in given else pa.nulls(n, each.type) for each in ASK]
    return pa.StructArray.from_arrays(columns, fields=list(ASK))


# Columns of the input that a router which has learned from such may use, see `Router.predict`.
CONTEXT = ("subject", "category")

# What a question was made of changes how it is laid out, not what it asks.
_ARGUMENTS = [name for name in ASK.names if name not in ("task", "fields")]

# The key is a hash of JSON, in which no two different rows read alike. A row sampled at a temperature is its own
# question: the same words may bring another answer. A blank question asks nothing, as NULL does.
_ROWS = rf"""
CREATE TABLE rows AS
SELECT row, CASE WHEN NOT regexp_full_match(question, '[\s\p{{Z}}\p{{C}}]*') THEN md5_number(to_json(struct_pack(
           question, private, sampled := CASE WHEN temperature > 0 THEN row END,
           {", ".join(_ARGUMENTS)}))::VARCHAR) END AS key,
       *EXCLUDE (row)
FROM (SELECT row, question, subject, category, coalesce(private, false) AS private,
             ask.* REPLACE (coalesce(ask.raw, false) AS raw, nullif(ask.temperature, 0) AS temperature)
      FROM input)
"""

_QUESTIONS = f"""
CREATE TABLE questions AS
SELECT (row_number() OVER (ORDER BY first_row) - 1)::BIGINT AS id, *,
       CASE WHEN raw THEN NULL
            WHEN choices IS NOT NULL
            THEN 'Answer with exactly one of these, and nothing else: ' || array_to_string(choices, ', ')
            WHEN json_schema IS NOT NULL
            THEN 'Answer with JSON that is valid under this JSON schema, and nothing else: ' || json_schema
       END AS form,
       NULL::VARCHAR AS laid_out
FROM (SELECT key, min(row) AS first_row, count(*) AS rows, any_value(question) AS question,
             arg_min(subject, row) AS subject, arg_min(category, row) AS category,
             any_value(private) AS private, arg_min(task, row) AS task, arg_min(fields, row) AS fields,
             {", ".join(f"any_value({name}) AS {name}" for name in _ARGUMENTS)}
      FROM rows WHERE key IS NOT NULL GROUP BY key)
"""


@dataclass(frozen=True)
class Spool:
    """The input, kept on disk, and the counts of what is in it."""

    kept: Path  # the input's record batches as they came (Arrow IPC)
    schema: pa.Schema
    rows: int
    distinct: int
    digest: str  # of every row's question and arguments, in order


def spool(reader: pa.RecordBatchReader, criteria: Criteria, scratch: Scratch) -> Spool:
    """Read the input to its end into the scratch folder and number its distinct questions.

    Raises:
        InputError: a column is missing or of the wrong type, or the input breaks off.

    """
    check_columns(reader.schema, criteria)
    kept = scratch.folder / "input.arrow"
    counted = _Count()
    batches = pa.RecordBatchReader.from_batches(_NARROW, _keep(reader, criteria, kept, counted))
    con = scratch.con
    con.register("input", batches)
    try:
        con.execute(_ROWS)
    except duckdb.Error as error:
        if counted.broke is None and isinstance(error, NO_ROOM):
            raise
        raise counted.broke or InputError(f"the input cannot be read to its end: {first_line(error)}") from error
    con.unregister("input")
    con.execute(_QUESTIONS)
    lay_out(con)
    # The text of every row has done its work; the distinct ones are in `questions`.
    con.execute("CREATE TABLE row_keys AS SELECT row, key, hash(subject, category) AS context FROM rows")
    con.execute("DROP TABLE rows")
    distinct, digest = con.execute(
        "SELECT (SELECT count(*) FROM questions), (SELECT coalesce(bit_xor(hash(row, key, context)), 0) FROM row_keys)"
    ).fetchall()[0]
    return Spool(kept, reader.schema, counted.rows, int(distinct), f"{counted.rows}-{digest}")


_NARROW = pa.schema(
    [
        pa.field("row", pa.int64()),
        pa.field("question", pa.string()),
        pa.field("subject", pa.string()),
        pa.field("category", pa.string()),
        pa.field("private", pa.bool_()),
        pa.field("ask", pa.struct(list(ASK))),
    ]
)


class _Count:
    """How many rows have gone by, and what broke: DuckDB passes on an error of its source as text only."""

    rows = 0
    broke: Exception | None = None


def _keep(reader: pa.RecordBatchReader, criteria: Criteria, kept: Path, count: _Count) -> Iterator[pa.RecordBatch]:
    """Write every batch to `kept` as it is and pass on only the columns that are asked about."""
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    try:
        with (
            pa.OSFile(str(kept), "wb") as file,
            pa.ipc.new_stream(file, reader.schema, options=options) as writer,
        ):
            for batch in _read(reader):
                writer.write_batch(batch)
                numbers = pa.array(np.arange(count.rows, count.rows + batch.num_rows))
                asked = _asked(batch, criteria, count.rows)
                count.rows += batch.num_rows
                yield pa.RecordBatch.from_arrays([numbers, *asked], schema=_NARROW)
    except (InputError, OSError) as error:
        count.broke = error
        raise


def _read(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """The batches of the input; whatever breaks it off is an `InputError`, unlike a full disk of ours."""
    try:
        yield from reader
    except (OSError, pa.ArrowException, duckdb.Error) as error:
        raise InputError(f"the input cannot be read to its end: {first_line(error)}") from error


def _asked(batch: pa.RecordBatch, criteria: Criteria, first_row: int) -> list[pa.Array]:
    """Question, context, private and ask of a batch, in the types of `_NARROW`."""
    n = batch.num_rows
    question = as_text(batch.column(criteria.column))
    context = [_text_or_null(batch, name) for name in CONTEXT]
    private = marked_private(batch, criteria, first_row)
    private = pa.nulls(n, pa.bool_()) if private is None else private
    if criteria.ask_column is None:
        return [question, *context, private, pa.nulls(n, _NARROW.field("ask").type)]
    given = batch.column(criteria.ask_column)
    fields = [
        pc.struct_field(given, field.name).cast(field.type)
        if given.type.get_field_index(field.name) >= 0
        else pa.nulls(n, field.type)
        for field in ASK
    ]
    return [question, *context, private, pa.StructArray.from_arrays(fields, fields=list(ASK))]


def marked_private(batch: pa.RecordBatch | pa.Table, criteria: Criteria, first_row: int = 0) -> pa.Array | None:
    """Return which rows are private, None where no column says so; a row that says nothing is private.

    Raises:
        InputError: a value is neither yes nor no.
    """
    if criteria.private_column is None:
        return None
    marks, wrong = read_marks(batch.column(criteria.private_column))
    if wrong is not None:
        row, value = wrong
        raise InputError(
            f"row {first_row + row + 1} of the column {criteria.private_column!r} is {value!r}: a column that marks"
            " private rows holds true and false, 1 and 0, or yes and no"
        )
    return marks.fill_null(True)


def _text_or_null(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A column that may be there, as text; what is no text, or there twice, counts as absent."""
    at = batch.schema.get_all_field_indices(name)
    if len(at) == 1 and is_text(batch.schema.field(at[0]).type):
        return as_text(batch.column(at[0]))
    return pa.nulls(batch.num_rows, pa.string())


def check_columns(schema: pa.Schema, criteria: Criteria) -> None:
    """Check that the input has the columns asked for, of types that can be used.

    Raises:
        InputError: it has not; the message names the columns there are.

    """
    there = ", ".join(schema.names) or "none"
    for name in (criteria.column, criteria.private_column, criteria.ask_column):
        if name is not None and schema.get_all_field_indices(name) == []:
            hint = " (choose one with column=)" if name == criteria.column else ""
            raise InputError(f"the input has no column {name!r}; its columns are: {there}{hint}")
        if name is not None and len(schema.get_all_field_indices(name)) > 1:
            raise InputError(f"the input has more than one column {name!r}; rename all but one of them")
    field = schema.field(criteria.column)
    if not is_text(field.type) and not stands_as_text(field):
        raise InputError(
            f"the column {criteria.column!r} is of type {field.type}, not text; convert it to strings first"
            f" (in SQL: CAST({criteria.column} AS VARCHAR)) or choose another of: {there}"
        )
    if criteria.private_column and not can_mark(schema.field(criteria.private_column).type):
        raise InputError(
            f"the column {criteria.private_column!r} is of type {schema.field(criteria.private_column).type};"
            " a column that marks private rows holds true and false, 1 and 0, or yes and no"
        )


def first_line(error: BaseException) -> str:
    """The first line of an error's message, for a sentence of our own."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
