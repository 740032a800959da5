"""The status page: batches with their progress and spend, rendered on the server and readable without a script."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files as resources
from typing import Annotated, Any

import jinja2
from fastapi import APIRouter, Form, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from leeroo.engine.money import usd
from leeroo.serve import keys
from leeroo.serve.clock import now
from leeroo.serve.database import Database
from leeroo.serve.web import api
from leeroo.serve.web.dependencies import COOKIE, Owner, State
from leeroo.serve.web.errors import RequestError
from leeroo.serve.work import batches
from leeroo.serve.work.batches import Batch

_SHOWN = 20
# Points of a plot, and its size in units of its own.
_POINTS, _WIDTH, _HEIGHT = 60, 240, 48
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_STATIC = {
    "icon.svg": "image/svg+xml",
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}

router = APIRouter(include_in_schema=False)


@router.get("/")
def status_page(request: Request, state: State, after: Annotated[str | None, Query(max_length=64)] = None) -> Response:
    """Return the page, or a form for the key; with the header `x-part` only the part that changes."""
    owner = state.find_owner(request)
    if owner is None:
        if "authorization" in request.headers or COOKIE in request.cookies:
            state.count(request, None)
        return _html("login.html", 401, wrong=False)
    state.admit(request)
    place = batches.get(state.db, owner, after) if after else None
    found = batches.list_batches(state.db, owner, place, _SHOWN + 1)
    return _html(
        "batches.html" if "x-part" in request.headers else "page.html",
        cards=[_card(state.db, batch) for batch in found[:_SHOWN]],
        older=found[_SHOWN - 1].id if len(found) > _SHOWN else None,
        first_page=place is None,
        open=sum(batch.open for batch in found[:_SHOWN]),
        experts=state.engine.pool.names,
        with_key=owner != keys.NOBODY,
        now=_when(now()),
    )


@router.post("/login")
def login(request: Request, state: State, key: Annotated[str, Form(max_length=200)]) -> Response:
    """Exchange a key for a cookie."""
    state.count(request, None)
    owner = keys.owner_of(state.db, key.strip())
    if owner is None:
        return _html("login.html", 401, wrong=True)
    response = RedirectResponse("/", 303)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, keys.open_session(state.db, owner), httponly=True, samesite="strict", secure=secure)
    return response


@router.post("/logout")
def logout(request: Request, state: State) -> Response:
    """Forget the browser."""
    session = request.cookies.get(COOKIE)
    if session:
        keys.close_session(state.db, session)
    response = RedirectResponse("/", 303)
    response.delete_cookie(COOKIE)
    return response


@router.post("/cancel/{batch_id}")
def cancel(owner: Owner, state: State, batch_id: Annotated[str, Path(max_length=64)]) -> Response:
    """Cancel a batch by its button."""
    batch = batches.get(state.db, owner, batch_id)
    if batch is None:
        raise RequestError(404, f"there is no batch {batch_id!r}")
    api.try_cancel(state, batch)
    return RedirectResponse("/", 303)


@router.get("/static/{name}")
def static(name: str) -> Response:
    """Return the style, script or icon."""
    if name not in _STATIC:
        raise RequestError(404, f"there is no {name!r}")
    return Response(_text(name), media_type=_STATIC[name])


def _card(db: Database, batch: Batch) -> dict[str, Any]:
    """Return a batch as the page shows it."""
    done = batch.completed + batch.failed
    history = batches.history(db, batch)
    start = float(batch.in_progress_at or batch.created_at)
    points = [(start, 0, 0.0), *history]
    return {
        "batch": batch,
        "created": _when(batch.created_at),
        "done": done,
        "percent": round(100 * done / batch.total) if batch.total else 0,
        "shares": batches.shares(db, batch),
        "rows_line": _polyline([(at, rows) for at, rows, _ in points], batch.total),
        "cost_line": _polyline([(at, usd) for at, _, usd in points], batch.max_cost_usd or points[-1][2]),
        "takes": _span(points[-1][0] - start) if history else "",
    }


def _polyline(points: Sequence[tuple[float, float]], most: float) -> str:
    """Return the points of an SVG polyline: time to the right, values from 0 to `most` upwards."""
    step = max(1, len(points) // _POINTS)
    some = [*points[::step], points[-1]] if len(points) > 1 else []
    if not some:
        return ""
    first, last = some[0][0], some[-1][0]
    return " ".join(
        f"{_WIDTH * (at - first) / max(last - first, 1e-9):.1f},{_HEIGHT * (1 - value / (most or 1)):.1f}"
        for at, value in some
    )


def _when(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _span(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _usd(amount: float | None) -> str:
    return "none" if amount is None else usd(amount)


@functools.cache
def _text(name: str) -> bytes:
    return resources("leeroo.serve.web").joinpath("static", name).read_bytes()


@functools.cache
def _templates() -> jinja2.Environment:
    loader = jinja2.FunctionLoader(lambda name: _text(name).decode())
    templates = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    templates.filters["usd"] = _usd
    templates.filters["thousands"] = lambda number: f"{number:,}"
    return templates


def _html(name: str, status: int = 200, **values: Any) -> HTMLResponse:
    text = _templates().get_template(name).render(**values)
    return HTMLResponse(text, status, headers={"content-security-policy": _POLICY})
