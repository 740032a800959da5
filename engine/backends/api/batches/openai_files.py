"""OpenAI's Files and Batches API, which many servers speak."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ValidationError

from leeroo.engine.backends.api.batches.provider import LineResult, Look
from leeroo.engine.backends.api.batches.wire import Text, Time, Wire, id_of, read
from leeroo.engine.backends.api.bills import table_or_empty
from leeroo.engine.backends.api.calls import status_of
from leeroo.engine.backends.api.faults import Fault, line, refusal

CHAT = "/v1/chat/completions"
# The key of a batch's metadata that holds its token.
TOKEN = "leeroo"
_PAGE = 100
# Servers' clocks differ, by no more than this many seconds.
_CLOCKS_S = 3600.0
_ENDED = ("completed", "failed", "expired", "cancelled", "canceled")
# Codes of lines that were not answered, and may be in another batch.
_UNANSWERED = ("batch_expired", "batch_cancelled")
# Codes of batches that are refused for now: too much is under way.
_LATER = ("token_limit_exceeded", "rate_limit_exceeded", "request_limit_exceeded")


class _Error(BaseModel):
    code: Text = None
    message: Text = None


class RemoteBatch(BaseModel):
    """A batch as the server describes it; servers differ in all but its id and status."""

    id: str
    status: Annotated[str, AfterValidator(str.casefold)]
    created_at: Time = 0.0
    completed_at: Time = 0.0
    failed_at: Time = 0.0
    expired_at: Time = 0.0
    cancelled_at: Time = 0.0
    input_file_id: Text = None
    output_file_id: Text = None
    error_file_id: Text = None
    errors: Any = None
    request_counts: Annotated[dict[str, Any], BeforeValidator(table_or_empty)] = {}
    metadata: Annotated[dict[str, Any], BeforeValidator(table_or_empty)] = {}

    @property
    def done(self) -> int:
        """The lines that have ended, where it says so."""
        counts = (self.request_counts.get(name) for name in ("completed", "failed"))
        return sum(count for count in counts if isinstance(count, int))

    @property
    def first_error(self) -> _Error:
        """The first reason why it was refused as a whole."""
        listed = self.errors.get("data") if isinstance(self.errors, dict) else self.errors
        first = listed[0] if isinstance(listed, list) and listed else listed
        return _Error.model_validate(first if isinstance(first, dict) else {"message": first})


class _Page(BaseModel):
    data: list[RemoteBatch]
    has_more: bool = False


class _Response(BaseModel):
    status_code: int
    body: Any = None


class _Line(BaseModel):
    custom_id: str
    response: _Response | None = None
    error: _Error | None = None


class OpenAIFiles:
    """Batches of files, over a wire."""

    # OpenAI takes twice as many bytes; half of that is within the limits of all its kind.
    most_lines, most_bytes = 50_000, 100 * 1024**2

    def __init__(self, wire: Wire, model: str) -> None:
        self._wire, self._model = wire, model

    def write(self, name: str, body: dict[str, Any]) -> bytes:
        """Return a request as a line of the input."""
        sent = {"custom_id": name, "method": "POST", "url": CHAT, "body": {"model": self._model, **body}}
        return json.dumps(sent).encode()

    def upload(self, lines: list[bytes]) -> str:
        """Upload the input as a file."""
        return id_of(self._wire.upload("/files", "leeroo.jsonl", b"\n".join([*lines, b""]), purpose="batch"))

    def create(self, file: str, lines: list[bytes], token: str) -> str:
        """Create a batch of a file."""
        del lines
        how = {"endpoint": CHAT, "completion_window": "24h", "metadata": {TOKEN: token}}
        return id_of(self._wire.post("/batches", {"input_file_id": file, **how}))

    def find(self, token: str, file: str, since: float, names: frozenset[str]) -> str | None:
        """Look through the batches, the newest first."""
        del names
        after: dict[str, str] = {}
        while True:
            page = read(_Page, self._wire.get("/batches", limit=_PAGE, **after))
            for batch in page.data:
                # Some servers keep no metadata.
                if token == batch.metadata.get(TOKEN) or file == batch.input_file_id:
                    return batch.id
            if not page.has_more or not page.data or page.data[-1].created_at < since - _CLOCKS_S:
                return None
            after = {"after": page.data[-1].id}

    def look(self, remote: str) -> Look:
        """Return how far a batch is."""
        batch = read(RemoteBatch, self._wire.get(f"/batches/{remote}"))
        if batch.status not in _ENDED:
            return Look(batch.status, batch.done)
        times = (batch.completed_at, batch.failed_at, batch.expired_at, batch.cancelled_at)
        ended = next((each for each in times if each), time.time())
        outputs = tuple(file for file in (batch.output_file_id, batch.error_file_id) if file)
        return Look(batch.status, batch.done, ended, outputs, _failure(batch) if batch.status == "failed" else None)

    def results(self, remote: str, look: Look) -> Iterator[LineResult]:
        """Return the lines of the output and error files."""
        del remote
        for file in look.outputs:
            for text in self._wire.content(f"/files/{file}/content").split(b"\n"):
                if text.strip():
                    yield from self._result(text)

    def cancel(self, remote: str) -> None:
        """Have a batch end early."""
        self._wire.cancel(f"/batches/{remote}/cancel")

    def discard(self, file: str) -> None:
        """Remove a file."""
        self._wire.delete(f"/files/{file}")

    def close(self) -> None:
        """End the connections."""
        self._wire.close()

    def _result(self, text: bytes) -> Iterator[LineResult]:
        """Return the result in a line of a file; none in one that cannot be read."""
        try:
            found = _Line.model_validate_json(text)
        except ValidationError:
            return
        reply = found.response
        if reply is None:
            yield LineResult(found.custom_id, None, _unanswered(found.error or _Error()))
        elif reply.status_code != 200 or not isinstance(reply.body, dict):
            status = reply.status_code if reply.status_code >= 400 else 500
            yield LineResult(found.custom_id, None, refusal(status, reply.body, {}, self._model, "the batch"))
        elif reply.body.get("error") and not reply.body.get("choices"):
            fault = refusal(status_of(reply.body["error"]), reply.body, {}, self._model, "the batch")
            yield LineResult(found.custom_id, None, fault)
        else:
            yield LineResult(found.custom_id, reply.body)


def _unanswered(error: _Error) -> Fault:
    """Return the fault of a line that never reached the model."""
    message = line(error.message or error.code or "the batch has no answer to this line")
    return Fault(message, passes=error.code in _UNANSWERED, blames="nobody")


def _failure(batch: RemoteBatch) -> Fault:
    """Return why a batch was refused as a whole."""
    code, text = batch.first_error.code or "", batch.first_error.message or "no reason given"
    if code in _LATER:
        return Fault(f"the batch was refused for now: {line(text)}", passes=True, blames="nobody")
    fault = refusal(400, {"error": {"message": text, "code": code}}, {}, "", "")
    fault.message = f"the batch was refused: {line(text)}"
    return fault
