"""Worker threads, each for one piece of work, and the pause of all work while the disk is full or the like.

Knows nothing of batches and waves.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

import structlog

from leeroo.engine.errors import Interrupted, LeerooError

# Seconds that nothing is begun after an error that is no batch's fault.
_PAUSE_S = 5.0
# Seconds between two looks at whether requests are still under way.
_ASIDE_S = 0.005

_T = TypeVar("_T")


class Workers:
    """Threads that do one piece of work each; any object stands for a piece of work.

    Attributes:
        ending: Set when the server ends.
        news: Set when there may be something new to begin.
        uploads: Requests that bring something and are under way; the event loop counts them.
    """

    def __init__(self) -> None:
        self.ending, self.news = threading.Event(), threading.Event()
        self.uploads = 0  # requests with a body that are under way
        self._lock = threading.Lock()  # of what is at work
        self._at_work: list[object] = []
        self._pause: tuple[float, str] | None = None  # its end, and the reason
        self._log = structlog.get_logger("leeroo.serve")

    def step_aside(self, longest_s: float) -> float:
        """Wait until no request brings anything, and return the seconds: reading lines would slow all of them."""
        began = time.monotonic()
        while self.uploads and time.monotonic() - began < longest_s and not self.ending.is_set():
            time.sleep(_ASIDE_S)
        return time.monotonic() - began

    def begin(self, piece: object, do: Callable[[], None]) -> None:
        """Do a piece of work in a thread."""

        def run() -> None:
            try:
                do()
            except Interrupted:
                pass
            except Exception as error:  # noqa: BLE001 - it is logged; the thread is over anyway
                self.pause(error)
            finally:
                with self._lock:
                    self._at_work.remove(piece)
                self.news.set()

        with self._lock:
            self._at_work.append(piece)
        threading.Thread(target=run, name="leeroo-worker", daemon=True).start()

    def at_work(self, kind: type[_T]) -> list[_T]:
        """Return the pieces of work of a kind that are under way."""
        with self._lock:
            return [piece for piece in self._at_work if isinstance(piece, kind)]

    def pause(self, error: Exception) -> None:
        """Wait a little: the disk is full, or something went wrong that is no batch's fault."""
        expected = isinstance(error, (LeerooError, OSError))
        reason = str(error) if expected else "the server made a mistake, see its log"
        self._pause = time.monotonic() + _PAUSE_S, reason
        self._log.error("in_trouble", reason=str(error), exc_info=None if expected else error)

    def is_paused(self) -> bool:
        """Return whether nothing is to be begun now; a pause that is over is forgotten."""
        if self._pause is not None and time.monotonic() < self._pause[0]:
            return True
        self._pause = None
        return False

    def trouble(self) -> str | None:
        """Return the reason of the pause, None without one."""
        pause = self._pause
        return pause and pause[1]
