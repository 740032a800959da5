"""Rate limits of the fake provider: requests and tokens a minute, counted as real ones do, in minutes of any length."""

from __future__ import annotations

import threading
import time
from collections import deque
from datetime import UTC, datetime
from typing import Literal

Says = Literal["openai", "anthropic", "retry-after", "nothing"]


class _Counter:
    """One limit: a bucket that is refilled at an even speed, or a minute that slides."""

    def __init__(self, limit: int, minute_s: float, sliding: bool) -> None:
        self.limit, self._minute_s, self._sliding = limit, minute_s, sliding
        self._bucket, self._at = float(limit), time.monotonic()
        self._taken: deque[tuple[float, float]] = deque()

    def left(self) -> float:
        now = time.monotonic()
        self._bucket = min(self._bucket + (now - self._at) * self.limit / self._minute_s, self.limit)
        self._at = now
        while self._taken and self._taken[0][0] <= now - self._minute_s:
            self._taken.popleft()
        return self.limit - sum(amount for _, amount in self._taken) if self._sliding else self._bucket

    def take(self, amount: float) -> None:
        self._bucket -= amount
        self._taken.append((time.monotonic(), amount))

    def wait_s(self, amount: float) -> float:
        """Return the seconds until an amount is there."""
        lacking = amount - self.left()
        if not self._sliding:
            return max(lacking, 0.0) * self._minute_s / self.limit
        ends = 0.0
        for at, taken in self._taken:
            if lacking <= 0:
                break
            ends, lacking = at + self._minute_s, lacking - taken
        return max(ends - time.monotonic(), 0.0)


class RateLimit:
    """Limits of one account.

    Args:
        requests: Requests in a minute.
        tokens: Tokens in a minute.
        minute_s: Seconds that a minute lasts.
        sliding: No minute has more, wherever it begins; else a bucket that holds a minute's worth.
        says: The headers of replies; 'retry-after' and 'nothing' do not say what is left.

    """

    def __init__(
        self, requests: int, tokens: int, minute_s: float = 60.0, *, sliding: bool = False, says: Says = "openai"
    ) -> None:
        self._counters = {
            "requests": _Counter(requests, minute_s, sliding),
            "tokens": _Counter(tokens, minute_s, sliding),
        }
        self._says, self._lock = says, threading.Lock()
        self.admitted: list[float] = []  # times
        self.refused = 0

    def admit(self, tokens: int) -> tuple[bool, dict[str, str]]:
        """Count a request with its tokens, unless it is too much; return whether it is let through, and headers."""
        amounts = {"requests": 1, "tokens": tokens}
        with self._lock:
            wait_s = max(counter.wait_s(amounts[kind]) for kind, counter in self._counters.items())
            if wait_s > 0:
                self.refused += 1
            else:
                self.admitted.append(time.monotonic())
                for kind, counter in self._counters.items():
                    counter.take(amounts[kind])
            return wait_s <= 0, self._headers(wait_s)

    def _headers(self, wait_s: float) -> dict[str, str]:
        headers = {"Retry-After": f"{wait_s:.3f}"} if wait_s > 0 and self._says != "nothing" else {}
        for kind, counter in self._counters.items():
            left, reset_s = max(int(counter.left()), 0), counter.wait_s(counter.limit)
            if self._says == "openai":
                duration = f"{reset_s * 1e3:.0f}ms" if reset_s < 1 else f"{int(reset_s // 60)}m{reset_s % 60:.3f}s"
                names = ("x-ratelimit-limit-{}", "x-ratelimit-remaining-{}", "x-ratelimit-reset-{}")
                headers |= _named(names, kind, (str(counter.limit), str(left), duration))
            if self._says == "anthropic":
                date = datetime.fromtimestamp(time.time() + reset_s, UTC).isoformat().replace("+00:00", "Z")
                names = (
                    "anthropic-ratelimit-{}-limit",
                    "anthropic-ratelimit-{}-remaining",
                    "anthropic-ratelimit-{}-reset",
                )
                headers |= _named(names, kind, (str(counter.limit), str(left), date))
        return headers


def _named(names: tuple[str, ...], kind: str, values: tuple[str, ...]) -> dict[str, str]:
    return {name.format(kind): value for name, value in zip(names, values, strict=True)}
