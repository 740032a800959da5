"""A report in Python: a page in a notebook, tables as text, and data for programs."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from leeroo.engine.tables.outputs import check_file, write_file
from leeroo.reports.page import page
from leeroo.reports.report import Report
from leeroo.reports.terminal import report_lines

# Pixels of a page in a notebook; it scrolls within.
_HEIGHT = 640


class ShownReport:
    """A report: a notebook shows its page, and `print` its tables.

    Attributes:
        data: What `--json` prints on the command line, as a dictionary.
    """

    def __init__(self, report: Report) -> None:
        self._report = report
        self.data: Mapping[str, Any] = report.data

    def save(self, path: str | Path) -> None:
        """Write the page, one HTML file with nothing from elsewhere.

        Raises:
            OutputError: the file does not end in .html, or cannot be written there.
        """
        check_file(Path(path), ".html")
        write_file(page(self._report), path)

    def _repr_html_(self) -> str:
        """Return the page in a frame of its own, so that it and the notebook do not style each other."""
        return (
            f'<iframe srcdoc="{escape(page(self._report))}" sandbox="allow-scripts"'
            f' style="width: 100%; height: {_HEIGHT}px; border: 0; background: white"></iframe>'
        )

    def __repr__(self) -> str:
        return "\n".join(report_lines(self._report))


__all__ = ["ShownReport"]
