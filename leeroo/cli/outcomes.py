"""The command that looks at files of recorded outcomes: check."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from leeroo.cli.options import AsJson, Map

outcomes_app = typer.Typer(no_args_is_help=True, help="Look at recorded outcomes before a router learns from them.")


@outcomes_app.command("check", epilog="Example:  leeroo outcomes check results.csv --map correct=score")
def check(
    source: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="CSV, Parquet or JSON lines, a pattern in quotes, or a folder of results.",
        ),
    ],
    mapped: Map = None,
    as_json: AsJson = False,
) -> None:
    """Tell what would be read of a file of outcomes, what is missing, and what follows from that.

    Reads a row for each question and model, a column for each model, what leeroo run wrote with scores, RouterBench's
    form, lm-eval's sample logs, ZeroEval's and HELM's results, and pairwise preferences.
    """
    from leeroo.cli.console import show
    from leeroo.cli.data import read_file
    from leeroo.engine.errors import UsageError
    from leeroo.engine.orchestrator.outcomes.columns import read_map
    from leeroo.engine.orchestrator.outcomes.files import check_map, is_data_folder
    from leeroo.reports.outcomes import outcomes_report

    names = read_map(mapped or ())
    if Path(source).is_dir() and is_data_folder(source):
        raise UsageError(f"{source} is a data folder or empty: name a file of outcomes, or a folder of results")
    with tempfile.TemporaryDirectory(prefix="leeroo-") as place:
        found = read_file(source, Path(place) / "data", names)
        check_map(names, [found])
        show(outcomes_report(found), as_json=as_json)
