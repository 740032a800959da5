"""Options of a server: its address, its engine, its limits, and how long it keeps things."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from leeroo.engine.answer import Criteria


@dataclass(frozen=True)
class ServerOptions:
    """How a server is set up.

    Attributes:
        host, port: The address that it listens on.
        proxy: Address of the proxy whose X-Forwarded-For is believed.
        pool, router, store: As in `open_engine`.
        criteria: Budget and weights of batches whose metadata does not set them.
        file_bytes, lines, line_bytes: The most of a file, and of one of its lines.
        open_batches, bytes_per_key, requests_per_minute: The most of one key.
        keep_s: How long files and ended batches are kept, None for ever.
    """

    host: str
    port: int
    proxy: str | None
    pool: Path | None
    router: Path | None
    store: Path | None
    criteria: Criteria
    file_bytes: int
    lines: int
    line_bytes: int
    open_batches: int
    bytes_per_key: int
    requests_per_minute: int
    keep_s: float | None

    @property
    def loopback(self) -> bool:
        """True where it listens to its own machine only."""
        return self.host in ("127.0.0.1", "::1", "localhost")
