"""The number of requests in flight follows what a server takes."""

from __future__ import annotations

import time

from leeroo.engine.backends.api.limits.concurrency import Concurrency


def test_it_starts_moderate_and_grows_with_answers() -> None:
    """It starts at 16, and each answer allows one more, up to the most."""
    concurrency = Concurrency(20)
    allowed = [concurrency.allowed]
    for _ in range(6):
        concurrency.grow()
        allowed.append(concurrency.allowed)
    assert allowed == [16, 17, 18, 19, 20, 20, 20]


def test_it_never_passes_a_small_most() -> None:
    """A small server has its number from the start."""
    concurrency = Concurrency(3)
    concurrency.grow()
    assert concurrency.allowed == 3


def test_a_refusal_halves_it_and_answers_restore_it_slowly() -> None:
    """After a refusal it takes as many answers as are in flight to allow one more."""
    concurrency = Concurrency(16)
    concurrency.cut(time.monotonic())
    assert concurrency.allowed == 8
    for _ in range(7):
        concurrency.grow()
    assert concurrency.allowed == 8
    for _ in range(3):
        concurrency.grow()
    assert concurrency.allowed == 9


def test_refusals_of_one_moment_count_once() -> None:
    """Requests that were sent before a refusal say nothing about what came after it."""
    concurrency = Concurrency(16)
    sent = time.monotonic()
    for _ in range(16):
        concurrency.cut(sent)
    assert concurrency.allowed == 8


def test_two_requests_are_always_allowed() -> None:
    """However often a server refuses, it is asked again, and one row that it never takes leaves room for another."""
    for most, least in ((16, 2), (1, 1)):
        concurrency = Concurrency(most)
        for _ in range(20):
            concurrency.cut(time.monotonic())
        assert concurrency.allowed == least
