"""Lines: what a batch's input file asks, line by line, and what its output file says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from jsonschema.exceptions import SchemaError
from jsonschema.validators import validator_for
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from leeroo.engine.batch.prompts import CONTEXT, is_text

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
ENDPOINTS = (CHAT, COMPLETIONS)
# The model that routes; other names are experts of the pool.
ROUTED = "leeroo"
_PARQUET = b"PAR1"
_BATCH_ROWS = 256
# Of a Parquet file, when all of it is unpacked: so many times the limit of the file itself.
_UNPACKED = 5

# What became of a line: answered; wrong in itself; failed, or not come to.
OK, WRONG, NO_MODEL, FAILED = 200, 400, 404, 500

Form = Literal["jsonl", "parquet"]


@dataclass(frozen=True)
class Asked:
    """What one line asks of the engine; the names are those of its columns."""

    question: str | None
    expert: str | None = None
    system: str | None = None
    turns: str | None = None  # JSON
    max_tokens: int | None = None
    temperature: float | None = None
    json_schema: str | None = None
    raw: bool = False
    subject: str | None = None
    category: str | None = None

    def as_json(self) -> str:
        """As kept until it is answered."""
        return json.dumps({name: value for name, value in asdict(self).items() if value not in (None, False)})


@dataclass(frozen=True)
class Line:
    """A line of the input: what it asks, or what is wrong with it alone (an HTTP status and a message)."""

    custom_id: str | None
    asked: Asked | None
    status: int = OK
    wrong: str | None = None


class Refused(Exception):
    """A file that is no batch.

    Attributes:
        code: OpenAI's word for what is wrong.
        line: Which line, from 1; None of the file as a whole.
        param: Which field.
    """

    def __init__(self, code: str, message: str, line: int | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.line, self.param = code, message, line, param


@dataclass(frozen=True)
class Limits:
    """What a file may hold."""

    file_bytes: int = 200 * 1024**2
    lines: int = 50_000
    line_bytes: int = 1024**2
    open_batches: int = 1000


def form_of(path: Path) -> Form:
    """Parquet by its first bytes, else JSON lines."""
    with path.open("rb") as file:
        return "parquet" if file.read(4) == _PARQUET else "jsonl"


def read_jsonl(path: Path, endpoint: str, models: frozenset[str], limits: Limits) -> Iterator[Line]:
    """The lines of a file of requests; empty ones are left out.

    Raises:
        Refused: a line is no request at all, a custom_id is there twice, or there are no lines or too many.

    """
    seen: set[str] = set()
    count = 0
    with path.open("rb") as file:
        for number, raw in enumerate(iter(lambda: file.readline(limits.line_bytes + 1), b""), start=1):
            if len(raw) > limits.line_bytes:
                most = f"a line has more than {limits.line_bytes:,} bytes"
                raise Refused("line_too_long", f"{most}: shorten it", number)
            if not raw.strip():
                continue
            count += 1
            if count > limits.lines:
                most = f"the file has more than {limits.lines:,} requests"
                raise Refused("too_many_tasks", f"{most}: split it", number)
            envelope = _envelope(raw, number)
            if envelope.url != endpoint:
                meant = f"the line's url is {envelope.url!r}, but the batch is for {endpoint}"
                raise Refused("mismatched_endpoint", meant, number, "url")
            if envelope.custom_id in seen:
                twice = f"the custom_id {envelope.custom_id!r} is there twice: give each line its own"
                raise Refused("duplicate_custom_id", twice, number, "custom_id")
            seen.add(envelope.custom_id)
            yield _line(envelope, models)
    if not count:
        raise Refused("empty_file", "the file holds no requests")


def read_parquet(path: Path, limits: Limits) -> Iterator[Line]:
    """The rows of a Parquet file with a column `question`; `subject` and `category` are used where they are there.

    Raises:
        Refused: the file cannot be read, has no such column, too many rows, or far more text than its size tells.

    """
    try:
        with pq.ParquetFile(path) as file:
            texts = [name for name in file.schema_arrow.names if is_text(file.schema_arrow.field(name).type)]
            _check_parquet(file, limits)
        # A text that stands in every row is kept once in the file, and is not unpacked before it is weighed.
        with pq.ParquetFile(path, read_dictionary=texts) as file:
            weight = 0
            for batch in file.iter_batches(_BATCH_ROWS, columns=texts):
                weight += sum(_weight(batch.column(name)) for name in texts)
                if weight > _UNPACKED * limits.file_bytes:
                    raise Refused("file_too_large", "the Parquet file is too large when it is unpacked: split it")
                columns = {
                    name: batch.column(name).cast(pa.string()).to_pylist()
                    for name in ("question", *CONTEXT)
                    if name in texts
                }
                for row in zip(*columns.values(), strict=True):
                    asked = Asked(**dict(zip(columns, row, strict=True)))
                    if len((asked.question or "").encode()) > limits.line_bytes:
                        yield Line(None, None, WRONG, f"the question has more than {limits.line_bytes:,} bytes")
                    else:
                        yield Line(None, asked)
    except (pa.ArrowException, OSError) as error:
        raise Refused("invalid_parquet", f"the Parquet file cannot be read: {str(error).splitlines()[0]}") from error


def _weight(column: pa.Array) -> int:
    """Bytes of a column of texts when they are unpacked."""
    if not pa.types.is_dictionary(column.type):
        return int(column.nbytes)
    lengths = pc.binary_length(column.dictionary).take(column.indices)
    return int(pc.sum(lengths).as_py() or 0)


def _check_parquet(file: pq.ParquetFile, limits: Limits) -> None:
    schema = file.schema_arrow
    if schema.names.count("question") != 1 or not is_text(schema.field("question").type):
        there = ", ".join(schema.names)
        raise Refused("missing_column", f"the Parquet file has no text column 'question'; its columns are: {there}")
    if not 0 < file.metadata.num_rows <= limits.lines:
        rows = f"the Parquet file has {file.metadata.num_rows:,} rows"
        raise Refused(
            "too_many_tasks" if file.metadata.num_rows else "empty_file", f"{rows}; 1 to {limits.lines:,} fit"
        )
    groups = (file.metadata.row_group(i) for i in range(file.metadata.num_row_groups))
    if sum(group.total_byte_size for group in groups) > _UNPACKED * limits.file_bytes:
        raise Refused("file_too_large", "the Parquet file is too large when it is unpacked: split it")


def result_line(
    batch: str, endpoint: str, created: int, line: int, custom_id: str | None, status: int, told: dict[str, Any]
) -> str:
    """A line of an output or error file, as OpenAI writes them, with what it cost in an object `leeroo`."""
    name = f"{batch.removeprefix('batch_')}-{line}"
    result = {"id": f"batch_req_{name}", "custom_id": custom_id}
    if status == FAILED:
        return json.dumps({**result, "response": None, "error": {"code": told["code"], "message": told["error"]}})
    if status != OK:
        body = error_body(told["error"], "invalid_request_error", "model_not_found" if status == NO_MODEL else None)
    else:
        body = _body(name, endpoint, created, told)
    response = {"status_code": status, "request_id": f"req_{name}", "body": body}
    return json.dumps({**result, "response": response, "error": None}, ensure_ascii=False)


def error_body(message: str, kind: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    """What OpenAI's API says of an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _body(name: str, endpoint: str, created: int, told: dict[str, Any]) -> dict[str, Any]:
    chat = endpoint == CHAT
    said = (
        {"message": {"role": "assistant", "content": told["answer"], "refusal": None}}
        if chat
        else {"text": told["answer"]}
    )
    prompt, completion = told["prompt_tokens"] or 0, told["completion_tokens"] or 0
    return {
        "id": f"{'chatcmpl' if chat else 'cmpl'}-{name}",
        "object": "chat.completion" if chat else "text_completion",
        "created": created,
        "model": told["expert"],
        "choices": [{"index": 0, **said, "logprobs": None, "finish_reason": told["finish_reason"]}],
        "usage": {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion},
        "leeroo": {name: told[name] for name in ("expert", "predicted_score", "cost_usd", "list_cost_usd")},
    }


class _Envelope(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    custom_id: str = Field(min_length=1, max_length=512)
    method: Literal["POST"]
    url: str
    body: dict[str, Any]


class _Body(BaseModel):
    """What both endpoints take; what is there and would change nothing is let through, the rest is named as wrong."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str
    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    n: Literal[1] | None = None
    stream: Literal[False] | None = None
    top_p: Literal[1] | None = None
    presence_penalty: Literal[0] | None = None
    frequency_penalty: Literal[0] | None = None
    logprobs: Literal[False, 0] | None = None
    seed: int | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None

    @field_validator("temperature", "top_p", "presence_penalty", "frequency_penalty", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return int(value) if isinstance(value, float) and value in (0, 1) else value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["text"]
    text: str


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]
    name: str | None = None

    @property
    def text(self) -> str:
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class _Format(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["text", "json_schema", "json_object"]
    json_schema: _Schema | None = None


class _Chat(_Body):
    messages: list[_Message] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    max_completion_tokens: int | None = Field(default=None, ge=1, le=1_000_000)
    response_format: _Format | None = None


class _Completion(_Body):
    prompt: str
    max_tokens: int | None = Field(default=16, ge=1, le=1_000_000)
    echo: Literal[False] | None = None
    best_of: Literal[1] | None = None


def _envelope(raw: bytes, number: int) -> _Envelope:
    try:
        told = json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        why = f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise Refused("invalid_json_line", f"the line is not valid JSON: {why}", number) from error
    if not isinstance(told, dict):
        raise Refused("invalid_json_line", "the line is not a JSON object", number)
    try:
        return _Envelope.model_validate(told)
    except ValidationError as error:
        where, why = _first(error)
        raise Refused("invalid_request", f"{where}: {why}", number, where) from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _line(envelope: _Envelope, models: frozenset[str]) -> Line:
    """What a line asks; what is wrong with its body is its own error and costs no other line."""
    form: Callable[[dict[str, Any]], Asked] = _chat if envelope.url == CHAT else _completion
    try:
        asked = form(envelope.body)
    except ValidationError as error:
        where, why = _first(error)
        return Line(envelope.custom_id, None, WRONG, f"{where}: {why}")
    except ValueError as error:
        return Line(envelope.custom_id, None, WRONG, str(error))
    model = envelope.body["model"]
    if model not in models and model != ROUTED:
        there = ", ".join([ROUTED, *sorted(models)])
        return Line(
            envelope.custom_id, None, NO_MODEL, f"there is no model {model!r}; those that can be asked are: {there}"
        )
    return Line(envelope.custom_id, asked)


def _chat(body: dict[str, Any]) -> Asked:
    """Raises ValueError where the messages are no conversation that a user has the last word in."""
    told = _Chat.model_validate(body)
    *before, last = told.messages
    if last.role != "user":
        raise ValueError("messages: the last one must be the user's")
    leading = 0
    while leading < len(before) and before[leading].role in ("system", "developer"):
        leading += 1
    if any(message.role in ("system", "developer") for message in before[leading:]):
        raise ValueError("messages: system messages stand before all others")
    turns = [{"role": message.role, "content": message.text} for message in before[leading:]]
    return Asked(
        question=last.text,
        expert=None if told.model == ROUTED else told.model,
        system="\n\n".join(message.text for message in before[:leading]) or None,
        turns=json.dumps(turns, ensure_ascii=False) if turns else None,
        max_tokens=told.max_completion_tokens or told.max_tokens,
        temperature=told.temperature,
        json_schema=_schema(told.response_format),
    )


def _completion(body: dict[str, Any]) -> Asked:
    told = _Completion.model_validate(body)
    return Asked(
        question=told.prompt,
        expert=None if told.model == ROUTED else told.model,
        max_tokens=told.max_tokens,
        temperature=told.temperature,
        raw=True,
    )


def _schema(form: _Format | None) -> str | None:
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return json.dumps({"type": "object"})
    if form.json_schema is None:
        raise ValueError("response_format: json_schema is missing")
    schema = form.json_schema.schema_
    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"response_format: not a JSON schema: {error.message}") from error
    return json.dumps(schema)


def _first(error: ValidationError) -> tuple[str, str]:
    """Where the first mistake is, and what it is."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the line"
    why = {
        "extra_forbidden": "is not supported here: leave it out",
        "missing": "is missing",
    }.get(first["type"], first["msg"])
    return where, why
