"""The lines that a command prints while it works: on standard error, and in a file where one is named.

There is one log for each command. Whoever has something to say takes it from `current`.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from leeroo.engine.errors import OutputError

if TYPE_CHECKING:
    from leeroo.engine.answer import Progress
    from leeroo.reports.report import Table

Kind = Literal["info", "warning", "error"]


@dataclass(frozen=True)
class Log:
    """Where lines go, and in which form.

    Attributes:
        progress: Lines about how far a run is go to standard error, where that is no terminal.
        quiet: Standard error has warnings and errors only.
        file: All lines go to the end of this file, too, with their times.
        form: 'json' makes each line an object.
    """

    progress: bool = True
    quiet: bool = False
    file: Path | None = None
    form: Literal["text", "json"] = "text"

    @property
    def bar(self) -> bool:
        """Whether a bar may be drawn among the lines."""
        return self.progress and not self.quiet and self.form == "text"

    def say(self, line: str, **facts: Any) -> None:
        """Print a line for people; `facts` are for programs, and only in the form of JSON."""
        self._write("info", line, line, facts)

    def warn(self, line: str) -> None:
        """Print a warning."""
        self._write("warning", line, f"warning: {line}", {})

    def fail(self, line: str) -> None:
        """Print the error that ends the command, as it is."""
        self._write("error", line, f"leeroo: {line}", {})

    def table(self, table: Table) -> None:
        """Print a table."""
        from leeroo.reports.terminal import print_table, table_lines

        if self.form == "json":
            names = [column.name for column in table.columns]
            self.say(table.title, rows=[dict(zip(names, row, strict=True)) for row in table.rows])
            return
        if not self.quiet:
            print_table(table, stderr=True)
        self._append("\n".join(table_lines(table)))

    def show(self, progress: Progress, line: str) -> None:
        """Print how far a run is, where no bar shows it."""
        facts = {
            "stage": progress.stage,
            "rows": progress.rows,
            "rows_done": progress.rows_done,
            "tokens_per_s": progress.tokens_per_s,
            "cost_usd": progress.cost_usd,
            "seconds_left": progress.seconds_left,
        }
        printed = self.progress and not self.quiet and not (self.bar and sys.stderr.isatty())
        self._write("info", line, line, facts, printed=printed)

    def note(self, line: str) -> None:
        """Write a line into the file alone."""
        self._write("info", line, line, {}, printed=False)

    def _write(self, kind: Kind, message: str, text: str, facts: dict[str, Any], *, printed: bool = True) -> None:
        whole = {"time": _now(), "kind": kind, "message": message, **facts}
        as_json = json.dumps(whole, ensure_ascii=False, default=str)
        if printed and (kind != "info" or not self.quiet):
            _print(as_json if self.form == "json" else text, wrapped=kind != "error" and self.form == "text")
        self._append(as_json if self.form == "json" else text)

    def _append(self, text: str) -> None:
        """Add lines to the file, those of text with the time before them."""
        if self.file is None:
            return
        before = "" if self.form == "json" else f"{_now()} "
        with self.file.open("a", encoding="utf-8") as file:
            file.writelines(f"{before}{line}\n" for line in text.splitlines())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _print(line: str, *, wrapped: bool) -> None:
    if wrapped:
        from leeroo.reports.terminal import say

        say(line, stderr=True)
    else:
        print(line, file=sys.stderr)


class _Current:
    """The log of the command that this process runs."""

    log = Log()


def current() -> Log:
    """Return the log of this command."""
    return _Current.log


def configure(log: Log) -> None:
    """Have this log from now on.

    Raises:
        OutputError: its file cannot be written.
    """
    if log.file is not None:
        try:
            log.file.open("a").close()
        except OSError as error:
            raise OutputError(f"the log cannot be written to {log.file}: {error.strerror}") from error
    _Current.log = log
