"""The event loop of all APIs: one thread, so that experts of one account can wait for each other."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading

_opening = threading.Lock()
# By process: a forked one has the loop of its parent, and not the thread that runs it.
_running: dict[int, asyncio.AbstractEventLoop] = {}


def shared_loop() -> asyncio.AbstractEventLoop:
    """Return the loop, which runs in a thread of its own: the caller may run one already, as a notebook does."""
    with _opening:
        if os.getpid() not in _running:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="leeroo-apis", daemon=True)
            thread.start()
            atexit.register(_end, loop, thread)
            _running[os.getpid()] = loop
        return _running[os.getpid()]


def _end(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    """End the loop; one that is still running when its objects are collected prints errors."""
    if thread.is_alive():
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=5)
    if not thread.is_alive():
        loop.close()
