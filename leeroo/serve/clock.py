"""The clock of the server: the time of day at its start, and seconds that nobody can set since then."""

from __future__ import annotations

import time

_START = time.time() - time.monotonic()


def now() -> float:
    """Return seconds of the epoch; a step of the machine's clock while the server runs changes nothing."""
    return _START + time.monotonic()
