"""Gemini's batch mode: requests in the batch itself, in the form of generateContent."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from leeroo.engine.backends.api.batches.provider import NO_FILE, LineResult, Look
from leeroo.engine.backends.api.batches.wire import Wire, image_of, read, seconds
from leeroo.engine.backends.api.bills import table_or_empty
from leeroo.engine.backends.api.faults import Fault, line, refusal

GEMINI = "https://generativelanguage.googleapis.com/v1beta"
_PAGE = 100
_ENDED = ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")
# Names of parameters in `generationConfig`, by OpenAI's.
_CONFIG = {
    "max_tokens": "maxOutputTokens",
    "max_completion_tokens": "maxOutputTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "seed": "seed",
    "stop": "stopSequences",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
}
# HTTP statuses of the codes of gRPC.
_STATUSES = {3: 400, 5: 404, 7: 403, 8: 429, 9: 400, 11: 400, 16: 401}


class _Stats(BaseModel):
    successfulRequestCount: int = 0  # noqa: N815 - the names are Gemini's
    failedRequestCount: int = 0  # noqa: N815


class _Facts(BaseModel):
    displayName: str | None = None  # noqa: N815
    state: str = ""
    createTime: str | None = None  # noqa: N815
    endTime: str | None = None  # noqa: N815
    batchStats: _Stats = _Stats()  # noqa: N815
    output: dict[str, Any] = {}


class _Operation(BaseModel):
    name: str
    metadata: _Facts = _Facts()
    done: bool = False
    response: dict[str, Any] = {}
    error: dict[str, Any] | None = None


class _Page(BaseModel):
    operations: list[_Operation] = []
    nextPageToken: str = ""  # noqa: N815


class GeminiBatches:
    """Batch mode over a wire."""

    # Requests beside the batch itself would have to be a file.
    most_lines, most_bytes = 50_000, 18 * 1024**2

    def __init__(self, wire: Wire, model: str) -> None:
        self._wire, self._model = wire, model.removeprefix("models/")

    def write(self, name: str, body: dict[str, Any]) -> bytes:
        """Return a request as a line of the input."""
        return json.dumps({"request": _request(body), "metadata": {"key": name}}).encode()

    def upload(self, lines: list[bytes]) -> str:
        """Return no file: requests go with the batch."""
        del lines
        return NO_FILE

    def create(self, file: str, lines: list[bytes], token: str) -> str:
        """Create a batch whose name for people is the token."""
        del file
        requests = {"requests": [json.loads(each) for each in lines]}
        batch = {"displayName": token, "inputConfig": {"requests": requests}}
        made = self._wire.post(f"/models/{self._model}:batchGenerateContent", {"batch": batch})
        return read(_Operation, made).name

    def find(self, token: str, file: str, since: float, names: frozenset[str]) -> str | None:
        """Look through all batches."""
        del file, since, names
        after: dict[str, str] = {}
        while True:
            page = read(_Page, self._wire.get("/batches", pageSize=_PAGE, **after))
            for each in page.operations:
                if each.metadata.displayName == token:
                    return each.name
            if not page.nextPageToken:
                return None
            after = {"pageToken": page.nextPageToken}

    def look(self, remote: str) -> Look:
        """Return how far a batch is."""
        found = read(_Operation, self._wire.get(f"/{remote}"))
        facts, state = found.metadata, found.metadata.state.rpartition("_STATE_")[2]
        done = facts.batchStats.successfulRequestCount + facts.batchStats.failedRequestCount
        if not found.done and state not in _ENDED:
            return Look(state, done)
        failure = None
        if state == "FAILED" or (found.error and state not in _ENDED):
            why = str(table_or_empty(found.error).get("message") or "no reason given")
            failure = Fault(f"the batch was refused: {line(why)}", status=400, detail=why)
        return Look(state, done, seconds(facts.endTime) or time.time(), failure=failure)

    def results(self, remote: str, look: Look) -> Iterator[LineResult]:
        """Return the responses of a batch."""
        del look
        found = read(_Operation, self._wire.get(f"/{remote}"))
        output = found.response or found.metadata.output
        inlined = table_or_empty(output.get("output", output)).get("inlinedResponses")
        responses = inlined.get("inlinedResponses") if isinstance(inlined, dict) else inlined
        for each in responses if isinstance(responses, list) else []:
            if isinstance(each, dict):
                name = str(table_or_empty(each.get("metadata")).get("key"))
                if isinstance(each.get("response"), dict):
                    yield LineResult(name, _reply(each["response"]))
                else:
                    yield LineResult(name, None, self._error(table_or_empty(each.get("error"))))

    def cancel(self, remote: str) -> None:
        """Have a batch end early."""
        self._wire.cancel(f"/{remote}:cancel")

    def discard(self, file: str) -> None:
        """There is no file."""

    def close(self) -> None:
        """End the connections."""
        self._wire.close()

    def _error(self, error: dict[str, Any]) -> Fault:
        code = error.get("code")
        status = _STATUSES.get(code, 500) if isinstance(code, int) and code < 100 else code
        known = {"message": error.get("message"), "type": error.get("status")}
        return refusal(status if isinstance(status, int) else 500, {"error": known}, {}, self._model, "the batch")


def _request(body: dict[str, Any]) -> dict[str, Any]:
    """Return OpenAI's body as that of generateContent."""
    systems = [_text(each) for each in body["messages"] if each["role"] in ("system", "developer")]
    turns = [each for each in body["messages"] if each["role"] not in ("system", "developer")]
    config = {_CONFIG[name]: value for name, value in body.items() if name in _CONFIG}
    schema = table_or_empty(body.get("response_format"))
    if schema:
        config["responseMimeType"] = "application/json"
        if schema.get("type") == "json_schema":
            config["responseJsonSchema"] = schema["json_schema"]["schema"]
    if (effort := body.get("reasoning_effort")) is not None:
        config["thinkingConfig"] = {"thinkingBudget": 0} if effort == "none" else {"thinkingLevel": effort}
    request: dict[str, Any] = {
        "contents": [
            {"role": "model" if each["role"] == "assistant" else "user", "parts": _parts(each)} for each in turns
        ],
        "generationConfig": config,
    }
    if systems:
        request["systemInstruction"] = {"parts": [{"text": "\n\n".join(systems)}]}
    return request


def _parts(message: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of a message as Gemini has them: one of its text, where there are no images."""
    content = message.get("content")
    images = [image_of(part) for part in content] if isinstance(content, list) else []
    if not isinstance(content, list) or not any(images):
        return [{"text": _text(message)}]
    return [
        {"text": part.get("text", "")}
        if image is None
        else {"inlineData": {"mimeType": image.kind, "data": image.base64}}
        for part, image in zip(content, images, strict=True)
    ]


def _text(message: dict[str, Any]) -> str:
    content = message.get("content")
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content or [])


def _reply(response: dict[str, Any]) -> dict[str, Any]:
    """Return a response of Gemini in the form of OpenAI's chat API."""
    usage = table_or_empty(response.get("usageMetadata"))
    thoughts = usage.get("thoughtsTokenCount") or 0
    counted = {
        "prompt_tokens": usage.get("promptTokenCount"),
        "completion_tokens": (usage.get("candidatesTokenCount") or 0) + thoughts,
        "total_tokens": usage.get("totalTokenCount"),
        "prompt_tokens_details": {"cached_tokens": usage.get("cachedContentTokenCount") or 0},
        "completion_tokens_details": {"reasoning_tokens": thoughts},
    }
    candidates = response.get("candidates") or []
    first = table_or_empty(candidates[0]) if isinstance(candidates, list) and candidates else {}
    if not first and response.get("promptFeedback"):
        first = {"finishReason": "SAFETY"}
    parts = [each for each in table_or_empty(first.get("content")).get("parts") or [] if isinstance(each, dict)]
    text = "".join(str(part.get("text") or "") for part in parts if not part.get("thought"))
    reasoning = "".join(str(part.get("text") or "") for part in parts if part.get("thought"))
    said = {"role": "assistant", "content": text or None, "reasoning_content": reasoning or None}
    return {"choices": [{"message": said, "finish_reason": first.get("finishReason")}], "usage": counted}
