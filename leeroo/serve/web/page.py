"""The status page: batches with their progress and spend, made on the server and readable without a script."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files as resources
from typing import Annotated, Any

import jinja2
from fastapi import APIRouter, Depends, Form, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from leeroo.engine.money import usd
from leeroo.serve import keys
from leeroo.serve.clock import now
from leeroo.serve.database import Database
from leeroo.serve.web import api
from leeroo.serve.web.dependencies import COOKIE, Door, door, owner
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

Here = Annotated[Door, Depends(door)]
router = APIRouter(include_in_schema=False)


@router.get("/")
def status_page(request: Request, here: Here, after: Annotated[str | None, Query(max_length=64)] = None) -> Response:
    """The page, or a form for the key where one is needed; with the header `x-part` only what changes on it."""
    who = here.known(request)
    if who is None:
        if "authorization" in request.headers or COOKIE in request.cookies:
            here.count(request, None)
        return _html("login.html", 401, wrong=False)
    owner(request)
    place = batches.get(here.db, who, after) if after else None
    found = batches.listed(here.db, who, place, _SHOWN + 1)
    return _html(
        "batches.html" if "x-part" in request.headers else "page.html",
        cards=[_card(here.db, batch) for batch in found[:_SHOWN]],
        older=found[_SHOWN - 1].id if len(found) > _SHOWN else None,
        first_page=place is None,
        open=sum(batch.open for batch in found[:_SHOWN]),
        experts=here.engine.pool.names,
        with_key=who != keys.NOBODY,
        now=_when(now()),
    )


@router.post("/login")
def login(request: Request, here: Here, key: Annotated[str, Form(max_length=200)]) -> Response:
    """Exchange a key for a cookie."""
    here.count(request, None)
    who = keys.owner_of(here.db, key.strip())
    if who is None:
        return _html("login.html", 401, wrong=True)
    response = RedirectResponse("/", 303)
    secure = request.url.scheme == "https"
    response.set_cookie(COOKIE, keys.open_session(here.db, who), httponly=True, samesite="strict", secure=secure)
    return response


@router.post("/logout")
def logout(request: Request, here: Here) -> Response:
    """Forget the browser."""
    session = request.cookies.get(COOKIE)
    if session:
        keys.close_session(here.db, session)
    response = RedirectResponse("/", 303)
    response.delete_cookie(COOKIE)
    return response


@router.post("/cancel/{batch_id}")
def cancel(who: Annotated[str, Depends(owner)], here: Here, batch_id: Annotated[str, Path(max_length=64)]) -> Response:
    """The button beside a batch."""
    batch = batches.get(here.db, who, batch_id)
    if batch is None:
        raise HTTPException(404, f"there is no batch {batch_id!r}")
    api.cancelled(here, batch)
    return RedirectResponse("/", 303)


@router.get("/static/{name}")
def static(name: str) -> Response:
    """Style and script."""
    if name not in _STATIC:
        raise HTTPException(404, f"there is no {name!r}")
    return Response(_text(name), media_type=_STATIC[name])


@dataclass(frozen=True)
class Card:
    """What the page shows of a batch."""

    batch: Batch
    created: str
    done: int
    percent: int
    shares: list[tuple[str, int, float]]  # expert, rows, USD
    rows_line: str  # points of an SVG polyline
    cost_line: str
    takes: str


def _card(db: Database, batch: Batch) -> Card:
    done = batch.completed + batch.failed
    shares = db.rows(
        "SELECT expert, rows, cost_usd FROM shares WHERE batch = ? ORDER BY rows DESC, expert", batch.number
    )
    history = [
        tuple(row)
        for row in db.rows("SELECT at, done, cost_usd FROM history WHERE batch = ? ORDER BY at", batch.number)
    ]
    start = float(batch.in_progress_at or batch.created_at)
    points = [(start, 0, 0.0), *history]
    return Card(
        batch=batch,
        created=_when(batch.created_at),
        done=done,
        percent=round(100 * done / batch.total) if batch.total else 0,
        shares=[tuple(row) for row in shares],
        rows_line=_polyline([(at, rows) for at, rows, _ in points], batch.total),
        cost_line=_polyline([(at, usd) for at, _, usd in points], batch.max_cost_usd or points[-1][2]),
        takes=_span(points[-1][0] - start) if history else "",
    )


def _polyline(points: Sequence[tuple[float, float]], most: float) -> str:
    """As SVG has it: time to the right, from nothing to the most there can be upwards."""
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


def _html(name: str, status: int = 200, **told: Any) -> HTMLResponse:
    text = _templates().get_template(name).render(**told)
    return HTMLResponse(text, status, headers={"content-security-policy": _POLICY})
