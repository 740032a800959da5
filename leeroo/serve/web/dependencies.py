"""Dependencies of the routes: what all requests share, whose a request is, and how many each client may send."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from leeroo.engine.answer import Engine
from leeroo.serve import keys
from leeroo.serve.database import Database
from leeroo.serve.options import ServerOptions
from leeroo.serve.web.errors import NO_KEY, RequestError
from leeroo.serve.web.rates import Rates
from leeroo.serve.work.metrics import Metrics
from leeroo.serve.work.scheduler import Scheduler

# The cookie of a browser that has shown a key.
COOKIE = "leeroo_session"
# Requests in a minute, from one address, without a key that is in use: they may be guesses.
_GUESSES = 60


class ServerState:
    """Objects that all requests share, and the check of who sends them."""

    def __init__(self, db: Database, engine: Engine, options: ServerOptions) -> None:
        self.db, self.engine, self.options = db, engine, options
        self.metrics = Metrics(db)
        self.scheduler = Scheduler(db, engine, options, self.metrics)
        self._rates = Rates()

    def find_owner(self, request: Request) -> str | None:
        """Return whose request this is; None without a key that is in use."""
        if not keys.are_required(self.db):
            return keys.NOBODY
        scheme, _, secret = request.headers.get("authorization", "").partition(" ")
        if scheme:
            return keys.owner_of(self.db, secret.strip()) if scheme.casefold() == "bearer" else None
        session = request.cookies.get(COOKIE)
        return keys.owner_of_session(self.db, session) if session else None

    def check_key(self, request: Request) -> None:
        """Refuse a request without a key before anything of it is read.

        Raises:
            RequestError: 401 without a key that is in use, 429 after too many of these.

        """
        if self.find_owner(request) is None:
            self.count(request, None)
            raise RequestError(401, NO_KEY)

    def admit(self, request: Request) -> str:
        """Return whose request this is, and count it.

        Raises:
            RequestError: 401 without a key that is in use, 429 when there were too many requests.

        """
        owner = self.find_owner(request)
        self.count(request, owner)
        if owner is None:
            raise RequestError(401, NO_KEY)
        request.state.owner = owner
        return owner

    def count(self, request: Request, owner: str | None) -> None:
        """Count a request of a key; one without a key counts as a guess of its address.

        Raises:
            RequestError: 429 when there were too many.

        """
        most = self.options.requests_per_minute
        address = request.client.host if request.client else "nowhere"
        client, most = (owner, most) if owner is not None else (f"guesses from {address}", min(most, _GUESSES))
        hit = self._rates.hit(client, most)
        request.state.headers = {
            "x-ratelimit-limit-requests": str(most),
            "x-ratelimit-remaining-requests": str(hit.left),
            "x-ratelimit-reset-requests": f"{hit.wait_s}s",
        }
        if not hit.granted:
            raise RequestError(429, "too many requests", headers={"retry-after": str(max(1, hit.wait_s))})


# Both are coroutines, though they wait for nothing: a plain function would take each request to another thread.
async def get_state(request: Request) -> ServerState:
    """Return what all requests of the application share."""
    state: ServerState = request.app.state.server
    return state


async def get_owner(request: Request) -> str:
    """Return whose request this is, and count it.

    Raises:
        RequestError: 401 without a key that is in use, 429 when there were too many requests.

    """
    state: ServerState = request.app.state.server
    return state.admit(request)


State = Annotated[ServerState, Depends(get_state)]
Owner = Annotated[str, Depends(get_owner)]
