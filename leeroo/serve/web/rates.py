"""Rates: how many requests each client sent within the last minute, by a clock that nobody can set.

Knows nothing of keys and addresses.
"""

from __future__ import annotations

import math
import threading
import time
from collections import defaultdict, deque
from typing import NamedTuple

_WINDOW_S = 60.0


class Hit(NamedTuple):
    """A counted request: whether it is within its client's rate, how many more are, and seconds until others are."""

    granted: bool
    left: int
    wait_s: int


class Rates:
    """The requests of every client within the last minute."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hits: defaultdict[str, deque[float]] = defaultdict(deque)
        self._swept = time.monotonic()

    def hit(self, client: str, most: int) -> Hit:
        """Count a request of a client that may send `most` in a minute; one that is refused does not count."""
        with self._lock:
            now = time.monotonic()
            self._sweep(now)
            hits = self._hits[client]
            while hits and hits[0] <= now - _WINDOW_S:
                hits.popleft()
            granted = len(hits) < most
            if granted:
                hits.append(now)
            return Hit(granted, most - len(hits), math.ceil(hits[0] + _WINDOW_S - now))

    def _sweep(self, now: float) -> None:
        """Forget clients that have been silent, once a minute."""
        if now - self._swept > _WINDOW_S:
            self._swept = now
            for client in [client for client, hits in self._hits.items() if hits[-1] <= now - _WINDOW_S]:
                del self._hits[client]
