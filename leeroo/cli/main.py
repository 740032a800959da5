"""The `leeroo` command: an app of all command families, and the program that runs it."""

from __future__ import annotations

import io
import sys

import typer

from leeroo.cli import (
    analysis,
    experts,
    feedback,
    label,
    mmlu,
    router,
    run,
    selfplay,
    serve,
    solve,
    sql,
    store,
)
from leeroo.cli.options import EXIT_ROWS_FAILED, EXIT_USAGE, in_options
from leeroo.engine.errors import LeerooError, RowsFailed
from leeroo.interrupts import interrupts

app = typer.Typer(
    name="leeroo",
    help="Answer a table of questions, each with the model that answers it best for its cost.",
    epilog="Start here:  leeroo run questions.parquet --out answers.parquet",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
# In the order of the help.
for family in (run, sql, experts, mmlu, label, feedback, solve, router, analysis, selfplay, serve, store):
    family.add_to(app)


def main() -> None:
    """Run the command line; errors of ours are one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # not every terminal can show every character
    with interrupts():
        try:
            app()
        except LeerooError as error:
            print(f"leeroo: {in_options(str(error))}", file=sys.stderr)
            sys.exit(EXIT_ROWS_FAILED if isinstance(error, RowsFailed) else EXIT_USAGE)
