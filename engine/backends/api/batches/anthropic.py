"""Anthropic's Message Batches: requests in the batch itself, in the form of its Messages API.

A batch has no metadata there. One whose id was lost is known by when it was created and how many requests it has, and
by the names of its results where it has ended.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError

from leeroo.engine.backends.api.batches.provider import NO_FILE, LineResult, Look
from leeroo.engine.backends.api.batches.wire import Wire, id_of, image_of, read, seconds
from leeroo.engine.backends.api.faults import Fault, line, refusal

ANTHROPIC = "https://api.anthropic.com/v1"
VERSION = {"anthropic-version": "2023-06-01"}
_PAGE = 100
# Two clocks differ by no more than this many seconds.
_CLOCKS_S = 120.0
# Parameters with the same name and meaning in both APIs.
_SAME = ("temperature", "top_p", "thinking", "output_config")
# Parameters of rows that Anthropic does not have.
_UNKNOWN = ("seed", "frequency_penalty", "presence_penalty")
_STATUSES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "overloaded_error": 529,
}


class _Counts(BaseModel):
    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0

    @property
    def total(self) -> int:
        return self.processing + self.done

    @property
    def done(self) -> int:
        return self.succeeded + self.errored + self.canceled + self.expired


class _MessageBatch(BaseModel):
    id: str
    processing_status: str
    request_counts: _Counts = _Counts()
    created_at: str | None = None
    ended_at: str | None = None


class _Page(BaseModel):
    data: list[_MessageBatch] = []
    has_more: bool = False


class _Result(BaseModel):
    type: str
    message: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


class _Line(BaseModel):
    custom_id: str
    result: _Result


class AnthropicBatches:
    """Message Batches over a wire."""

    most_lines, most_bytes = 50_000, 200 * 1024**2

    def __init__(self, wire: Wire, model: str) -> None:
        self._wire, self._model = wire, model

    def write(self, name: str, body: dict[str, Any]) -> bytes:
        """Return a request as a line of the input."""
        return json.dumps({"custom_id": name, "params": self._params(body)}).encode()

    def upload(self, lines: list[bytes]) -> str:
        """Return no file: requests go with the batch."""
        del lines
        return NO_FILE

    def create(self, file: str, lines: list[bytes], token: str) -> str:
        """Create a batch."""
        del file, token
        return id_of(self._wire.post("/messages/batches", {"requests": [json.loads(each) for each in lines]}))

    def find(self, token: str, file: str, since: float, names: frozenset[str]) -> str | None:
        """Look for a batch of that time and that many requests, or with results of these names."""
        del token, file
        after: dict[str, str] = {}
        while True:
            page = read(_Page, self._wire.get("/messages/batches", limit=_PAGE, **after))
            for batch in page.data:
                created = seconds(batch.created_at)
                if created < since - _CLOCKS_S:
                    return None
                if batch.request_counts.total == len(names) and self._may_have(batch, names):
                    return batch.id
            if not page.has_more or not page.data:
                return None
            after = {"after_id": page.data[-1].id}

    def look(self, remote: str) -> Look:
        """Return how far a batch is."""
        batch = read(_MessageBatch, self._wire.get(f"/messages/batches/{remote}"))
        ended = seconds(batch.ended_at) or time.time() if batch.processing_status == "ended" else None
        return Look(batch.processing_status, batch.request_counts.done, ended)

    def results(self, remote: str, look: Look) -> Iterator[LineResult]:
        """Return the results of a batch."""
        del look
        for text in self._wire.content(f"/messages/batches/{remote}/results").split(b"\n"):
            if text.strip():
                yield from self._result(text)

    def cancel(self, remote: str) -> None:
        """Have a batch end early."""
        self._wire.cancel(f"/messages/batches/{remote}/cancel")

    def discard(self, file: str) -> None:
        """There is no file."""

    def close(self) -> None:
        """End the connections."""
        self._wire.close()

    def _may_have(self, batch: _MessageBatch, names: frozenset[str]) -> bool:
        if batch.processing_status != "ended":
            return True
        return any(result.name in names for result in self.results(batch.id, Look("ended", 0)))

    def _params(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return OpenAI's parameters as Anthropic's.

        Raises:
            Fault: a row wants what Anthropic does not have.

        """
        for name in _UNKNOWN:
            if name in body:
                raise Fault(f"the API does not take {name!r}", blames="nobody")
        systems = [_text(each) for each in body["messages"] if each["role"] in ("system", "developer")]
        turns = [_turn(each) for each in body["messages"] if each["role"] not in ("system", "developer")]
        limit = body.get("max_tokens") or body.get("max_completion_tokens")
        thinking = (body.get("thinking") or {}).get("budget_tokens", 0)
        params = {"model": self._model, "max_tokens": limit, "messages": turns}
        params |= {name: body[name] for name in _SAME if name in body}
        if thinking:  # it is part of the limit, and its answers come at the usual temperature
            params["max_tokens"] = max(limit or 0, thinking + 1)
            params.pop("temperature", None)
        if systems:
            params["system"] = "\n\n".join(systems)
        if "stop" in body:
            params["stop_sequences"] = body["stop"]
        return params

    def _result(self, text: bytes) -> Iterator[LineResult]:
        try:
            found = _Line.model_validate_json(text)
        except ValidationError:
            return
        result = found.result
        if result.type == "succeeded" and result.message is not None:
            yield LineResult(found.custom_id, _reply(result.message))
        elif result.type == "errored":
            yield LineResult(found.custom_id, None, self._error(result.error or {}))
        else:  # canceled or expired
            fault = Fault(f"the batch has no answer to this line: {line(result.type)}", passes=True, blames="nobody")
            yield LineResult(found.custom_id, None, fault)

    def _error(self, error: dict[str, Any]) -> Fault:
        inner = error.get("error")
        known = inner if isinstance(inner, dict) else error
        status = _STATUSES.get(str(known.get("type")), 500)
        return refusal(status, {"error": known}, {}, self._model, "the batch")


def _turn(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message with its images as Anthropic has them."""
    content = message.get("content")
    return {**message, "content": [_part(each) for each in content]} if isinstance(content, list) else message


def _part(part: dict[str, Any]) -> dict[str, Any]:
    if (image := image_of(part)) is None:
        return part
    return {"type": "image", "source": {"type": "base64", "media_type": image.kind, "data": image.base64}}


def _text(message: dict[str, Any]) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content or [])


def _reply(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message of Anthropic in the form of OpenAI's chat API."""
    parts = [part for part in message.get("content") or [] if isinstance(part, dict)]
    text = "".join(str(part.get("text") or "") for part in parts if part.get("type") == "text")
    thoughts = "".join(str(part.get("thinking") or "") for part in parts if part.get("type") == "thinking")
    stop = message.get("stop_reason")
    said: dict[str, Any] = {"role": "assistant", "content": text, "reasoning_content": thoughts or None}
    if stop == "refusal":
        said["refusal"] = text or "the model refused"
        said["content"] = None
    return {"choices": [{"message": said, "finish_reason": stop}], "usage": message.get("usage")}
