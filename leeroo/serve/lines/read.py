"""Lines: the requests in a batch's input file, read and checked one by one.

Knows nothing of the database.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from leeroo.engine.batch.prompts import CONTEXT
from leeroo.engine.tables.values import is_text
from leeroo.serve.lines.bodies import ROUTED, first_mistake, read_body
from leeroo.serve.lines.requests import LineRequest, line_request
from leeroo.serve.options import ServerOptions

_PARQUET = b"PAR1"
# Half of a character that takes two: JSON can write it, UTF-8 cannot.
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
# Rows of a Parquet file in memory at a time.
BATCH_ROWS = 256
# The most bytes of a Parquet file's content, as a multiple of the most bytes of a file.
_UNPACKED = 5

# States of a line: answered; wrong in itself, in two ways; failed or not reached.
OK, WRONG, NO_MODEL, FAILED = 200, 400, 404, 500

Form = Literal["jsonl", "parquet"]


@dataclass(frozen=True)
class Line:
    """A line of the input: its request, or what is wrong with it alone (an HTTP status and a message)."""

    custom_id: str | None
    request: LineRequest | None
    status: int = OK
    wrong: str | None = None


class FileRefused(Exception):
    """A file that is no batch.

    Attributes:
        code: OpenAI's word for what is wrong.
        line: The wrong line, from 1; None if it is the file as a whole.
        param: The wrong field, None if it is none.
    """

    def __init__(self, code: str, message: str, line: int | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.line, self.param = code, message, line, param


def form_of(path: Path) -> Form:
    """Return the form of a file: Parquet by its first bytes, else JSON lines."""
    with path.open("rb") as file:
        return "parquet" if file.read(4) == _PARQUET else "jsonl"


def read_jsonl(path: Path, endpoint: str, models: frozenset[str], limits: ServerOptions) -> Iterator[Line]:
    """Yield the lines of a file of requests; empty ones are left out.

    Raises:
        FileRefused: a line is no request at all, a custom_id is there twice, or there are no lines or too many.

    """
    seen: set[str] = set()
    count = 0
    with path.open("rb") as file:
        for number, raw in enumerate(iter(lambda: file.readline(limits.line_bytes + 1), b""), start=1):
            if len(raw) > limits.line_bytes:
                most = f"a line has more than {limits.line_bytes:,} bytes"
                raise FileRefused("line_too_long", f"{most}: shorten it", number)
            if not raw.strip():
                continue
            count += 1
            if count > limits.lines:
                most = f"the file has more than {limits.lines:,} requests"
                raise FileRefused("too_many_tasks", f"{most}: split it", number)
            envelope = _envelope(raw, number)
            if envelope.url != endpoint:
                meant = f"the line's url is {envelope.url!r}, but the batch is for {endpoint}"
                raise FileRefused("mismatched_endpoint", meant, number, "url")
            if envelope.custom_id in seen:
                twice = f"the custom_id {envelope.custom_id!r} is there twice: give each line its own"
                raise FileRefused("duplicate_custom_id", twice, number, "custom_id")
            seen.add(envelope.custom_id)
            yield _line(envelope, models, half=_HALF.search(raw) is not None)
    if not count:
        raise FileRefused("empty_file", "the file holds no requests")


def read_parquet(path: Path, limits: ServerOptions) -> Iterator[Line]:
    """Yield the rows of a Parquet file with a column `question`; `subject` and `category` are used if they are there.

    Raises:
        FileRefused: the file cannot be read, has no such column, too many rows, or far more content than its size says.

    """
    try:
        with pq.ParquetFile(path) as file:
            _check_parquet(file, limits)
            leaves = [file.schema.column(i).path for i in range(len(file.schema))]
        # A value that stands in every row is kept once in the file; it is measured before it is unpacked.
        with pq.ParquetFile(path, read_dictionary=leaves) as file:
            names = file.schema_arrow.names
            used = [name for name in ("question", *CONTEXT) if names.count(name) == 1]
            used = [name for name in used if is_text(file.schema_arrow.field(name).type)]
            unpacked = 0
            for batch in file.iter_batches(BATCH_ROWS):
                unpacked += sum(map(_unpacked_bytes, batch.columns))
                if unpacked > _UNPACKED * limits.file_bytes:
                    raise FileRefused("file_too_large", "the Parquet file is too large when it is unpacked: split it")
                columns = [_bytes(batch.column(names.index(name))) for name in used]
                for row in zip(*columns, strict=True):
                    yield _row(dict(zip(used, row, strict=True)), limits)
    except (pa.ArrowException, OSError, ValueError) as error:
        why = (str(error).splitlines() or ["it is damaged"])[0]
        raise FileRefused("invalid_parquet", f"the Parquet file cannot be read: {why}") from error


def _row(cells: dict[str, bytes | None], limits: ServerOptions) -> Line:
    """Return a row as a line; text that is not UTF-8 or too long is its own error."""
    if len(cells["question"] or b"") > limits.line_bytes:
        return Line(None, None, WRONG, f"the question has more than {limits.line_bytes:,} bytes")
    texts: dict[str, Any] = {}
    for name, cell in cells.items():
        try:
            texts[name] = cell if cell is None else cell.decode()
        except UnicodeDecodeError:
            return Line(None, None, WRONG, f"the column {name!r} is not valid UTF-8 in this row")
    return Line(None, line_request(**texts))


def _bytes(column: pa.Array) -> list[bytes | None]:
    """Return texts as they are in the file, valid or not."""
    texts = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    return list(texts.cast(pa.large_binary()).to_pylist())


def _unpacked_bytes(column: pa.Array) -> int:
    """Return the bytes of a column when it is unpacked, whatever it is nested in."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        if kind.value_type not in (pa.string(), pa.binary(), pa.large_string(), pa.large_binary()):
            return int(column.dictionary_decode().nbytes)
        lengths = pc.binary_length(column.dictionary).take(column.indices)
        return int(pc.sum(lengths).as_py() or 0) + 4 * len(column)
    if pa.types.is_struct(kind):
        return len(column) + sum(map(_unpacked_bytes, column.flatten()))
    if pa.types.is_map(kind):
        return 4 * len(column) + _unpacked_bytes(column.keys) + _unpacked_bytes(column.items)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return 8 * len(column) + _unpacked_bytes(column.flatten())
    return int(column.nbytes)


def _check_parquet(file: pq.ParquetFile, limits: ServerOptions) -> None:
    schema = file.schema_arrow
    if schema.names.count("question") != 1 or not is_text(schema.field("question").type):
        there = ", ".join(schema.names)
        raise FileRefused("missing_column", f"the Parquet file has no text column 'question'; its columns are: {there}")
    if not 0 < file.metadata.num_rows <= limits.lines:
        rows = f"the Parquet file has {file.metadata.num_rows:,} rows"
        raise FileRefused(
            "too_many_tasks" if file.metadata.num_rows else "empty_file", f"{rows}; 1 to {limits.lines:,} fit"
        )
    groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
    if sum(group.total_byte_size for group in groups) > _UNPACKED * limits.file_bytes:
        raise FileRefused("file_too_large", "the Parquet file is too large when it is unpacked: split it")


class _Envelope(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    custom_id: str = Field(min_length=1, max_length=512)
    method: Literal["POST"]
    url: str
    body: dict[str, Any]


def _envelope(raw: bytes, number: int) -> _Envelope:
    try:
        value = json.loads(raw, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        why = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise FileRefused("invalid_json_line", f"the line is not valid JSON: {why}", number) from error
    if not isinstance(value, dict):
        raise FileRefused("invalid_json_line", "the line is not a JSON object", number)
    try:
        return _Envelope.model_validate(value)
    except ValidationError as error:
        where, why = first_mistake(error)
        raise FileRefused("invalid_request", f"{where}: {why}", number, where) from error


def no_constant(name: str) -> Any:
    """Refuse NaN and Infinity, which `json.loads` would read; for its `parse_constant`."""
    raise ValueError(f"{name} is no JSON")


def _line(envelope: _Envelope, models: frozenset[str], *, half: bool) -> Line:
    """Return the request of a line; whatever is wrong with its body is its own error and costs no other line."""
    try:
        if half:
            _check_text(envelope.body)
        request = read_body(envelope.url, envelope.body)
    except ValueError as error:
        return Line(envelope.custom_id, None, WRONG, str(error))
    model = envelope.body["model"]
    if model not in models and model != ROUTED:
        there = ", ".join([ROUTED, *sorted(models)])
        why = f"there is no model {model!r}; those that can be asked are: {there}"
        return Line(envelope.custom_id, None, NO_MODEL, why)
    return Line(envelope.custom_id, request)


def _check_text(body: dict[str, Any]) -> None:
    """Raise ValueError where a text holds half a character, which may be written as one escape of a pair."""
    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError("a text holds half a character (a lone surrogate): send whole ones") from error
