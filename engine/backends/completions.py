"""Requests and completions as Python rows, for backends that work row by row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from leeroo.engine.schema import COMPLETIONS


@dataclass(frozen=True)
class Request:
    """One row of `schema.REQUESTS`."""

    id: int
    question: str
    prompt: str
    system: str | None
    max_tokens: int
    temperature: float
    choices: list[str] | None

    @property
    def messages(self) -> list[Any]:
        """The request as a chat: dicts of role and content."""
        system = [] if self.system is None else [{"role": "system", "content": self.system}]
        return [*system, {"role": "user", "content": self.prompt}]


def requests_of(batch: pa.RecordBatch) -> list[Request]:
    """The rows of a batch of requests."""
    return [Request(**row) for row in batch.to_pylist()]


def completed(rows: Iterable[dict[str, Any]]) -> pa.RecordBatch:
    """A batch of completions; what a row leaves out is NULL, and it did not bounce."""
    return pa.RecordBatch.from_pylist([{"bounced": False, **row} for row in rows], schema=COMPLETIONS)


def failed(request: Request, error: str, *, bounced: bool = False) -> dict[str, Any]:
    """The completion of a request that got no answer."""
    return {"id": request.id, "finish_reason": "error", "error": error, "bounced": bounced}


def too_long(request: Request, tokens: int, context: int) -> dict[str, Any]:
    """The completion of a request that is longer than the expert's context: another expert may take it."""
    error = f"the prompt has {tokens:,} tokens and the context of this expert holds {context:,}; shorten it"
    return failed(request, error, bounced=True)
