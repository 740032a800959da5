"""The application: the API and the page behind the guard, and its error replies."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import AsyncIterator
from typing import Any

import structlog
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware

from leeroo.engine.answer import Engine
from leeroo.engine.errors import LeerooError
from leeroo.serve import keys
from leeroo.serve.database import Database
from leeroo.serve.web import api, feedback, page
from leeroo.serve.web.dependencies import Door, Options, owner
from leeroo.serve.web.middleware import Guard, Sizes, kind_of
from leeroo.serve.work.results import error_body

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def make_app(db: Database, engine: Engine, options: Options) -> FastAPI:
    """The application over a database and an engine; its threads start and stop with it."""
    door = Door(db, engine, options)

    @contextlib.asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        door.works.start()
        yield
        door.works.stop()

    app = FastAPI(
        title="Leeroo",
        summary="Batches of questions, each answered by the model of a pool that is worth its cost.",
        version="1",
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        middleware=[
            Middleware(
                Guard,
                sizes=Sizes(options.limits.file_bytes),
                metrics=door.metrics,
                loopback_only=lambda: options.loopback and not keys.wanted(db),
                admit=lambda scope: door.admit(Request(scope)),
            )
        ],
    )
    app.state.door = door
    app.include_router(api.router)
    app.include_router(feedback.router)
    app.include_router(page.router)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _wrong)
    app.add_exception_handler(LeerooError, _broken)
    app.add_exception_handler(OSError, _broken)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    app.get("/openapi.json", include_in_schema=False, dependencies=[Depends(owner)])(app.openapi)
    return app


def _invalid(_: Request, error: Exception) -> JSONResponse:
    """Bad input: the first thing that is wrong with it."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    message = f"{where}: {first['msg']}" if where else first["msg"]
    return JSONResponse(error_body(message, "invalid_request_error", param=where or None), 400)


def _wrong(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL:
        return _broken(request, error.__cause__)  # no room for the parts of an upload as they come
    headers = dict(error.headers or {})
    param = headers.pop("x-leeroo-param", None)
    body = error_body(str(error.detail), kind_of(error.status_code), param=param)
    return JSONResponse(body, error.status_code, headers=headers)


def _broken(request: Request, error: Exception) -> JSONResponse:
    """The disk is full, or the database cannot be used: what is there is safe, and nothing more comes in."""
    full = not isinstance(error, OSError) or error.errno in _FULL
    structlog.get_logger("leeroo.http").error("no_room", request_id=request.state.request_id, reason=str(error))
    message = (
        "the server has no room left for this; nothing was kept of it" if full else "the server cannot do this now"
    )
    return JSONResponse(error_body(message, "server_error", "insufficient_storage"), 507)


def _described(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document; what FastAPI takes for its own answer to bad input is not what is sent."""
    if app.openapi_schema is None:
        told = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        for methods in told["paths"].values():
            for operation in methods.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            told["components"]["schemas"].pop(name, None)
        app.openapi_schema = told
    return app.openapi_schema
