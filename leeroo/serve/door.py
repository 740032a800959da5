"""The door: who a request is from, and how many of theirs there may be."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

import limits as rates
from fastapi import HTTPException, Request

from leeroo.engine.answer import Engine
from leeroo.serve import keys
from leeroo.serve.batches import Wishes
from leeroo.serve.database import Database
from leeroo.serve.guard import NO_KEY
from leeroo.serve.lines import Limits
from leeroo.serve.metrics import Metrics
from leeroo.serve.work import Works

# The cookie of a browser that has shown a key.
COOKIE = "leeroo_session"


@dataclass(frozen=True)
class Options:
    """How a server is set up.

    Attributes:
        limits: Of files and open batches.
        requests_per_minute: Of each key.
        wishes: What a batch asks for that says nothing of it.
        loopback: Whether it listens to its own machine only.
    """

    limits: Limits = field(default_factory=Limits)
    requests_per_minute: int = 6000
    wishes: Wishes = field(default_factory=Wishes)
    loopback: bool = True


class Door:
    """What all requests share, and who may come in."""

    def __init__(self, db: Database, engine: Engine, options: Options) -> None:
        self.db, self.engine, self.options = db, engine, options
        self.metrics = Metrics(db)
        self.works = Works(db, engine, options.limits, self.metrics)
        self._rate = rates.RateLimitItemPerMinute(options.requests_per_minute)
        self._counts = rates.strategies.MovingWindowRateLimiter(rates.storage.MemoryStorage())

    def known(self, request: Request) -> str | None:
        """Whose request this is; None without a key that is in use."""
        if not keys.wanted(self.db):
            return keys.NOBODY
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme:
            return keys.owner_of(self.db, secret.strip()) if scheme.casefold() == "bearer" else None
        session = request.cookies.get(COOKIE)
        return keys.owner_of_session(self.db, session) if session else None

    def count(self, request: Request, who: str) -> None:
        """Count a request.

        Raises:
            HTTPException: 429 when there were too many.

        """
        granted = self._counts.hit(self._rate, who)
        reset, remaining = self._counts.get_window_stats(self._rate, who)
        wait = max(0, math.ceil(reset - time.time()))
        request.state.headers = {
            "x-ratelimit-limit-requests": str(self._rate.amount),
            "x-ratelimit-remaining-requests": str(remaining),
            "x-ratelimit-reset-requests": f"{wait}s",
        }
        if not granted:
            raise HTTPException(429, "too many requests", headers={"retry-after": str(max(1, wait))})


def door(request: Request) -> Door:
    """That of the application."""
    found: Door = request.app.state.door
    return found


def owner(request: Request) -> str:
    """Whose request this is.

    Raises:
        HTTPException: 401 without a key that is in use, 429 when there were too many requests.

    """
    here = door(request)
    who = here.known(request)
    # Guesses at keys are counted too, by where they come from.
    here.count(request, who or f"unknown from {request.client.host if request.client else 'nowhere'}")
    if who is None:
        raise HTTPException(401, NO_KEY)
    request.state.owner = who
    return who
