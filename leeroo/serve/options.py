"""Options of a server: its limits, the defaults of its batches, and how long it keeps things."""

from __future__ import annotations

from dataclasses import dataclass, field

from leeroo.engine.answer import Criteria


@dataclass(frozen=True)
class ServerLimits:
    """Limits of a file, and of what one key may keep."""

    file_bytes: int = 200 * 1024**2
    lines: int = 50_000
    line_bytes: int = 1024**2
    open_batches: int = 1000
    bytes_per_key: int = 20 * 1024**3


@dataclass(frozen=True)
class BatchOptions:
    """The budget, weights and privacy of a batch, from its metadata or the server's options."""

    max_cost_usd: float | None = None
    cost_weight: float = 0.0
    latency_weight: float = 0.0
    private: bool = False

    def checked(self) -> BatchOptions:
        """Return it, if the engine can do it.

        Raises:
            UsageError: a budget and a weight exclude each other, or a number is out of range.

        """
        Criteria(max_cost_usd=self.max_cost_usd, cost_weight=self.cost_weight, latency_weight=self.latency_weight)
        return self


@dataclass(frozen=True)
class ServerOptions:
    """How a server is set up.

    Attributes:
        limits: Limits of files and open batches.
        requests_per_minute: The most requests of each key.
        batches: Defaults of batches whose metadata does not set them.
        loopback: Whether it listens to its own machine only.
        keep_s: How long files and ended batches are kept, None for ever.
    """

    limits: ServerLimits = field(default_factory=ServerLimits)
    requests_per_minute: int = 6000
    batches: BatchOptions = field(default_factory=BatchOptions)
    loopback: bool = True
    keep_s: float | None = 30 * 24 * 3600
