"""The command for labels that people have checked: check."""

from __future__ import annotations

from typing import Annotated

import typer

from leeroo.cli.commands import grouped
from leeroo.cli.options import ROWS, AsJson, FormatOptions, Input, StoreFolder
from leeroo.cli.records.store import opened


@grouped
def check(
    *,
    source: Input,
    column: Annotated[str, typer.Option(help="Column with the text.", rich_help_panel=ROWS)] = "text",
    store: StoreFolder = None,
    reading: FormatOptions,
    as_json: AsJson = False,
) -> None:
    """Show how many labels are right, from a sample that people have checked, and keep it as feedback.

    INPUT is the file that leeroo label --check wrote, with the column correct_label filled in. Rows without a
    correct_label do not count.
    """
    from leeroo.cli.console import show
    from leeroo.engine.jobs.checked import keep_checked, read_checked
    from leeroo.engine.tables import open_input
    from leeroo.reports.labels import check_report

    found = read_checked(open_input(source, layout=reading.layout()).read_all(), column)
    with opened(store, make=True) as there:
        kept = keep_checked(there, found)
    show(check_report(found, kept, str(there.folder)), as_json=as_json)
