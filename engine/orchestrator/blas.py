"""Threads of BLAS, where threads of ours share the cores already."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

from threadpoolctl import ThreadpoolController

_turn = threading.Lock()
# Callers inside `one_thread`, and what to restore when the last one leaves.
_inside: list[object] = []
_before: list[Any] = []


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let each product of matrices run on one thread, in the whole process, until the last caller leaves.

    Threads of BLAS wait for each other spinning. When several threads of ours multiply, that takes the cores from the
    others: a prediction takes half of the computing with one thread each.
    """
    with _turn:
        if not _inside:
            _before.append(ThreadpoolController().limit(limits=1, user_api="blas"))
        _inside.append(1)
    try:
        yield
    finally:
        with _turn:
            _inside.pop()
            if not _inside:
                _before.pop().restore_original_limits()
