"""The short guide that `leeroo` prints alone, and the options of the whole command line."""

from __future__ import annotations

from typing import Annotated

import typer

from leeroo import __version__

# No line is wider than 80 characters.
_GUIDE = """\
Leeroo answers a table of questions, each with the model that answers it best
for its cost. One budget holds for the whole table; no answer is paid for twice.

Start with:
  leeroo demo                                      see it at work, in a minute
  leeroo init                                      write a file of your models
  leeroo explain questions.csv                     what a run would cost
  leeroo run questions.csv --out answers.parquet   answer a table

More:
  leeroo doctor                                    what can run on this machine
  leeroo --help                                    all commands
  leeroo run --help                                one command with an example"""


def guide(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Answer a table of questions, each with the model that answers it best for its cost."""
    if version:
        print(f"leeroo {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(_GUIDE)
