"""Concurrency: how many requests of one connection may be in flight, found by trying.

Each answer allows a little more, and each refusal for too much work halves it: additive increase, multiplicative
decrease, as TCP has it.
"""

from __future__ import annotations

import time

# Requests in flight at the start: enough to see what a server does, and few enough for a small one.
_START = 16
# What a refusal leaves, and the least: one row that is always refused does not hold up all others.
_CUT, _LEAST = 0.5, 2


class Concurrency:
    """The number of requests that may be in flight, up to the most that the pool file allows."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._window = float(min(most, _START))
        self._cut_at: float | None = None

    @property
    def allowed(self) -> int:
        """The requests that may be in flight now."""
        return int(self._window)

    def grow(self) -> None:
        """Allow more after an answer: one more each time until the first refusal, then one more for each window."""
        step = 1.0 if self._cut_at is None else 1.0 / self._window
        self._window = min(self._window + step, float(self._most))

    def cut(self, sent_at: float) -> None:
        """Allow fewer after a refusal; requests that were sent before the last cut say nothing about it.

        Args:
            sent_at: When the refused request was sent, by `time.monotonic`.

        """
        if self._cut_at is None or sent_at > self._cut_at:
            self._window = max(self._window * _CUT, float(min(self._most, _LEAST)))
            self._cut_at = time.monotonic()
