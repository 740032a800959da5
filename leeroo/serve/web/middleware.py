"""Middleware around the whole application: limits of size and time, request ids, and a log line for each request.

Three packages could replace parts of this, and each would lose something. Starlette's TrustedHostMiddleware knows no
rule that changes while the server runs (the first key opens it to other names), and replies with plain text. A request
id is three lines here. Prometheus instrumentators rename the metric, and do not see requests that are refused here.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Mapping

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from leeroo.serve.web.errors import RequestError, error_reply
from leeroo.serve.work.metrics import Metrics

# The most seconds until the next bytes of a request, and until all of them.
_NEXT_S, _WHOLE_S = 30.0, 600.0
# Bytes of an upload that are not the file: the frame of multipart.
_FRAME_BYTES = 64 * 1024
# The most bytes of any other request.
_OTHER_BYTES = 1024**2
# Status in log and metrics of a request whose client left before it was answered.
_GONE = 499
_SAFE = {"x-content-type-options": "nosniff", "referrer-policy": "same-origin", "cache-control": "no-store"}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_LOOPBACK = re.compile(r"(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?", re.IGNORECASE)


class Refusal(RequestError):
    """A request that is refused before all of it is read; its connection is closed."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, message, headers={**(headers or {}), "connection": "close"})


class RequestGuard:
    """ASGI middleware around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        metrics: Metrics,
        *,
        file_bytes: int,
        loopback_only: Callable[[], bool],
        check_key: Callable[[Scope], None],
        count_upload: Callable[[int], None],
    ) -> None:
        self._app, self._metrics, self._file_bytes = app, metrics, file_bytes
        self._loopback_only, self._check_key, self._count_upload = loopback_only, check_key, count_upload
        self._log = structlog.get_logger("leeroo.http")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or reply why not."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else f"req_{secrets.token_hex(12)}"
        scope.setdefault("state", {})["request_id"] = request_id
        began, status = time.perf_counter(), _GONE

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                more = {"x-request-id": request_id, **_SAFE, **scope["state"].get("headers", {})}
                message["headers"] = [*message["headers"], *((n.encode(), v.encode()) for n, v in more.items())]
            await send(message)

        try:
            refusal = self._refusal(scope, headers)
            if refusal is not None:
                await error_reply(refusal)(scope, receive, send_marked)
            else:
                await self._app(scope, self._limit_receive(scope, receive), send_marked)
        except asyncio.CancelledError:  # uvicorn ends what is still under way when the server has to end
            if status == _GONE:
                refusal = Refusal(503, "the server is ending: send this again later")
                await error_reply(refusal)(scope, receive, send_marked)
        finally:
            self._count_upload(-scope["state"].get("uploads", 0))
            self._record(scope, status, time.perf_counter() - began)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        """Count a request, and log one line for it."""
        self._metrics.request(scope["method"], getattr(scope.get("route"), "path", "none"), status, seconds)
        self._log.info(
            "request",
            request_id=scope["state"]["request_id"],
            method=scope["method"],
            path=scope["path"],
            status=status,
            ms=round(1000 * seconds, 1),
            owner=scope["state"].get("owner"),
        )

    def _refusal(self, scope: Scope, headers: dict[str, str]) -> Refusal | None:
        """Return why a request is refused by its head alone; None where it is not."""
        host = headers.get("host", "")
        if self._loopback_only() and not _LOOPBACK.fullmatch(host):
            # A page elsewhere may have given a name of its own to this machine's address.
            return Refusal(421, f"this server answers to names of its own machine only, not to {host[:100]!r}")
        origin = headers.get("origin")
        if origin is not None and origin.split("://")[-1] != host:
            return Refusal(403, "pages of other origins may not use this server")
        if scope["method"] == "POST" and scope["path"].startswith("/v1/"):
            try:
                self._check_key(scope)
            except RequestError as error:
                return Refusal(error.status_code, str(error.detail), error.headers)
        if headers.get("content-encoding", "identity") != "identity":
            return Refusal(415, "send the content as it is, without Content-Encoding")
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > self._file_bytes + _FRAME_BYTES:
            return self._too_large(self._file_bytes)
        return None

    def _limit_receive(self, scope: Scope, receive: Receive) -> Receive:
        """Return `receive` with the limits of size and time enforced."""
        upload = scope["path"] == "/v1/files"
        most = self._file_bytes + _FRAME_BYTES if upload else _OTHER_BYTES
        came, began, whole = 0, time.monotonic(), False

        async def counted() -> Message:
            nonlocal came, whole
            if whole:
                return await receive()
            left = _WHOLE_S - (time.monotonic() - began)
            try:
                async with asyncio.timeout(min(_NEXT_S, max(left, 0.0))):
                    message = await receive()
            except TimeoutError:
                raise Refusal(408, "the request took too long to come") from None
            came += len(message.get("body", b""))
            whole = message["type"] != "http.request" or not message.get("more_body", False)
            if whole and scope["method"] == "POST":  # not before: a slow client keeps nobody waiting
                scope["state"]["uploads"] = 1
                self._count_upload(1)
            if came > most:
                raise self._too_large(most)
            return message

        return counted

    def _too_large(self, most: int) -> Refusal:
        return Refusal(413, f"the request is larger than the {most:,} bytes that may be sent")
