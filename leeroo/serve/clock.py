"""The clock of the server: the time of day at its start, plus seconds that nobody can set."""

from __future__ import annotations

import time

_START = time.time() - time.monotonic()


def now() -> float:
    """Return seconds of the epoch, which ignore changes of the machine's clock while the server runs."""
    return _START + time.monotonic()
