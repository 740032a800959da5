"""Errors over HTTP: the exception that routes raise, and replies in the form of OpenAI's API.

Knows nothing of routes.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from leeroo.engine.errors import LeerooError
from leeroo.serve.lines.results import error_body

NO_KEY = "no key, or none that is in use: send 'Authorization: Bearer lk-...'"
_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class RequestError(HTTPException):
    """A request that is refused; `param` is the field that is wrong, if it is one."""

    def __init__(
        self, status: int, message: str, param: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(status, message, headers)
        self.param = param


def error_reply(error: HTTPException) -> JSONResponse:
    """Return the reply to a request that a route, or the framework, refuses."""
    param = error.param if isinstance(error, RequestError) else None
    kind = _TYPES.get(error.status_code, "invalid_request_error")
    return JSONResponse(error_body(str(error.detail), kind, param=param), error.status_code, error.headers)


def add_error_handlers(app: FastAPI) -> None:
    """Have an application reply to all errors in the form of OpenAI's API."""
    app.add_exception_handler(RequestValidationError, _reply_to_invalid)
    app.add_exception_handler(HTTPException, _reply_to_refused)
    app.add_exception_handler(LeerooError, _reply_to_broken)
    app.add_exception_handler(OSError, _reply_to_broken)


def _reply_to_invalid(_: Request, error: Exception) -> JSONResponse:
    """Reply with the first mistake that the framework found in a request."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    message = f"{where}: {first['msg']}" if where else first["msg"]
    return error_reply(RequestError(400, message, where or None))


def _reply_to_refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    cause = error.__cause__
    if isinstance(cause, OSError) and cause.errno in _DISK_FULL:
        return _reply_to_broken(request, cause)  # the parts of an upload found no room
    return error_reply(error)


def _reply_to_broken(request: Request, error: Exception) -> JSONResponse:
    """Reply where the disk is full, or the database cannot be used: nothing of the request is kept."""
    structlog.get_logger("leeroo.http").error("no_room", request_id=request.state.request_id, reason=str(error))
    if isinstance(error, OSError) and error.errno not in _DISK_FULL:
        message = "the server cannot do this now"
    else:
        message = "the server has no room left for this; nothing was kept of it"
    return JSONResponse(error_body(message, "server_error", "insufficient_storage"), 507)
