"""A report on a terminal: its summary, tables and notes."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from leeroo.reports.report import Report, Table, cells

# A column of words of at most this many characters is not broken, and neither is the first column.
_SHORT = 14


def print_report(report: Report) -> None:
    """Print what was found: the sentences, the tables, and the notes."""
    for line in report.summary:
        say(line)
    for table in report.tables:
        say("")
        print_table(table)
    if report.notes:
        say("")
    for note in report.notes:
        say(f"note: {note}")


def print_table(table: Table, *, stderr: bool = False) -> None:
    """Print a table with its title, and its remarks below it."""
    if table.title:
        say(table.title, stderr=stderr)
    if table.rows or not table.empty:
        Console(stderr=stderr).print(_rich_table(table))
    else:
        say(f"  {table.empty}", stderr=stderr)
    for remark in table.remarks:
        say(remark, stderr=stderr)


def say(line: str, *, stderr: bool = False) -> None:
    """Print a line as it is, however long."""
    Console(stderr=stderr).print(line, markup=False, highlight=False, soft_wrap=True)


def _rich_table(table: Table) -> RichTable:
    """Return a table for rich: words to the left, numbers to the right."""
    drawn = RichTable(box=None, header_style="bold", pad_edge=False)
    rows = cells(table)
    for i, column in enumerate(table.columns):
        words = column.kind == "text"
        longest = max(len(column.name), *(len(row[i]) for row in rows)) if rows else 0
        whole = not i or (words and longest <= _SHORT)
        drawn.add_column(Text(column.name), justify="left" if words else "right", overflow="fold", no_wrap=whole)
    for row in rows:
        drawn.add_row(*map(Text, row))  # as they are: a name may look like markup
    return drawn
