"""What people see of an evaluation on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from leeroo.engine.jobs.findings import Table as Found
from leeroo.engine.jobs.findings import headline, tables
from leeroo.engine.orchestrator.evaluate import Evaluation


def print_evaluation(evaluation: Evaluation) -> None:
    """Print what an evaluation found: the tables of the report, and the notes."""
    console = Console()

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    say(f"{evaluation.n:,} questions, {len(evaluation.experts)} experts")
    say(headline(evaluation))
    for found in tables(evaluation):
        say("")
        say(found.title)
        console.print(_table(found))
    say("")
    for note in evaluation.notes:
        say(f"note: {note}")


def _table(found: Found) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for i, name in enumerate(found.columns):
        table.add_column(Text(name), justify="right" if i and found.numbers else "left", overflow="fold")
    for row in found.rows:
        table.add_row(*map(Text, row))  # as they are: a name may look like markup
    return table
