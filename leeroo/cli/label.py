"""The command that labels a table: label."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leeroo.cli.options import (
    MONEY,
    ROWS,
    AsJson,
    ExpertOptions,
    Input,
    InputOptions,
    MoneyOptions,
    Out,
    OutputOptions,
    Page,
    PoolOptions,
    ProgressBar,
    StoreFolder,
    criteria,
    grouped,
)
from leeroo.engine.errors import UsageError

if TYPE_CHECKING:
    from leeroo.engine.tables.outputs import Keep


def add_to(app: typer.Typer) -> None:
    """Add the command to an app."""
    app.command(
        epilog="Example:  leeroo label tickets.csv --column text --labels billing,bug,other --out labelled.csv"
    )(label)


@dataclass(frozen=True)
class LabelOptions:
    """How rows are labelled."""

    several: Annotated[
        bool, typer.Option("--several", help="Any number of labels may apply to a row; a list comes out.")
    ] = False
    enough: Annotated[
        float | None,
        typer.Option(
            "--enough",
            min=0.0,
            max=1.0,
            help="A label less sure than this goes on to the next more expensive expert; 0 asks one expert only.",
            rich_help_panel=MONEY,
        ),
    ] = 0.8
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate/--no-calibrate", help="Correct a model that leans to a label whatever it reads."),
    ] = True
    chat: Annotated[
        bool, typer.Option("--chat/--raw", help="Show the prompt as a turn in a chat, or as text to go on with.")
    ] = True


@dataclass(frozen=True)
class CheckOptions:
    """How labels are checked."""

    gold: Annotated[
        str | None, typer.Option("--gold", metavar="COLUMN", help="Compare with the labels in this column.")
    ] = None
    check: Annotated[
        int, typer.Option("--check", metavar="N", min=0, help="Write N rows for people to check next to the output.")
    ] = 0
    report: Page = None


@grouped
def label(
    *,
    source: Input,
    labels: Annotated[
        str,
        typer.Option(
            "--labels",
            metavar="A,B,C|F.toml",
            help="Names with commas between, or a file with labels, descriptions and examples.",
        ),
    ],
    out: Out,
    column: Annotated[str, typer.Option("--column", help="The column with the text.", rich_help_panel=ROWS)] = "text",
    pool: PoolOptions,
    money: MoneyOptions,
    experts: ExpertOptions,
    how: LabelOptions,
    checking: CheckOptions,
    as_json: AsJson = False,
    store: StoreFolder = None,
    reading: InputOptions,
    writing: OutputOptions,
    progress: ProgressBar = True,
) -> None:
    """Give every row of a table one of some labels, with how sure that is.

    The cheapest expert labels everything; what it is not sure of goes on to more expensive ones, within the budget.
    """
    from leeroo.cli.console import aside, check_alone, finish, keeping, opened, print_failures, show
    from leeroo.engine.jobs.agreement import measure_agreement
    from leeroo.engine.jobs.label import label_rows, read_labels, to_check
    from leeroo.engine.tables import check_output, write_table
    from leeroo.engine.tables.outputs import write_file
    from leeroo.reports.labels import label_report
    from leeroo.reports.page import page

    wanted = read_labels(labels, several=how.several)
    keep = keeping(store, source, overwrite=writing.overwrite)
    check_output(out, keep)
    check_alone(out, as_json=as_json)
    checked = _check(checking, how, out, keep)
    rules = criteria(money, experts, writing, column=column)
    rows = reading.open(source)
    gold, prefix = checking.gold, writing.prefix
    if gold is not None and gold not in rows.schema.names:
        raise UsageError(f"the input has no column {gold!r}; its columns are: {', '.join(rows.schema.names)}")
    with opened(pool, store, progress) as (engine, bar):
        with engine.delivery():
            labelled = label_rows(
                engine, rows, wanted, rules, calibrate=how.calibrate, enough=how.enough or None, chat=how.chat
            )
            found = None if gold is None else measure_agreement(labelled, gold, wanted.names, prefix)
            write_table(labelled.to_reader(), out)
            if checked is not None:
                write_table(to_check(labelled, checking.check, prefix).to_reader(), checked)
            about = [f"{len(labelled):,} rows of {source}, labelled with {', '.join(wanted.names)}."]
            report = label_report(labelled, found, f"Labels of {source}", about, prefix)
            if checking.report is not None:
                write_file(page(report), checking.report)
        bar.close()
    errors = labelled.column(prefix + "error").to_pylist()
    with aside(out):
        show(report, as_json=as_json)
    if not as_json:
        print_failures(errors)
        if gold is not None and found is None:
            typer.echo(f"the column {gold!r} holds no gold label: nothing was compared", err=True)
    finish(bar, len(errors) - errors.count(None), out, checked, checking.report)


def _check(checking: CheckOptions, how: LabelOptions, out: Path, keep: Keep) -> Path | None:
    """Check that the page and the rows for people to check can be written; return the file of these rows."""
    from leeroo.cli.console import check_drawn
    from leeroo.engine.tables import check_output
    from leeroo.engine.tables.outputs import is_stream

    check_drawn(keep.store, page=checking.report)
    checked = out.with_name(f"{out.stem}-check.csv") if checking.check else None
    if checked is not None:
        if is_stream(out):
            raise UsageError("--check writes a file beside the output: name a file with --out")
        check_output(checked, keep)
    if how.several and checking.gold is not None:
        raise UsageError("--gold is for one label a row: leave out --several")
    return checked
