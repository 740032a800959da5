"""Connections: how long one may be silent between requests, and the most there may be.

Knows nothing of what requests say.
"""

from __future__ import annotations

import asyncio
import resource
import time
from typing import Any, cast

from uvicorn.protocols.http.auto import AutoHTTPProtocol

# Seconds that a connection has to bring the head of its next request, and between two checks of that. Clients keep an
# idle connection for less (httpx: 5 s): a close that crosses a request on its way would be an error for them.
HEAD_S = 30.0
_LOOK_S = 5.0
# The most connections, where the system permits that many open files; half of its limit is left for files.
_MOST = 2000


class Connections:
    """All connections of a server.

    When there are as many as there may be, a new one takes the place of the one that has been silent the longest.
    """

    def __init__(self) -> None:
        self.most = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2, _MOST)
        self.of_address = max(self.most // 2, 1)
        self._open: set[Any] = set()

    def add(self, connection: Any) -> None:
        """Add a new connection, and close the one that has been silent the longest if there are too many."""
        same = [other for other in self._open if other.address == connection.address]
        crowd = same if len(same) >= self.of_address else list(self._open) if len(self._open) >= self.most else []
        if crowd:
            silent = [other for other in crowd if not other.busy]
            min(silent, key=lambda other: other.silent_since, default=connection).transport.close()
        self._open.add(connection)

    def remove(self, connection: Any) -> None:
        """Forget a connection that is closed."""
        self._open.discard(connection)


def protocol(connections: Connections) -> type[asyncio.Protocol]:
    """Return uvicorn's HTTP protocol with these connections counted, and silent ones closed."""
    base: Any = AutoHTTPProtocol

    class Watched(base):  # type: ignore[misc]
        address = ""
        silent_since = 0.0

        @property
        def busy(self) -> bool:
            """True while a request is being answered."""
            return self.cycle is not None and not self.cycle.response_complete

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self.address = (transport.get_extra_info("peername") or ("",))[0]
            self.silent_since = time.monotonic()
            connections.add(self)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            connections.remove(self)
            super().connection_lost(exc)

        def on_response_complete(self) -> None:
            self.silent_since = time.monotonic()
            super().on_response_complete()

        def _watch(self) -> None:
            """Check every few seconds, and close the connection when it has been silent for too long."""
            if self.transport.is_closing():
                return
            if self.busy:
                self.silent_since = time.monotonic()
            elif time.monotonic() - self.silent_since > HEAD_S:
                self.transport.close()
                return
            self.loop.call_later(_LOOK_S, self._watch)

    return cast("type[asyncio.Protocol]", Watched)
