"""Prompts: read the input once, keep it as it came, and find its distinct questions.

The columns of the input are checked here. Every later stage works on distinct questions, which the worktable numbers
from 0 in the order in which they first appear.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.batch.criteria import Criteria
from leeroo.engine.batch.layout import field_names, fill_in, image_names, lay_out
from leeroo.engine.batch.worktable import INPUT, NO_ROOM, Worktable
from leeroo.engine.errors import InputError, Interrupted
from leeroo.engine.images.columns import check_images, is_image, looks_like_paths, references_of, with_images
from leeroo.engine.images.kept import Shelf
from leeroo.engine.images.marks import place_of
from leeroo.engine.images.references import Sources
from leeroo.engine.schema import ASK
from leeroo.engine.tables.values import as_text, can_mark, is_text, read_marks, stands_as_text


def build_asks(n: int, given: Mapping[str, Sequence[Any] | pa.Array]) -> pa.StructArray:
    """Build a column of `ASK` for n rows; arguments that are not given are NULL."""
    columns = [pa.array(given[each.name], each.type) if each.name in given else pa.nulls(n, each.type) for each in ASK]
    return pa.StructArray.from_arrays(columns, fields=list(ASK))


# Arguments of `ASK` that criteria may give to all rows.
_OF_ALL = ("system", "max_tokens", "temperature", "json_schema", "decisions")
# Columns of the input that a router which has learned from such may use, see `Router.predict`.
CONTEXT = ("subject", "category")
# Rows with images that are read at a time: their bytes are in memory meanwhile.
_ROWS_WITH_IMAGES = 64


@dataclass(frozen=True)
class Input:
    """The input, kept on disk.

    Attributes:
        kept: The record batches as they came (Arrow IPC).
        rows: Their number.
        distinct: The number of questions that differ.
        digest: Names the question and the arguments of every row, in order.
        remarks: What the user should know of it.
    """

    kept: Path
    schema: pa.Schema
    rows: int
    distinct: int
    digest: str
    remarks: list[str]


def read_input(
    reader: pa.RecordBatchReader,
    criteria: Criteria,
    worktable: Worktable,
    stop: threading.Event | None = None,
    held: Path | None = None,
) -> Input:
    """Read the input to its end into the worktable, and lay out the prompts of its distinct questions.

    Args:
        reader: The input.
        criteria: Its columns.
        worktable: Where it goes.
        stop: Ends it when it is set.
        held: The folder of images that rows may refer to by their hashes.

    Raises:
        InputError: a column is missing or of the wrong type, or the input breaks off.
        Interrupted: `stop` was set.

    """
    check_columns(reader.schema, criteria)
    kept = worktable.folder / "input.arrow"
    counted = _Count()
    shelf = Shelf(worktable.images, Sources(Path(criteria.image_folder or "."), criteria.allow_urls, held))
    batches = pa.RecordBatchReader.from_batches(INPUT, _keep(reader, criteria, kept, counted, shelf, stop))
    try:
        worktable.read(batches)
    except duckdb.Error as error:
        if counted.broke is None and isinstance(error, NO_ROOM):
            raise
        raise counted.broke or InputError(f"the input cannot be read to its end: {first_line(error)}") from error
    lay_out(worktable)
    distinct, digest = worktable.counts()
    return Input(kept, reader.schema, counted.rows, distinct, f"{counted.rows}-{digest}", counted.remarks)


@dataclass
class _Count:
    """The rows read so far, and the error that broke the input off: DuckDB passes that on as text only."""

    rows: int = 0
    broke: Exception | None = None
    remarks: list[str] = field(default_factory=list)


def _keep(
    reader: pa.RecordBatchReader,
    criteria: Criteria,
    kept: Path,
    count: _Count,
    shelf: Shelf,
    stop: threading.Event | None,
) -> Iterator[pa.RecordBatch]:
    """Write every batch to `kept` as it is, and pass on the columns that a run reads."""
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    try:
        with (
            pa.OSFile(str(kept), "wb") as file,
            pa.ipc.new_stream(file, reader.schema, options=options) as writer,
        ):
            for batch in _read(reader, stop):
                writer.write_batch(batch)
                if not count.rows and criteria.prompt is not None:
                    pictures = _pictures(batch.schema, criteria.prompt)
                    texts = [name for name in field_names(criteria.prompt) if name not in pictures]
                    count.remarks += looks_like_paths(batch, texts)
                for part in _in_parts(batch, criteria):
                    numbers = pa.array(np.arange(count.rows, count.rows + part.num_rows))
                    columns = _columns(part, criteria, count.rows, shelf)
                    count.rows += part.num_rows
                    yield pa.RecordBatch.from_arrays([numbers, *columns], schema=INPUT)
    except (InputError, OSError) as error:
        count.broke = error
        raise


def _read(reader: pa.RecordBatchReader, stop: threading.Event | None) -> Iterator[pa.RecordBatch]:
    """Yield the batches of the input; an error of its source is an `InputError`, unlike a full disk of ours."""
    try:
        for batch in reader:
            if stop is not None and stop.is_set():
                raise Interrupted
            yield batch
    except (OSError, pa.ArrowException, duckdb.Error) as error:
        raise InputError(f"the input cannot be read to its end: {first_line(error)}") from error


def _in_parts(batch: pa.RecordBatch, criteria: Criteria) -> Iterator[pa.RecordBatch]:
    """Yield a batch, in small parts where its rows have images."""
    if criteria.ask_column is not None:
        own = batch.column(criteria.ask_column)
        some = own.type.get_field_index("images") >= 0 and pc.struct_field(own, "images").null_count < len(own)
    else:
        some = bool(criteria.prompt and _pictures(batch.schema, criteria.prompt))
    rows = _ROWS_WITH_IMAGES if some else max(batch.num_rows, 1)
    return (batch.slice(at, rows) for at in range(0, batch.num_rows, rows))


def _pictures(schema: pa.Schema, prompt: str) -> list[str]:
    """Return the columns that a prompt shows as images: those of bytes, and of texts that it marks."""
    marked = image_names(prompt)
    return [name for name in field_names(prompt) if name in marked or is_image(schema.field(name).type)]


def _columns(batch: pa.RecordBatch, criteria: Criteria, first_row: int, shelf: Shelf) -> list[pa.Array]:
    """Return the columns of `INPUT` but for the first, in its types."""
    n = batch.num_rows
    question, asks = with_images(*read_asks(batch, criteria), shelf)
    context = [_text_or_null(batch, name) for name in CONTEXT]
    private = marked_private(batch, criteria, first_row)
    private = pa.nulls(n, pa.bool_()) if private is None else private
    return [question, *context, private, asks]


def read_asks(rows: pa.RecordBatch, criteria: Criteria) -> tuple[pa.Array, pa.StructArray]:
    """Return the question of each row and its arguments (`ASK`): those of its own, or those of the whole run."""
    n = rows.num_rows
    if criteria.ask_column is not None:
        own = rows.column(criteria.ask_column)
        there = [field for field in ASK if own.type.get_field_index(field.name) >= 0]
        given = {field.name: pc.struct_field(own, field.name).cast(field.type) for field in there}
        return as_text(rows.column(criteria.column)), build_asks(n, given)
    of_all: dict[str, Any] = {name: [value] * n for name in _OF_ALL if (value := getattr(criteria, name)) is not None}
    if criteria.prompt is None:
        return as_text(rows.column(criteria.column)), build_asks(n, of_all)
    pictures = _pictures(rows.schema, criteria.prompt)
    filled = [
        _fill_in(criteria.prompt, values, pictures) for values in _fields(rows, field_names(criteria.prompt), pictures)
    ]
    questions, fields, images = ([each[at] for each in filled] for at in range(3))
    of_all |= {"task": [criteria.prompt] * n, "fields": fields, **({"images": images} if pictures else {})}
    return pa.array(questions, pa.string()), build_asks(n, of_all)


def _fields(rows: pa.RecordBatch, names: Sequence[str], pictures: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the values that each row has in some columns, those of images as references."""
    columns = [references_of(rows.column(name)) if name in pictures else rows.column(name) for name in names]
    values = [(as_text(each) if is_text(each.type) else each).to_pylist() for each in columns]
    return (dict(zip(names, row, strict=True)) for row in zip(*values, strict=True))


def _fill_in(
    prompt: str, fields: dict[str, Any], pictures: Sequence[str]
) -> tuple[str | None, str | None, list[str] | None]:
    """Return a prompt with its fields, these as JSON, and its images; nothing where one is NULL or all are blank."""
    if None in fields.values() or not any(str(value).strip() for value in fields.values()):
        return None, None, None
    images = [fields[name] for name in pictures]
    shown = {**fields, **{name: place_of(number) for number, name in enumerate(pictures)}}
    written = json.dumps(shown, ensure_ascii=False, default=str)
    return fill_in(prompt, json.loads(written)), written, images or None


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
    """Return a column that may be there, as text; one of another type, or there twice, counts as absent."""
    at = batch.schema.get_all_field_indices(name)
    if len(at) == 1 and is_text(batch.schema.field(at[0]).type):
        return as_text(batch.column(at[0]))
    return pa.nulls(batch.num_rows, pa.string())


def check_columns(schema: pa.Schema, criteria: Criteria) -> None:
    """Check that the input has the columns of the criteria, in types that can be used.

    Raises:
        InputError: it has not; the message names the columns there are.

    """
    there = ", ".join(schema.names) or "none"
    read = [criteria.column] if criteria.prompt is None else field_names(criteria.prompt)
    if not read:
        raise InputError(f"the prompt names no column: write one in braces, such as {{text}}; the columns are: {there}")
    for name in (*read, criteria.private_column, criteria.ask_column):
        if name is not None and schema.get_all_field_indices(name) == []:
            hint = " (choose one with column=)" if name == criteria.column and criteria.prompt is None else ""
            raise InputError(f"the input has no column {name!r}; its columns are: {there}{hint}")
        if name is not None and len(schema.get_all_field_indices(name)) > 1:
            raise InputError(f"the input has more than one column {name!r}; rename all but one of them")
    if criteria.prompt is None:
        _check_text(schema.field(criteria.column), there)
    else:
        check_images(schema, image_names(criteria.prompt))
    if criteria.private_column and not can_mark(schema.field(criteria.private_column).type):
        raise InputError(
            f"the column {criteria.private_column!r} is of type {schema.field(criteria.private_column).type};"
            " a column that marks private rows holds true and false, 1 and 0, or yes and no"
        )


def _check_text(field: pa.Field, there: str) -> None:
    """Check that a column can be read as questions; raises as `check_columns`."""
    if not is_text(field.type) and not stands_as_text(field):
        raise InputError(
            f"the column {field.name!r} is of type {field.type}, not text; convert it to strings first"
            f" (in SQL: CAST({field.name} AS VARCHAR)) or choose another of: {there}"
        )


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, for a sentence of our own."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
