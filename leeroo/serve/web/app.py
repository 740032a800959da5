"""The application: routes and middleware over a database and an engine."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.middleware import Middleware

from leeroo.engine.answer import Engine
from leeroo.serve import keys
from leeroo.serve.database import Database
from leeroo.serve.options import ServerOptions
from leeroo.serve.web import api, feedback, page
from leeroo.serve.web.dependencies import ServerState, get_owner
from leeroo.serve.web.errors import add_error_handlers
from leeroo.serve.web.middleware import RequestGuard


def make_app(db: Database, engine: Engine, options: ServerOptions) -> FastAPI:
    """Make the application; its threads start and stop with it."""
    state = ServerState(db, engine, options)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        state.scheduler.start()
        yield
        state.scheduler.stop()

    app = FastAPI(
        title="Leeroo",
        summary="Batches of questions, each answered by the model of a pool that is worth its cost.",
        version="1",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        middleware=[
            Middleware(
                RequestGuard,
                metrics=state.metrics,
                file_bytes=options.file_bytes,
                loopback_only=lambda: options.loopback and not keys.are_required(db),
                check_key=lambda scope: state.check_key(Request(scope)),
                count_upload=state.scheduler.count_upload,
            )
        ],
    )
    app.state.server = state
    app.include_router(api.router)
    app.include_router(feedback.router)
    app.include_router(page.router)
    add_error_handlers(app)
    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]
    app.get("/openapi.json", include_in_schema=False, dependencies=[Depends(get_owner)])(app.openapi)
    return app


def _describe(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document, without the replies to bad input that FastAPI assumes and that are not sent."""
    if app.openapi_schema is None:
        document = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
        for methods in document["paths"].values():
            for operation in methods.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            document["components"]["schemas"].pop(name, None)
        app.openapi_schema = document
    return app.openapi_schema
