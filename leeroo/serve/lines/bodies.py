"""Bodies: OpenAI's requests, checked, as requests of the engine.

Knows nothing of files, batches and the database.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from leeroo.engine.images.marks import place_of
from leeroo.serve.lines.requests import LineRequest, line_request
from leeroo.serve.lines.schemas import checked_schema

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
# The model that routes; other names are experts of the pool.
ROUTED = "leeroo"
# The most answers of one line: each is a row for the engine.
MOST_CHOICES = 16

# Values that change nothing, as null, false and empty ones do.
_DEFAULTS: dict[str, tuple[Any, ...]] = {
    "best_of": (1,),
    "modalities": (["text"],),
    "n": (1,),
    "parallel_tool_calls": (True,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "service_tier": ("auto", "default"),
    "tool_choice": ("none", "auto"),
    "top_p": (1,),
    "verbosity": ("medium",),
}


def read_body(endpoint: str, body: dict[str, Any]) -> LineRequest:
    """Return the request in a body.

    Raises:
        ValueError: it is none, or has what is not supported here; the message says where and why.

    """
    form: Callable[[dict[str, Any]], LineRequest] = _chat if endpoint == CHAT else _completion
    try:
        return form({name: value for name, value in body.items() if not _is_default(name, value)})
    except ValidationError as error:
        where, why = first_mistake(error)
        raise ValueError(f"{where}: {why}") from error


def first_mistake(error: ValidationError) -> tuple[str, str]:
    """Return where the first mistake is, and what it is."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"]) or "the line"
    why = {
        "extra_forbidden": "is not supported here: leave it out",
        "missing": "is missing",
    }.get(first["type"], first["msg"].removeprefix("Value error, "))
    return where, why


def _is_default(name: str, value: Any) -> bool:
    """Return whether a key has its default or nothing, as many clients write it out."""
    return value is None or value is False or value in ("", [], {}) or value in _DEFAULTS.get(name, ())


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


_Penalty = Annotated[float | None, Field(ge=-2, le=2, allow_inf_nan=False)]
_Stop = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
_Tokens = Annotated[int | None, Field(ge=1, le=1_000_000)]


class _Body(_Strict):
    """Keys that both endpoints take; any other key is an error."""

    model: str
    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63 - MOST_CHOICES)
    stop: list[_Stop] | None = Field(default=None, max_length=16)
    presence_penalty: _Penalty = None
    frequency_penalty: _Penalty = None
    n: int = Field(default=1, ge=1, le=MOST_CHOICES)
    # These say who sends it and why, and change no answer.
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    metadata: dict[str, Any] | None = None

    @field_validator("stop", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    def shared(self) -> LineRequest:
        """Return the columns that both endpoints have in common."""
        names = ("top_p", "seed", "stop", "presence_penalty", "frequency_penalty", "n")
        # Several answers to one question are samples; at temperature 0 all would be the same one.
        sampled = 1.0 if self.n > 1 and self.temperature is None else self.temperature
        expert = None if self.model == ROUTED else self.model
        return {**{name: getattr(self, name) for name in names}, "temperature": sampled, "expert": expert}


class _Text(_Strict):
    type: Literal["text"]
    text: str


class _Address(_Strict):
    url: str
    detail: Literal["auto"] = "auto"  # how closely a model looks is left to its provider

    @field_validator("url")
    @classmethod
    def _holds_data(cls, url: str) -> str:
        if not url.lower().startswith("data:image/"):
            raise ValueError("images are read from data: URLs here, and none is fetched: send its bytes")
        return url


class _Image(_Strict):
    type: Literal["image_url"]
    image_url: _Address


_PARTS: dict[Any, type[_Text | _Image]] = {"text": _Text, "image_url": _Image}


class _Message(_Strict):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Text | _Image] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    refusal: None = None

    @field_validator("content", mode="before")
    @classmethod
    def _read_parts(cls, value: Any) -> Any:
        """Read the parts of a content, each by its type."""
        if not isinstance(value, list):
            return value
        kinds = [part.get("type") if isinstance(part, dict) else None for part in value]
        for kind in kinds:
            if not isinstance(kind, str) or kind not in _PARTS:
                raise ValueError(f"parts of type {kind!r} are not supported here: send text or image_url")
        return [_PARTS[kind].model_validate(part) for kind, part in zip(kinds, value, strict=True)]

    @property
    def parts(self) -> Sequence[_Text | _Image]:
        return self.content if isinstance(self.content, list) else [_Text(type="text", text=self.content or "")]

    @property
    def text(self) -> str:
        """The text of the message, with a place for each of its images."""
        places = itertools.count()
        return "".join(part.text if isinstance(part, _Text) else place_of(next(places)) for part in self.parts)

    @property
    def images(self) -> list[str]:
        return [part.image_url.url for part in self.parts if isinstance(part, _Image)]

    def as_turn(self) -> dict[str, Any]:
        """Return the message as the engine passes it on."""
        return {
            "role": self.role,
            "content": self.text,
            **self.model_dump(exclude={"role", "content"}, exclude_none=True),
        }


class _Schema(_Strict):
    name: str
    description: str | None = None
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class _Format(_Strict):
    type: Literal["text", "json_schema", "json_object"]
    json_schema: _Schema | None = None


class _Chat(_Body):
    messages: list[_Message] = Field(min_length=1)
    max_tokens: _Tokens = None
    max_completion_tokens: _Tokens = None
    response_format: _Format | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high"] | None = None
    logprobs: bool = False
    top_logprobs: int | None = Field(default=None, ge=0, le=20)


class _Completion(_Body):
    prompt: str
    max_tokens: _Tokens = 16
    logprobs: int | None = Field(default=None, ge=0, le=5)


def _chat(body: dict[str, Any]) -> LineRequest:
    """Take the user's last message as the question, and pass on what stands before and after it.

    Raises:
        ValueError: there is no such message, another one has images, or there are alternatives without log
            probabilities.

    """
    chat = _Chat.model_validate(body)
    users = [at for at, message in enumerate(chat.messages) if message.role == "user"]
    if not users:
        raise ValueError("messages: there is no message of the user")
    if chat.top_logprobs and not chat.logprobs:
        raise ValueError("top_logprobs: set logprobs to true as well")
    before, question, after = chat.messages[: users[-1]], chat.messages[users[-1]], chat.messages[users[-1] + 1 :]
    if any(message.images for message in (*before, *after)):
        raise ValueError("messages: images are supported in the last message of the user only")
    leading = 0
    while leading < len(before) and before[leading].role in ("system", "developer"):
        leading += 1
    return line_request(
        question=question.text,
        images=question.images or None,
        system="\n\n".join(message.text for message in before[:leading]) or None,
        turns=_turns(before[leading:]),
        after=_turns(after),
        max_tokens=chat.max_completion_tokens or chat.max_tokens,
        reasoning_effort=chat.reasoning_effort,
        top_logprobs=(chat.top_logprobs or 0) if chat.logprobs else None,
        json_schema=_schema(chat.response_format),
        **chat.shared(),
    )


def _turns(messages: list[_Message]) -> str | None:
    return json.dumps([message.as_turn() for message in messages], ensure_ascii=False) if messages else None


def _completion(body: dict[str, Any]) -> LineRequest:
    completion = _Completion.model_validate(body)
    return line_request(
        question=completion.prompt,
        max_tokens=completion.max_tokens,
        top_logprobs=completion.logprobs,
        raw=True,
        **completion.shared(),
    )


def _schema(form: _Format | None) -> str | None:
    if form is None or form.type == "text":
        return None
    if form.type == "json_object":
        return json.dumps({"type": "object"})
    if form.json_schema is None:
        raise ValueError("response_format: json_schema is missing")
    try:
        return checked_schema(form.json_schema.schema_)
    except ValueError as error:
        raise ValueError(f"response_format: {error}") from error
