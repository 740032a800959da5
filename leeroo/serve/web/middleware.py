"""The guard at the door: how much a request may bring and how long it may take to, and one log line for each."""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leeroo.serve.work.metrics import Metrics
from leeroo.serve.work.results import error_body

# A request brings its next bytes within so many seconds, and all of them within so many.
_NEXT_S, _WHOLE_S = 30.0, 600.0
# Beside the file itself an upload has a frame of multipart.
_FRAME_BYTES = 64 * 1024
NO_KEY = "no key, or none that is in use: send 'Authorization: Bearer lk-...'"
_KINDS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
# How a request counts whose client left before it was answered.
_GONE = 499
_SAFE = {"x-content-type-options": "nosniff", "referrer-policy": "same-origin", "cache-control": "no-store"}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LOOPBACK = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Sizes:
    """How many bytes an upload may have, and any other request."""

    upload: int
    other: int = 1024**2


class Refusal(HTTPException):
    """A request brings what it may not, too much or too slowly; the rest of it is not read."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, message, headers={**(headers or {}), "connection": "close"})


def kind_of(status: int) -> str:
    """OpenAI's word for errors of this status."""
    return _KINDS.get(status, "invalid_request_error")


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        sizes: Sizes,
        metrics: Metrics,
        *,
        loopback_only: Callable[[], bool],
        admit: Callable[[Scope], None],
    ) -> None:
        self._app, self._sizes, self._metrics = app, sizes, metrics
        self._loopback_only, self._admit = loopback_only, admit
        self._log = structlog.get_logger("leeroo.http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or say why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"
        scope.setdefault("state", {})["request_id"] = request_id
        began, status = time.perf_counter(), _GONE

        async def tell(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                more = {"x-request-id": request_id, **_SAFE, **scope["state"].get("headers", {})}
                message["headers"] = [*message["headers"], *((n.encode(), v.encode()) for n, v in more.items())]
            await send(message)

        try:
            refusal = self._refusal(scope, headers)
            if refusal is not None:
                await _answer(refusal, scope, receive, tell)
            else:
                await self._app(scope, self._counted(scope, receive), tell)
        except asyncio.CancelledError:  # uvicorn ends what is still under way when the server has to end
            if status == _GONE:
                await _answer(Refusal(503, "the server is ending: send this again later"), scope, receive, tell)
        finally:
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.request(scope["method"], route, status, seconds)
            self._log.info(
                "request",
                request_id=request_id,
                method=scope["method"],
                path=scope["path"],
                status=status,
                ms=round(1000 * seconds, 1),
                owner=scope["state"].get("owner"),
            )

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> Refusal | None:
        """What can be said before anything is read."""
        host = headers.get("host", "")
        if self._loopback_only() and not _LOOPBACK.fullmatch(host):
            # A page elsewhere may have given a name of its own to this machine's address.
            return Refusal(421, f"this server answers to names of its own machine only, not to {host[:100]!r}")
        origin = headers.get("origin")
        if origin is not None and origin.split("://")[-1] != host:
            return Refusal(403, "pages of other origins may not use this server")
        if scope["method"] == "POST" and scope["path"].startswith("/v1/"):
            try:
                self._admit(scope)
            except HTTPException as error:
                return Refusal(error.status_code, str(error.detail), error.headers)
        if headers.get("content-encoding", "identity") != "identity":
            return Refusal(415, "send the content as it is, without Content-Encoding")
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._sizes.upload + _FRAME_BYTES:
            return self._too_large(self._sizes.upload)
        return None

    def _counted(self, scope: Scope, receive: Receive) -> Receive:
        """`receive` that keeps to the limits."""
        upload = scope["path"] == "/v1/files"
        most = self._sizes.upload + _FRAME_BYTES if upload else self._sizes.other
        came, began, whole = 0, time.monotonic(), False

        async def counted() -> Message:
            nonlocal came, whole
            if whole:
                return await receive()
            left = _WHOLE_S - (time.monotonic() - began)
            try:
                message = await asyncio.wait_for(receive(), min(_NEXT_S, max(left, 0.0)))
            except TimeoutError:
                raise Refusal(408, "the request took too long to come") from None
            came += len(message.get("body", b""))
            whole = message["type"] != "http.request" or not message.get("more_body", False)
            if came > most:
                raise self._too_large(most)
            return message

        return counted

    def _too_large(self, most: int) -> Refusal:
        return Refusal(413, f"the request is larger than the {most:,} bytes that may be sent")


async def _answer(refusal: Refusal, scope: Scope, receive: Receive, send: Send) -> None:
    body = error_body(refusal.detail, kind_of(refusal.status_code))
    await JSONResponse(body, refusal.status_code, headers=refusal.headers)(scope, receive, send)
