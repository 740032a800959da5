"""Ctrl-C and SIGTERM end a command with one line and exit code 130, whenever they come.

It is imported before everything else, so that other imports may be interrupted too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

EXIT_INTERRUPTED = 130
_LINE = "leeroo: interrupted; everything answered so far is kept, the same command goes on.\n"

_came: list[int] = []  # signals that came so far
_more: list[str] = []  # further lines for the end


@contextlib.contextmanager
def interrupts() -> Iterator[None]:
    """Interrupt what runs in here at the first signal, and end the process at the second.

    The first raises KeyboardInterrupt where Python is then. Libraries turn it into other errors, which are not shown.
    """
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, _interrupt)
    try:
        yield
    except BaseException as error:
        if _came or (isinstance(error, SystemExit) and error.code == EXIT_INTERRUPTED):
            _end()
        raise


def interrupted() -> bool:
    """Return whether a signal has come: whatever is raised now may be what a library made of the interrupt."""
    return bool(_came)


def explain_end(line: str) -> None:
    """Print a further line where the process ends by a signal."""
    _more.append(f"leeroo: {line}\n")


def _interrupt(number: int, frame: FrameType | None) -> None:
    _came.append(number)
    # Python swallows what is raised in some places of an import. Answers are stored as they come, so that tidying up
    # would save nothing.
    if len(_came) > 1 or _importing(frame):
        _end()
    raise KeyboardInterrupt


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _end() -> NoReturn:
    """End the process here: the interpreter's own way would be interrupted by another signal, with a traceback."""
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_IGN)
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
    os.write(2, "".join([_LINE, *_more]).encode())
    os._exit(EXIT_INTERRUPTED)
