"""What people see of an evaluation on a terminal."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from leeroo.engine.orchestrator.analysis.evaluate import Evaluation
from leeroo.reports.findings import Table as Found
from leeroo.reports.findings import headline, tables


def print_evaluation(evaluation: Evaluation) -> None:
    """Print what an evaluation found: the tables of the report, and the notes."""
    say(f"{evaluation.n:,} questions, {len(evaluation.experts)} experts")
    say(headline(evaluation))
    print_tables(tables(evaluation))
    say("")
    for note in evaluation.notes:
        say(f"note: {note}")


def print_tables(tables: Iterable[Found]) -> None:
    """Print tables with their titles."""
    for found in tables:
        say("")
        say(found.title)
        Console().print(_table(found))


def say(line: str) -> None:
    """Print a line as it is, however long."""
    Console().print(line, markup=False, highlight=False, soft_wrap=True)


def _table(found: Found) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for i, name in enumerate(found.columns):
        table.add_column(Text(name), justify="right" if i and found.numbers else "left", overflow="fold", no_wrap=not i)
    for row in found.rows:
        table.add_row(*map(Text, row))  # as they are: a name may look like markup
    return table
