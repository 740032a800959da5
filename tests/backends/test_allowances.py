"""What is left of a provider's limits is read from its headers, in the forms that providers give it."""

from __future__ import annotations

import time
from email.utils import formatdate

import pytest

from leeroo.engine.backends.api.limits.allowances import Allowance, read_allowances, retry_after_s, seconds_until


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360.0),
        ("1s", 1.0),
        ("120ms", 0.12),
        ("1h2m3.5s", 3723.5),
        ("2m59.56s", 179.56),
        ("1d2h", 93_600.0),
        ("30", 30.0),
        ("0.25", 0.25),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("1e999", None),
        ("5 apples", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    """OpenAI's durations and plain seconds are read, and nothing is made of anything else."""
    assert seconds_until(text, {}) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-27T00:01:00Z",
        "2026-01-27T00:01:00+00:00",
        "Tue, 27 Jan 2026 00:01:00 GMT",
        "1769472060",
        "1769472060000",
    ],
)
def test_dates_are_read_by_the_clock_of_the_server(text: str) -> None:
    """A date is as far away as the server's own clock says, however wrong ours is."""
    assert seconds_until(text, {"date": "Tue, 27 Jan 2026 00:00:00 GMT"}) == 60.0


def test_dates_without_a_clock_are_read_by_ours() -> None:
    """Where a reply has no date, our clock counts."""
    assert seconds_until(formatdate(time.time() + 60, usegmt=True), {}) == pytest.approx(60, abs=2)


def test_what_is_left_at_openai() -> None:
    """Requests and tokens are read apart."""
    headers = {
        "x-ratelimit-limit-requests": "60",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "1s",
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert read_allowances(headers) == {
        "requests": Allowance(59.0, 1.0, 60.0),
        "tokens": Allowance(149_984.0, 360.0, None),
    }


def test_what_is_left_at_anthropic() -> None:
    """Its names are others, and its times are dates."""
    headers = {
        "date": "Tue, 27 Jan 2026 00:00:00 GMT",
        "anthropic-ratelimit-requests-limit": "50",
        "anthropic-ratelimit-requests-remaining": "0",
        "anthropic-ratelimit-requests-reset": "2026-01-27T00:00:30Z",
    }
    assert read_allowances(headers) == {"requests": Allowance(0.0, 30.0, 50.0)}


@pytest.mark.parametrize(("remaining", "reset"), [("many", "1s"), ("5", "later"), ("5", ""), ("", "1s")])
def test_what_cannot_be_read_is_ignored(remaining: str, reset: str) -> None:
    """A header in a form of its own limits nothing."""
    headers = {"x-ratelimit-remaining-requests": remaining, "x-ratelimit-reset-requests": reset}
    assert read_allowances(headers) == {}


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "7", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "-7"}, 0.0),
        ({"retry-after": "86400"}, 120.0),  # asked again before
        ({"retry-after": "Tue, 27 Jan 2026 00:00:09 GMT", "date": "Tue, 27 Jan 2026 00:00:00 GMT"}, 9.0),
        ({"retry-after": "a while"}, None),
        ({}, None),
    ],
)
def test_a_demanded_wait(headers: dict[str, str], seconds: float | None) -> None:
    """Seconds, milliseconds and dates are waited for, and nothing for longer than two minutes."""
    assert retry_after_s(headers) == seconds
