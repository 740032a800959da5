"""The routes of OpenAI's Files and Batches API, and those of health and metrics."""

from __future__ import annotations

import math
import re
import shutil
from dataclasses import replace
from difflib import get_close_matches
from typing import Annotated, Any, BinaryIO, Literal

from fastapi import APIRouter, Depends, File, Form, Path, Query, Response, UploadFile
from fastapi.responses import FileResponse
from pydantic import BaseModel
from starlette.background import BackgroundTask

from leeroo.engine.answer import Criteria
from leeroo.engine.errors import UsageError
from leeroo.serve.lines.bodies import CHAT, COMPLETIONS, ROUTED
from leeroo.serve.lines.read import form_of
from leeroo.serve.web.dependencies import Owner, ServerState, State, get_owner
from leeroo.serve.web.errors import RequestError
from leeroo.serve.web.objects import (
    WRONG,
    BatchList,
    BatchObject,
    FileDeleted,
    FileList,
    FileObject,
    Health,
    ModelList,
    ModelObject,
    NewBatch,
    Wrong,
)
from leeroo.serve.work import batches, files
from leeroo.serve.work.batches import Batch
from leeroo.serve.work.files import StoredFile

# Entries on a page of a list.
_FEW, _MOST = 20, 100
_FILE_NAME = 255
_BATCHES_ONLY = (
    "batches only: this server answers no single requests; write them as lines of a file, upload it (POST /v1/files),"
    " and create a batch of it (POST /v1/batches)"
)

FileId = Annotated[str, Path(max_length=64)]
BatchId = Annotated[str, Path(max_length=64)]
After = Annotated[str | None, Query(max_length=64)]
Limit = Annotated[int, Query(ge=1, le=_MOST)]

router = APIRouter(
    responses={
        status: {"model": Wrong, "description": why}
        for status, why in {**WRONG, 404: "There is none of that name."}.items()
    }
)


@router.post("/v1/files", response_model=FileObject, responses={413: {"model": Wrong, "description": "Too large."}})
def upload(
    owner: Owner,
    state: State,
    file: Annotated[UploadFile, File()],
    purpose: Annotated[Literal["batch"], Form()],
    anchor: Annotated[Literal["created_at"] | None, Form(alias="expires_after[anchor]")] = None,
    seconds: Annotated[int | None, Form(alias="expires_after[seconds]", ge=3600, le=30 * 24 * 3600)] = None,
) -> Response:
    """Store a file of requests, JSON lines or Parquet."""
    del anchor
    with files.open_new(state.db) as draft:
        _copy(file.file, draft.file, state.options.file_bytes)
        _check_quota(state, owner, draft.file.tell())
        draft.file.close()
        # Browsers and clients may send a path; whoever downloads the file gets its last part only.
        name = (file.filename or "").replace("\\", "/").rpartition("/")[2][:_FILE_NAME]
        return _reply(FileObject.from_record(files.add(state.db, draft.path, owner, name, purpose, seconds)))


@router.get("/v1/files")
def list_files(
    owner: Owner,
    state: State,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
    purpose: Annotated[str | None, Query(max_length=64)] = None,
) -> FileList:
    """List the files of this key."""
    place = _file(state, owner, after, "after") if after else None
    found = files.list_files(state.db, owner, purpose, place, limit + 1, newest=order == "desc")
    shown = [FileObject.from_record(each) for each in found[:limit]]
    return FileList.of(shown, len(found) > limit)


@router.get("/v1/files/{file_id}")
def get_file(owner: Owner, state: State, file_id: FileId) -> FileObject:
    """Return what is known of a file."""
    return FileObject.from_record(_file(state, owner, file_id))


@router.delete("/v1/files/{file_id}", responses={409: {"model": Wrong, "description": "In use."}})
def delete_file(owner: Owner, state: State, file_id: FileId) -> FileDeleted:
    """Remove a file; one that an open batch reads stays."""
    file = _file(state, owner, file_id)
    if batches.uses(state.db, file.id):
        raise RequestError(409, f"{file.id} is the input of an open batch: cancel that first")
    files.delete(state.db, file)
    return FileDeleted(id=file.id)


@router.get("/v1/files/{file_id}/content", response_class=FileResponse)
def get_content(owner: Owner, state: State, file_id: FileId) -> FileResponse:
    """Return the content of a file."""
    file = _file(state, owner, file_id)
    try:
        content = files.path_of(state.db, file.id).open("rb")
    except FileNotFoundError as error:
        raise RequestError(404, f"the content of {file.id} is gone") from error
    # From an open file it is sent whole, even if it is deleted meanwhile.
    return FileResponse(
        f"/dev/fd/{content.fileno()}",
        media_type="application/octet-stream",
        filename=file.filename or file.id,
        background=BackgroundTask(content.close),
    )


@router.post(
    "/v1/batches",
    response_model=BatchObject,
    responses={429: {"model": Wrong, "description": "Too many requests or open batches."}},
)
def create_batch(owner: Owner, state: State, new: NewBatch) -> Response:
    """Create a batch: have the requests of a file answered."""
    file = _file(state, owner, new.input_file_id, "input_file_id")
    metadata = new.metadata or {}
    criteria = _criteria(metadata, state.options.criteria)
    try:
        form = form_of(files.path_of(state.db, file.id))
    except FileNotFoundError as error:
        raise RequestError(404, f"the content of {file.id} is gone", "input_file_id") from error
    most = state.options.open_batches
    expires_s = new.output_expires_after.seconds if new.output_expires_after else None
    private = metadata.get("private") == "true"
    batch = batches.create(
        state.db,
        owner,
        new.endpoint,
        file.id,
        form,
        new.metadata,
        criteria,
        most,
        private=private,
        output_expires_s=expires_s,
    )
    if batch is None:
        raise RequestError(429, f"there are {most:,} open batches of this key already: wait until some have ended")
    state.scheduler.wake()
    return _reply(BatchObject.from_record(batch, state.scheduler.trouble()))


@router.get("/v1/batches")
def list_batches(owner: Owner, state: State, after: After = None, limit: Limit = _FEW) -> BatchList:
    """List the batches of this key, the newest first."""
    place = _batch(state, owner, after, "after") if after else None
    found = batches.list_batches(state.db, owner, place, limit + 1)
    trouble = state.scheduler.trouble()
    shown = [BatchObject.from_record(each, trouble) for each in found[:limit]]
    return BatchList.of(shown, len(found) > limit)


@router.get("/v1/batches/{batch_id}", response_model=BatchObject)
async def get_batch(owner: Owner, state: State, batch_id: BatchId) -> Response:
    """Return a batch with its progress."""
    # Clients poll: one row is read sooner than another thread begins.
    return _reply(BatchObject.from_record(_batch(state, owner, batch_id), state.scheduler.trouble()))


@router.post("/v1/batches/{batch_id}/cancel", responses={409: {"model": Wrong, "description": "It has ended."}})
def cancel_batch(owner: Owner, state: State, batch_id: BatchId) -> BatchObject:
    """Stop a batch; its output file has the answers so far."""
    batch = _batch(state, owner, batch_id)
    if not try_cancel(state, batch):
        raise RequestError(409, f"{batch.id} is {batch.status}, and can no longer be cancelled")
    return BatchObject.from_record(_batch(state, owner, batch_id), state.scheduler.trouble())


def try_cancel(state: ServerState, batch: Batch) -> bool:
    """Cancel a batch, and return whether it was still possible."""
    if not batch.open or batch.status == "finalizing":
        return False
    batches.cancel(state.db, batch)
    state.scheduler.wake()
    return True


@router.post(CHAT, include_in_schema=False, dependencies=[Depends(get_owner)])
@router.post(COMPLETIONS, include_in_schema=False, dependencies=[Depends(get_owner)])
def refuse_one() -> None:
    """Refuse a request outside a batch, and say how to send one."""
    raise RequestError(404, _BATCHES_ONLY)


@router.get("/v1/models")
def list_models(owner: Owner, state: State) -> ModelList:
    """List `leeroo`, which routes, and the experts of the pool."""
    del owner
    names = [ROUTED, *state.engine.pool.names]
    return ModelList(data=[ModelObject(id=name, owned_by="leeroo") for name in names])


@router.get("/v1/models/{model}")
def get_model(owner: Owner, state: State, model: Annotated[str, Path(max_length=256)]) -> ModelObject:
    """Return one of the models."""
    del owner
    if model not in (ROUTED, *state.engine.pool.names):
        raise RequestError(404, f"there is no model {model!r}")
    return ModelObject(id=model, owned_by="leeroo")


@router.get("/health", responses={503: {"model": Health}}, response_model_exclude_none=True)
def health(state: State, response: Response) -> Health:
    """Return whether the server lives, whether it can answer, and which experts are unavailable."""
    trouble, down = state.scheduler.trouble(), state.scheduler.degraded()
    ready = state.scheduler.alive() and trouble is None
    response.status_code = 200 if ready else 503
    why = trouble or "; ".join(f"{name}: {reason}" for name, reason in down.items()) or None
    status: Literal["ok", "degraded", "not ready"] = "degraded" if why else "ok" if ready else "not ready"
    return Health(status=status, live=True, ready=ready, why=why)


@router.get("/metrics", response_class=Response)
def metrics(owner: Owner, state: State) -> Response:
    """Return metrics for Prometheus over all keys; they name no key, no batch and no text."""
    del owner
    return Response(state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _reply(shown: BaseModel) -> Response:
    """Return an object as it is: the framework would check it again before it is written."""
    return Response(shown.model_dump_json(), media_type="application/json")


def _file(state: ServerState, owner: str, file: str, param: str | None = None) -> StoredFile:
    found = files.get(state.db, owner, file)
    if found is None:
        raise RequestError(404, f"there is no file {file!r}", param)
    return found


def _batch(state: ServerState, owner: str, batch: str, param: str | None = None) -> Batch:
    found = batches.get(state.db, owner, batch)
    if found is None:
        raise RequestError(404, f"there is no batch {batch!r}", param)
    return found


def _check_quota(state: ServerState, owner: str, more: int) -> None:
    used, most = files.used_bytes(state.db, owner), state.options.bytes_per_key
    if used + more > most:
        kept = f"this key keeps {used:,} bytes of files, and may keep {most:,}"
        raise RequestError(413, f"{kept}: delete files that are no longer needed")


def _copy(source: BinaryIO, target: BinaryIO, most: int) -> None:
    shutil.copyfileobj(source, target)
    if target.tell() > most:
        raise RequestError(413, f"the file has more than the {most:,} bytes that it may have: split it")
    if not target.tell():
        raise RequestError(400, "the file is empty", "file")


def _criteria(metadata: dict[str, str], default: Criteria) -> Criteria:
    """Read the budget and weights of a batch from its metadata, where values are text.

    A budget or weight there replaces both of the server's own.

    Raises:
        RequestError: 400, a value cannot be used, or a name is nearly one of ours.

    """
    for name in metadata:
        meant = get_close_matches(_plain(name), _OPTIONS, n=1, cutoff=0.85)
        if meant and name not in _OPTIONS:
            raise _wrong_option(name, f"is not known: did you mean {meant[0]!r}?")
    for name in _FLAGS:
        if metadata.get(name, "false") not in ("true", "false"):
            raise _wrong_option(name, f"is {metadata[name]!r}; it should be 'true' or 'false'")
    numbers: dict[str, Any] = {name: _number(name, metadata[name]) for name in _NUMBERS if name in metadata}
    if "max_cost_usd" in numbers or "cost_weight" in numbers:
        numbers = {"max_cost_usd": None, "cost_weight": 0.0, **numbers}
    try:
        found = replace(default, **numbers)
    except UsageError as error:
        raise RequestError(400, f"metadata: {error}", "metadata") from error
    if metadata.get("learn") == "true" and (found.max_cost_usd is None or found.latency_weight):
        raise _wrong_option("learn", "spends a budget: give metadata.max_cost_usd, and no weights")
    return found


_NUMBERS = ("max_cost_usd", "cost_weight", "latency_weight")
_FLAGS = ("private", "learn")
_OPTIONS = (*_NUMBERS, *_FLAGS)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "_", name.casefold())


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise _wrong_option(name, f"is {text!r}; it should be a number of at least 0")
    return value


def _wrong_option(name: str, why: str) -> RequestError:
    return RequestError(400, f"metadata.{name} {why}", f"metadata.{name}")
