"""Allowances: what a provider says is left of its limits, in the headers of its replies.

OpenAI's headers (`x-ratelimit-remaining-requests`, ...), which many servers send, and Anthropic's. Both refill what is
left at an even speed: `reset` says when all of it is there again.
"""

from __future__ import annotations

import email.utils
import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

Kind = Literal["requests", "tokens"]
KINDS: tuple[Kind, ...] = ("requests", "tokens")
# The longest wait that a server can demand, in seconds: then it is asked again.
LONGEST_WAIT_S = 120.0

# By provider, the names of what is left, of the limit, and of the time of its reset.
_NAMES = (
    ("x-ratelimit-remaining-{}", "x-ratelimit-limit-{}", "x-ratelimit-reset-{}"),
    ("anthropic-ratelimit-{}-remaining", "anthropic-ratelimit-{}-limit", "anthropic-ratelimit-{}-reset"),
)
# OpenAI's durations: "6m0s", "1.5s", "120ms".
_DURATION = re.compile(r"(?=.)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
_UNITS_S = (86_400.0, 3_600.0, 60.0, 1.0, 1e-3)
# A number beyond this is a point in time, in seconds since 1970; one beyond its thousandfold is in milliseconds.
_EPOCH = 1e9


@dataclass(frozen=True)
class Allowance:
    """What is left of one limit.

    Attributes:
        remaining: Requests or tokens that are left.
        reset_s: Seconds until all of the limit is there again.
        limit: All of it, None where the provider does not say.

    """

    remaining: float
    reset_s: float
    limit: float | None


def read_allowances(headers: Mapping[str, str]) -> dict[Kind, Allowance]:
    """Return what the headers of a reply say is left, by kind; nothing of what cannot be read."""
    found: dict[Kind, Allowance] = {}
    for kind in KINDS:
        for names in _NAMES:
            remaining, limit, reset = (headers.get(name.format(kind)) for name in names)
            left, reset_s = number(remaining), seconds_until(reset, headers)
            if left is not None and reset_s is not None:
                found[kind] = Allowance(max(left, 0.0), max(reset_s, 0.0), number(limit))
    return found


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return how long a server wants us to wait, in seconds; None where it does not say."""
    milliseconds = number(headers.get("retry-after-ms"))
    seconds = seconds_until(headers.get("retry-after"), headers) if milliseconds is None else milliseconds / 1e3
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_WAIT_S)


def seconds_until(text: str | None, headers: Mapping[str, str]) -> float | None:
    """Return the seconds until a time: a number, a duration, or a date of HTTP or RFC 3339. None for anything else."""
    text = (text or "").strip()
    given = number(text)
    if given is not None:
        return given if given < _EPOCH else (given if given < _EPOCH * 1e3 else given / 1e3) - _now(headers)
    duration = _DURATION.fullmatch(text)
    if duration is not None:
        return math.fsum(float(part or 0) * unit for part, unit in zip(duration.groups(), _UNITS_S, strict=True))
    date = _date(text)
    return None if date is None else date - _now(headers)


def number(text: str | None) -> float | None:
    """Return the finite number that a text is, None where it is none."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _date(text: str) -> float | None:
    """Return a date as seconds since 1970."""
    parsed = email.utils.parsedate_tz(text)
    try:
        if parsed is not None:
            return float(email.utils.mktime_tz(parsed))
        date = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        return None
    return date.replace(tzinfo=date.tzinfo or UTC).timestamp()


def _now(headers: Mapping[str, str]) -> float:
    """Return the time of the server's clock, which may differ from ours; ours where it does not say."""
    said = _date(headers.get("date", ""))
    return time.time() if said is None else said
