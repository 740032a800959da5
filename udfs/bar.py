"""A progress bar on standard error, for terminals and notebooks; elsewhere only lines are shown."""

from __future__ import annotations

import importlib.util
import time
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn
from rich.progress import Progress as Columns

from leeroo.engine.answer import Progress
from leeroo.engine.money import usd

_STAGES = {
    "read": "reading",
    "predict": "predicting",
    "choose": "choosing",
    "generate": "answering",
    "write": "writing",
}


# Characters of a line beside the bar and the figures: the stage, the percentage, and blanks between them.
_BESIDE_FACTS = 17
# Seconds between two lines about how far a run is.
_LINE_EVERY_S = 60.0


class Lines(Protocol):
    """Where lines go."""

    def say(self, line: str) -> None:
        """Print a line for people."""

    def warn(self, line: str) -> None:
        """Print a warning."""

    def show(self, progress: Progress, line: str) -> None:
        """Say how far a run is, once a minute."""


class _OnConsole:
    """Warnings and lines on standard error; how far a run is, the bar alone shows."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def warn(self, line: str) -> None:
        self.say(f"warning: {line}")

    def show(self, progress: Progress, line: str) -> None:
        """Show nothing."""


class Bar:
    """The progress of runs, shown one after the other, as long as each lasts.

    Args:
        shown: Draw the bar on terminals and in notebooks.
        lines: Receives what is said beside the bar; by default it is printed.
    """

    def __init__(self, *, shown: bool = True, lines: Lines | None = None) -> None:
        self.last = Progress()
        self.down: dict[str, str] = {}  # experts that were never reached in one of the runs, and why
        self._console = Console(stderr=True)
        self._lines = lines or _OnConsole(self._console)
        self._line_at = time.monotonic()
        self._shown = shown and _can_draw(self._console)
        self._columns: Columns | None = None
        self._task = TaskID(0)

    def show(self, progress: Progress) -> None:
        """Show a snapshot of an engine."""
        for warning in progress.warnings:
            if warning not in self.last.warnings:
                self._lines.warn(warning)
        self.last = progress
        self.down |= progress.experts_down
        if progress.stage not in _STAGES:
            self.close()
            return
        if time.monotonic() - self._line_at >= _LINE_EVERY_S:
            self._line_at = time.monotonic()
            self._lines.show(progress, f"{_STAGES[progress.stage]}: {_facts(progress)}")
        if self._shown:
            if self._columns is None:
                self._columns = _columns(self._console)
                self._task = self._columns.add_task("starting", total=None, facts="")
                self._columns.start()
            self._columns.update(
                self._task,
                description=_STAGES[progress.stage],
                total=progress.rows or None,
                completed=progress.rows_done,
                facts=_facts(progress, self._console.width - _BESIDE_FACTS - _bar_width(self._console)),
            )

    def say(self, line: str) -> None:
        """Print a line, above the bar if there is one."""
        self._lines.say(line)

    def close(self) -> None:
        """Remove the bar."""
        if self._columns is not None:
            self._columns.stop()
            self._columns = None


def _can_draw(console: Console) -> bool:
    """Say whether a bar can be drawn: on a terminal, and in a notebook that has the package which draws there."""
    if console.is_jupyter:
        return importlib.util.find_spec("ipywidgets") is not None
    return console.is_terminal


def _columns(console: Console) -> Columns:
    bar = [BarColumn(bar_width=width - 1)] if (width := _bar_width(console)) else []
    return Columns(
        TextColumn("{task.description:<10}"),
        *bar,
        TaskProgressColumn(),
        TextColumn("{task.fields[facts]}"),
        console=console,
        transient=True,
    )


def _bar_width(console: Console) -> int:
    """Return the width of the bar and the blank after it: on a narrow terminal the figures need the room."""
    return 21 if console.width >= 100 else 0


def _facts(progress: Progress, room: int | None = None) -> str:
    """Return rows, speed, spend and time left; without room for all, the first to go is the speed."""
    left = [] if progress.seconds_left is None else [f"{_seconds(progress.seconds_left)} left"]
    rows, speed = f"{progress.rows_done:,}/{progress.rows:,} rows", f"{progress.tokens_per_s:,.0f} tokens/s"
    spent = usd(progress.cost_usd)
    forms = [", ".join(each) for each in ([rows, speed, spent, *left], [rows, spent, *left], [rows, *left], [rows])]
    return forms[0] if room is None else next((form for form in forms if len(form) <= room), forms[-1])


def _seconds(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
