"""The routes of OpenAI's Files and Batches API, and those of health and metrics."""

from __future__ import annotations

import math
import re
import shutil
from dataclasses import replace
from difflib import get_close_matches
from typing import Annotated, BinaryIO, Literal

from fastapi import APIRouter, Depends, File, Form, HTTPException, Path, Query, Response, UploadFile
from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from leeroo.engine.errors import UsageError
from leeroo.serve.web.dependencies import Door, door, owner
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
from leeroo.serve.work.batches import Batch, Wishes
from leeroo.serve.work.bodies import ROUTED
from leeroo.serve.work.files import File as StoredFile
from leeroo.serve.work.lines import form_of

# Entries on a page of a list.
_FEW, _MOST = 20, 100
_FILE_NAME = 255

Owner = Annotated[str, Depends(owner)]
Here = Annotated[Door, Depends(door)]
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


@router.post("/v1/files", responses={413: {"model": Wrong, "description": "Too large."}})
def upload(
    who: Owner,
    here: Here,
    file: Annotated[UploadFile, File()],
    purpose: Annotated[Literal["batch"], Form()],
    anchor: Annotated[Literal["created_at"] | None, Form(alias="expires_after[anchor]")] = None,
    seconds: Annotated[int | None, Form(alias="expires_after[seconds]", ge=3600, le=30 * 24 * 3600)] = None,
) -> FileObject:
    """Take in a file of requests, JSON lines or Parquet."""
    del anchor
    with files.writing(here.db) as draft:
        _copy(file.file, draft.file, here.options.limits.file_bytes)
        _check_quota(here, who, draft.file.tell())
        draft.file.close()
        # Browsers and clients may send a path; whoever downloads the file gets its last part only.
        name = (file.filename or "").replace("\\", "/").rpartition("/")[2][:_FILE_NAME]
        return FileObject.of(files.add(here.db, draft.path, who, name, purpose, seconds))


@router.get("/v1/files")
def list_files(
    who: Owner,
    here: Here,
    after: After = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
    purpose: Annotated[str | None, Query(max_length=64)] = None,
) -> FileList:
    """The files of this key."""
    place = _file(here, who, after, "after") if after else None
    found = files.listed(here.db, who, purpose, place, limit + 1, newest=order == "desc")
    shown = [FileObject.of(each) for each in found[:limit]]
    return FileList(data=shown, has_more=len(found) > limit, first_id=_id(shown[:1]), last_id=_id(shown[-1:]))


@router.get("/v1/files/{file_id}")
def get_file(who: Owner, here: Here, file_id: FileId) -> FileObject:
    """What is known of a file."""
    return FileObject.of(_file(here, who, file_id))


@router.delete("/v1/files/{file_id}", responses={409: {"model": Wrong, "description": "In use."}})
def delete_file(who: Owner, here: Here, file_id: FileId) -> FileDeleted:
    """Remove a file; one that an open batch reads stays."""
    file = _file(here, who, file_id)
    if batches.uses(here.db, file.id):
        raise HTTPException(409, f"{file.id} is the input of an open batch: cancel that first")
    files.delete(here.db, file)
    return FileDeleted(id=file.id)


@router.get("/v1/files/{file_id}/content", response_class=FileResponse)
def get_content(who: Owner, here: Here, file_id: FileId) -> FileResponse:
    """The content of a file."""
    file = _file(here, who, file_id)
    try:
        content = files.path_of(here.db, file.id).open("rb")
    except FileNotFoundError as error:
        raise HTTPException(404, f"the content of {file.id} is gone") from error
    # It is sent whole from the open file, also when it is deleted meanwhile.
    return FileResponse(
        f"/dev/fd/{content.fileno()}",
        media_type="application/octet-stream",
        filename=file.filename or file.id,
        background=BackgroundTask(content.close),
    )


@router.post("/v1/batches", responses={429: {"model": Wrong, "description": "Too many requests or open batches."}})
def create_batch(who: Owner, here: Here, wanted: NewBatch) -> BatchObject:
    """Have the requests of a file answered."""
    file = _file(here, who, wanted.input_file_id, "input_file_id")
    wishes = _wishes(wanted.metadata or {}, here.options.wishes)
    try:
        form = form_of(files.path_of(here.db, file.id))
    except FileNotFoundError as error:
        raise HTTPException(404, f"the content of {file.id} is gone", headers=_param("input_file_id")) from error
    most = here.options.limits.open_batches
    expires_s = wanted.output_expires_after.seconds if wanted.output_expires_after else None
    batch = batches.create(here.db, who, wanted.endpoint, file.id, form, wanted.metadata, wishes, most, expires_s)
    if batch is None:
        raise HTTPException(429, f"there are {most:,} open batches of this key already: wait until some have ended")
    here.works.news()
    return BatchObject.of(batch, here.works.trouble())


@router.get("/v1/batches")
def list_batches(who: Owner, here: Here, after: After = None, limit: Limit = _FEW) -> BatchList:
    """The batches of this key, the newest first."""
    place = _batch(here, who, after, "after") if after else None
    found = batches.listed(here.db, who, place, limit + 1)
    trouble = here.works.trouble()
    shown = [BatchObject.of(each, trouble) for each in found[:limit]]
    return BatchList(data=shown, has_more=len(found) > limit, first_id=_id(shown[:1]), last_id=_id(shown[-1:]))


@router.get("/v1/batches/{batch_id}")
def get_batch(who: Owner, here: Here, batch_id: BatchId) -> BatchObject:
    """How far a batch is."""
    return BatchObject.of(_batch(here, who, batch_id), here.works.trouble())


@router.post("/v1/batches/{batch_id}/cancel", responses={409: {"model": Wrong, "description": "It has ended."}})
def cancel_batch(who: Owner, here: Here, batch_id: BatchId) -> BatchObject:
    """Stop a batch; what was answered comes in its output file."""
    batch = _batch(here, who, batch_id)
    if not cancelled(here, batch):
        raise HTTPException(409, f"{batch.id} is {batch.status}, and can no longer be cancelled")
    return BatchObject.of(_batch(here, who, batch_id), here.works.trouble())


def cancelled(here: Door, batch: Batch) -> bool:
    """Ask for the end of a batch, unless it is at its end."""
    if not batch.open or batch.status == "finalizing":
        return False
    batches.cancel(here.db, batch)
    here.works.news()
    return True


@router.get("/v1/models")
def list_models(who: Owner, here: Here) -> ModelList:
    """`leeroo`, which routes, and the experts of the pool."""
    del who
    names = [ROUTED, *here.engine.pool.names]
    return ModelList(data=[ModelObject(id=name, owned_by="leeroo") for name in names])


@router.get("/v1/models/{model}")
def get_model(who: Owner, here: Here, model: Annotated[str, Path(max_length=256)]) -> ModelObject:
    """One of the models."""
    del who
    if model not in (ROUTED, *here.engine.pool.names):
        raise HTTPException(404, f"there is no model {model!r}")
    return ModelObject(id=model, owned_by="leeroo")


@router.get("/health", responses={503: {"model": Health}}, response_model_exclude_none=True)
def health(here: Here, response: Response) -> Health:
    """Return whether the server lives, whether it can answer, and which experts cannot be asked."""
    trouble, down = here.works.trouble(), here.works.degraded()
    ready = here.works.alive() and trouble is None
    response.status_code = 200 if ready else 503
    why = trouble or "; ".join(f"{name}: {reason}" for name, reason in down.items()) or None
    status: Literal["ok", "degraded", "not ready"] = "degraded" if why else "ok" if ready else "not ready"
    return Health(status=status, live=True, ready=ready, why=why)


@router.get("/metrics", response_class=Response)
def metrics(who: Owner, here: Here) -> Response:
    """For Prometheus, of all keys together; names no key, no batch and no text."""
    del who
    return Response(here.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _file(here: Door, who: str, file: str, param: str | None = None) -> StoredFile:
    found = files.get(here.db, who, file)
    if found is None:
        raise HTTPException(404, f"there is no file {file!r}", headers=_param(param))
    return found


def _batch(here: Door, who: str, batch: str, param: str | None = None) -> Batch:
    found = batches.get(here.db, who, batch)
    if found is None:
        raise HTTPException(404, f"there is no batch {batch!r}", headers=_param(param))
    return found


def _param(name: str | None) -> dict[str, str] | None:
    return None if name is None else {"x-leeroo-param": name}


def _id(of: list[FileObject] | list[BatchObject]) -> str | None:
    return of[0].id if of else None


def _check_quota(here: Door, who: str, more: int) -> None:
    used, most = files.used(here.db, who), here.options.limits.bytes_per_key
    if used + more > most:
        kept = f"this key keeps {used:,} bytes of files, and may keep {most:,}"
        raise HTTPException(413, f"{kept}: delete files that are no longer needed")


def _copy(source: BinaryIO, target: BinaryIO, most: int) -> None:
    shutil.copyfileobj(source, target)
    if target.tell() > most:
        raise HTTPException(413, f"the file has more than the {most:,} bytes that it may have: split it")
    if not target.tell():
        raise HTTPException(400, "the file is empty", headers=_param("file"))


def _wishes(metadata: dict[str, str], default: Wishes) -> Wishes:
    """Read what metadata asks for; its values are text.

    A budget or weight there replaces both of the server's own.

    Raises:
        HTTPException: 400, a value cannot be used, or a name is nearly one of ours.

    """
    for name in metadata:
        meant = get_close_matches(_plain(name), _WISHES, n=1, cutoff=0.85)
        if meant and name not in _WISHES:
            raise _bad_wish(name, f"is not known: did you mean {meant[0]!r}?")
    private = metadata.get("private", "true" if default.private else "false")
    if private not in ("true", "false"):
        raise _bad_wish("private", f"is {private!r}; it should be 'true' or 'false'")
    numbers = {name: _number(name, metadata[name]) for name in _NUMBERS if name in metadata}
    if "max_cost_usd" in numbers or "cost_weight" in numbers:
        default = replace(default, max_cost_usd=None, cost_weight=0.0)
    try:
        return replace(default, **numbers, private=private == "true").checked()
    except UsageError as error:
        raise HTTPException(400, f"metadata: {error}", headers=_param("metadata")) from error


_NUMBERS = ("max_cost_usd", "cost_weight", "latency_weight")
_WISHES = (*_NUMBERS, "private")


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "_", name.casefold())


def _number(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise _bad_wish(name, f"is {text!r}; it should be a number of at least 0")
    return value


def _bad_wish(name: str, why: str) -> HTTPException:
    return HTTPException(400, f"metadata.{name} {why}", headers=_param(f"metadata.{name}"))
