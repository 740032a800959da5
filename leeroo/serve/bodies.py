"""Bodies: what OpenAI's requests ask, as the engine is asked it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from jsonschema.exceptions import SchemaError
from jsonschema.validators import validator_for
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
# The model that routes; other names are experts of the pool.
ROUTED = "leeroo"


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


def asked_by(endpoint: str, body: dict[str, Any]) -> Asked:
    """What a request asks.

    Raises:
        ValueError: it is none, or asks what is not done here; the message says where and why.

    """
    form: Callable[[dict[str, Any]], Asked] = _chat if endpoint == CHAT else _completion
    try:
        return form(body)
    except ValidationError as error:
        where, why = first_mistake(error)
        raise ValueError(f"{where}: {why}") from error


def first_mistake(error: ValidationError) -> tuple[str, str]:
    """Where the first mistake is, and what it is."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the line"
    why = {
        "extra_forbidden": "is not supported here: leave it out",
        "missing": "is missing",
    }.get(first["type"], first["msg"])
    return where, why


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
