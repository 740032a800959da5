"""The command that labels a table: label."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leeroo.cli.commands import criteria, logged
from leeroo.cli.options import (
    MONEY,
    ROWS,
    AsJson,
    EngineOptions,
    ExpertOptions,
    Input,
    InputOptions,
    Out,
    OutputOptions,
    Page,
)
from leeroo.engine.errors import OutputError, UsageError

if TYPE_CHECKING:
    from leeroo.engine.tables.outputs import Keep


@logged
def label(
    *,
    source: Input,
    labels: Annotated[
        str,
        typer.Option(
            metavar="A,B,C|F.toml", help="Names with commas between, or a file with labels, descriptions and examples."
        ),
    ],
    out: Out,
    column: Annotated[str, typer.Option(help="Column with the text.", rich_help_panel=ROWS)] = "text",
    setup: EngineOptions,
    experts: ExpertOptions,
    several: Annotated[
        bool, typer.Option("--several", help="Several labels may apply to a row; the answer is a list.")
    ] = False,
    enough: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Rows below this confidence go to the next more expensive expert; 0 uses one expert only.",
            rich_help_panel=MONEY,
        ),
    ] = 0.8,
    calibrate: Annotated[bool, typer.Option(help="Correct models that prefer a label whatever the text.")] = True,
    chat: Annotated[
        bool, typer.Option("--chat/--raw", help="Send the prompt as a turn in a chat, or as text to continue.")
    ] = True,
    proxy: Annotated[
        bool | None,
        typer.Option(
            "--proxy/--no-proxy",
            help="Let a classifier learn from the experts and label the rows that it is sure of.",
            show_default="where it pays",
            rich_help_panel=MONEY,
        ),
    ] = None,
    gold: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN",
            help="Column with labels by people, to compare with and learn from; it may be partly empty.",
        ),
    ] = None,
    check: Annotated[
        int, typer.Option(metavar="N", min=0, help="Write N rows to a file beside the output for people to check.")
    ] = 0,
    report: Page = None,
    as_json: AsJson = False,
    reading: InputOptions,
    writing: OutputOptions,
) -> None:
    """Label every row of a table, with a confidence.

    The cheapest expert labels every row. Rows below --enough go to more expensive experts, within the budget. In a
    large table a classifier learns from these labels, and labels the rows that it is sure of at no cost.
    """
    from leeroo.cli.console import check_drawn, check_out, conclude, open_with_progress
    from leeroo.engine.jobs.agreement import measure_agreement
    from leeroo.engine.jobs.label import label_table, read_labels, to_check
    from leeroo.engine.tables import write_table
    from leeroo.engine.tables.outputs import write_file
    from leeroo.reports.labels import label_report
    from leeroo.reports.page import page

    wanted = read_labels(labels, several=several)
    keep = check_out(out, setup.store, source, overwrite=writing.overwrite, as_json=as_json)
    check_drawn(keep.store, page=report)
    checked = _file_to_check(out, keep) if check else None
    if several and gold is not None:
        raise UsageError("--gold is for one label a row: leave out --several")
    rules = criteria(setup, experts, writing, column=column, proxy=proxy)
    rows = reading.open(source)
    prefix = writing.prefix
    if gold is not None and gold not in rows.schema.names:
        raise UsageError(f"the input has no column {gold!r}; its columns are: {', '.join(rows.schema.names)}")
    with open_with_progress(setup) as (engine, bar), engine.delivery():
        done = label_table(
            engine, rows, wanted, rules, calibrate=calibrate, enough=enough or None, chat=chat, gold=gold
        )
        labelled = done.rows
        agreement = None if gold is None else measure_agreement(labelled, gold, wanted.names, prefix)
        write_table(labelled.to_reader(), out)
        if checked is not None:
            write_table(to_check(labelled, check, prefix).to_reader(), checked)
        about = [f"{len(labelled):,} rows of {source}, labelled with {', '.join(wanted.names)}."]
        found = label_report(labelled, agreement, f"Labels of {source}", about, prefix, done.proxy)
        if report is not None:
            write_file(page(found), report)
    remark = None if checked is None else f"fill in correct_label in {checked}, then: leeroo check {checked}"
    if gold is not None and agreement is None:
        remark = f"the column {gold!r} holds no gold label: nothing was compared"
    errors = labelled.column(prefix + "error").to_pylist()
    conclude(bar, found, errors, out, checked, report, as_json=as_json, remark=remark)


def _file_to_check(out: Path, keep: Keep) -> Path:
    """Return the file of the rows for people to check, which can be written; people's work in it is not replaced."""
    from leeroo.engine.tables import check_output
    from leeroo.engine.tables.outputs import is_stream

    if is_stream(out):
        raise UsageError("--check writes a file beside the output: name a file with --out")
    checked = out.with_name(f"{out.stem}-check.csv")
    check_output(checked, keep)
    if checked.exists() and not keep.overwrite:
        raise OutputError(f"{checked} is there, and people may have worked in it: move it away, or say --overwrite")
    return checked
