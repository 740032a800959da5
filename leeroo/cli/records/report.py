"""The command that makes a page of any run: report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leeroo.cli.commands import grouped
from leeroo.cli.log import current
from leeroo.cli.options import ROWS, AsJson, Input, InputOptions, StoreFolder


@grouped
def report(
    *,
    source: Input,
    out: Annotated[
        Path | None,
        typer.Option(metavar="F.html", help="Page to write.", show_default="beside the input; none with --json"),
    ] = None,
    gold: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column with right answers, to compare answers with.")
    ] = None,
    score: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column with scores from 0 to 1; takes precedence over --gold.")
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(help="Column with the questions.", show_default="question, text or prompt", rich_help_panel=ROWS),
    ] = None,
    store: StoreFolder = None,
    reading: InputOptions,
    as_json: AsJson = False,
) -> None:
    """Make one page of a run: spend, quality, failures, and answers to browse.

    INPUT is what leeroo run, label, solve or mmlu wrote. Without --gold and --score, recorded scores count, or the
    feedback in the answer store.
    """
    from leeroo.cli.console import check_drawn, show
    from leeroo.engine.jobs.answered.figures import measure
    from leeroo.engine.jobs.answered.rows import open_rows
    from leeroo.engine.tables.outputs import write_file
    from leeroo.reports.answered.report import answers_report
    from leeroo.reports.page import check_own_page, page

    if out is None and not as_json:
        out = _beside(source)
        check_own_page(out, "--out")
    check_drawn(store, page=out)
    with open_rows(reading.open(source), column=column, gold=gold, score=score, store=store) as rows:
        found = answers_report(measure(rows), f"Answers in {source}")
    if out is not None:
        write_file(page(found), out)
    show(found, as_json=as_json)
    if out is not None:
        current().say(f"written: {out}")


def _beside(source: str) -> Path:
    """Return where the page goes by default: beside a file or folder, and otherwise here."""
    there = Path(source)
    return there.with_suffix(".html") if there.exists() else Path("report.html")
