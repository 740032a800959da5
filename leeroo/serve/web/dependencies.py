"""The door: who a request is from, and how many of theirs there may be."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastapi import HTTPException, Request

from leeroo.engine.answer import Engine
from leeroo.serve import keys
from leeroo.serve.database import Database
from leeroo.serve.web.middleware import NO_KEY
from leeroo.serve.web.rates import Rates
from leeroo.serve.work.batches import Wishes
from leeroo.serve.work.lines import Limits
from leeroo.serve.work.metrics import Metrics
from leeroo.serve.work.scheduler import Works

# The cookie of a browser that has shown a key.
COOKIE = "leeroo_session"
# Requests without a key that is in use, from one address in a minute.
_GUESSES = 60


@dataclass(frozen=True)
class Options:
    """How a server is set up.

    Attributes:
        limits: Of files and open batches.
        requests_per_minute: Of each key.
        wishes: What a batch asks for that says nothing of it.
        loopback: Whether it listens to its own machine only.
        keep_s: How long files and ended batches are kept, None for ever.
    """

    limits: Limits = field(default_factory=Limits)
    requests_per_minute: int = 6000
    wishes: Wishes = field(default_factory=Wishes)
    loopback: bool = True
    keep_s: float | None = 30 * 24 * 3600


class Door:
    """What all requests share, and who may come in."""

    def __init__(self, db: Database, engine: Engine, options: Options) -> None:
        self.db, self.engine, self.options = db, engine, options
        self.metrics = Metrics(db)
        self.works = Works(db, engine, options.limits, options.keep_s, self.metrics)
        self._rates = Rates()

    def known(self, request: Request) -> str | None:
        """Whose request this is; None without a key that is in use."""
        if not keys.wanted(self.db):
            return keys.NOBODY
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme:
            return keys.owner_of(self.db, secret.strip()) if scheme.casefold() == "bearer" else None
        session = request.cookies.get(COOKIE)
        return keys.owner_of_session(self.db, session) if session else None

    def admit(self, request: Request) -> None:
        """Let a request in before anything of it is read.

        Raises:
            HTTPException: 401 without a key that is in use, 429 after too many of these.

        """
        if self.known(request) is None:
            self.count(request, None)
            raise HTTPException(401, NO_KEY)

    def count(self, request: Request, who: str | None) -> None:
        """Count a request of a key; one without, as a guess of its address.

        Raises:
            HTTPException: 429 when there were too many.

        """
        most = self.options.requests_per_minute
        address = request.client.host if request.client else "nowhere"
        client, most = (who, most) if who is not None else (f"guesses from {address}", min(most, _GUESSES))
        hit = self._rates.hit(client, most)
        request.state.headers = {
            "x-ratelimit-limit-requests": str(most),
            "x-ratelimit-remaining-requests": str(hit.left),
            "x-ratelimit-reset-requests": f"{hit.wait_s}s",
        }
        if not hit.granted:
            raise HTTPException(429, "too many requests", headers={"retry-after": str(max(1, hit.wait_s))})


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
    here.count(request, who)
    if who is None:
        raise HTTPException(401, NO_KEY)
    request.state.owner = who
    return who
