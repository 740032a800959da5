"""Objects that cross HTTP, in the form of OpenAI's API.

Their names and docstrings are part of the OpenAPI document.
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from leeroo.serve.work.batches import Batch, BatchRecord
from leeroo.serve.work.files import StoredFile

Metadata = Annotated[
    dict[Annotated[str, StringConstraints(max_length=64)], Annotated[str, StringConstraints(max_length=512)]],
    Field(max_length=16),
]


class FileObject(BaseModel):
    """A file."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    expires_at: int | None = None
    filename: str
    purpose: Literal["batch", "batch_output"]
    status: Literal["processed"] = "processed"
    status_details: str | None = None

    @classmethod
    def from_record(cls, file: StoredFile) -> FileObject:
        """Return a file of the database."""
        return cls(
            id=file.id,
            bytes=file.bytes,
            created_at=file.created,
            expires_at=file.expires,
            filename=file.filename,
            purpose=file.purpose,
        )


class FileDeleted(BaseModel):
    """A file that was deleted."""

    id: str
    object: Literal["file"] = "file"
    deleted: Literal[True] = True


class BatchError(BaseModel):
    """Why a batch failed."""

    code: str | None
    line: int | None
    message: str
    param: str | None


class BatchErrors(BaseModel):
    """Why a batch failed, as a list."""

    object: Literal["list"] = "list"
    data: list[BatchError]


class Counts(BaseModel):
    """How many lines a batch has, by their state."""

    total: int
    completed: int
    failed: int


class InputTokens(BaseModel):
    """Details of the tokens read; cached ones are not counted here."""

    cached_tokens: int = 0


class OutputTokens(BaseModel):
    """Details of the tokens written; thoughts are counted with each line, not here."""

    reasoning_tokens: int = 0


class Usage(BaseModel):
    """Tokens of a batch so far."""

    input_tokens: int
    input_tokens_details: InputTokens = InputTokens()
    output_tokens: int
    output_tokens_details: OutputTokens = OutputTokens()
    total_tokens: int


class Cost(BaseModel):
    """The cost of a batch so far in US dollars, its budget, and what keeps the server from answering it now."""

    cost_usd: float
    list_cost_usd: float
    max_cost_usd: float | None
    waiting_for: str | None


class BatchObject(BatchRecord):
    """A batch; times are seconds of the epoch."""

    object: Literal["batch"] = "batch"
    model: str = "leeroo"
    errors: BatchErrors | None
    request_counts: Counts
    usage: Usage
    metadata: dict[str, str] | None
    leeroo: Cost

    @classmethod
    def from_record(cls, batch: Batch, trouble: str | None = None) -> BatchObject:
        """Return a batch of the database; `trouble` is why open ones have to wait."""
        return cls(
            **{name: getattr(batch, name) for name in BatchRecord.model_fields},
            errors=BatchErrors(data=[BatchError(**each) for each in batch.errors]) if batch.errors else None,
            request_counts=Counts(total=batch.total, completed=batch.completed, failed=batch.failed),
            usage=Usage(
                input_tokens=batch.prompt_tokens,
                output_tokens=batch.completion_tokens,
                total_tokens=batch.prompt_tokens + batch.completion_tokens,
            ),
            metadata=batch.metadata,
            leeroo=Cost(
                cost_usd=batch.cost_usd,
                list_cost_usd=batch.list_cost_usd,
                max_cost_usd=batch.max_cost_usd,
                waiting_for=trouble if batch.open else None,
            ),
        )


class ModelObject(BaseModel):
    """A model of the pool: `leeroo`, which routes, or an expert."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: str


_Listed = TypeVar("_Listed", FileObject, BatchObject)


class _ListPage(BaseModel, Generic[_Listed]):
    object: Literal["list"] = "list"
    data: list[_Listed]
    has_more: bool
    first_id: str | None
    last_id: str | None

    @classmethod
    def of(cls, shown: list[_Listed], has_more: bool) -> Self:
        """Return a page of some objects."""
        first, last = (shown[0].id, shown[-1].id) if shown else (None, None)
        return cls(data=shown, has_more=has_more, first_id=first, last_id=last)


class FileList(_ListPage[FileObject]):
    """A page of files."""


class BatchList(_ListPage[BatchObject]):
    """A page of batches."""


class ModelList(BaseModel):
    """All models."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


class Expiry(BaseModel):
    """When the files of a batch expire."""

    model_config = ConfigDict(extra="forbid")

    anchor: Literal["created_at"]
    seconds: int = Field(ge=3600, le=30 * 24 * 3600)


class NewBatch(BaseModel):
    """The body of `POST /v1/batches`."""

    model_config = ConfigDict(extra="forbid")

    input_file_id: str = Field(max_length=64)
    endpoint: Literal["/v1/chat/completions", "/v1/completions"]
    completion_window: Literal["24h"]
    metadata: Metadata | None = None
    output_expires_after: Expiry | None = None


class Problem(BaseModel):
    """The error in a reply."""

    message: str
    type: str
    param: str | None
    code: str | None


class Wrong(BaseModel):
    """A reply that says what is wrong."""

    error: Problem


# Error replies that every route may send.
WRONG = {400: "Bad input.", 401: "No key.", 429: "Too many requests.", 507: "The disk is full."}


class Health(BaseModel):
    """The state of the server, and why it is not fully at work."""

    status: Literal["ok", "degraded", "not ready"]
    live: bool
    ready: bool
    why: str | None = None
