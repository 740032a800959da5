"""The command line, run within the process of the tests: a process of its own takes seconds to import what it needs.

Tests of processes start them: of signals, pipes, encodings, limits, and of what is imported when.
"""

from __future__ import annotations

import contextlib
import io
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO
from unittest import mock

from leeroo.cli.main import main


def leeroo(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, as the program `leeroo` does; an error that it does not catch is the test's."""
    command = ["leeroo", *map(str, arguments)]
    out, error = _Stream(), _Stream()
    with (
        contextlib.chdir(cwd or Path.cwd()),
        mock.patch.object(sys, "argv", command),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(error),
        _warnings(),
        _signals(),
    ):
        code = _exit_code()
    return subprocess.CompletedProcess(command, code, out.text(), error.text())


class _Stream(io.TextIOWrapper):
    """A stream that is no terminal, kept in memory."""

    def __init__(self) -> None:
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)

    def text(self) -> str:
        """Return what was written."""
        return self.buffer.getvalue().decode()  # type: ignore[attr-defined,no-any-return]


@contextlib.contextmanager
def _warnings() -> Iterator[None]:
    """Print warnings as a program does, instead of keeping them for the summary of the tests."""
    with warnings.catch_warnings():
        warnings.resetwarnings()
        for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
            warnings.simplefilter("ignore", category)
        warnings.showwarning = _print_warning
        yield


def _print_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(warnings.formatwarning(message, category, filename, lineno, line), file=sys.stderr)


@contextlib.contextmanager
def _signals() -> Iterator[None]:
    """Leave the handlers of signals as they were."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit_code() -> int:
    """Run the command line that `sys.argv` holds, and return what it ends with."""
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
