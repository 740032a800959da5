"""The commands that answer a table, or only choose its experts: run, route."""

from __future__ import annotations

import typer

from leeroo.cli.options import (
    EXIT_ROWS_FAILED,
    Column,
    ExpertOptions,
    Input,
    InputOptions,
    MoneyOptions,
    OnError,
    OnExpertDown,
    Out,
    OutputOptions,
    PoolOptions,
    Private,
    ProgressBar,
    StoreFolder,
    Where,
    criteria,
    grouped,
)


def add_to(app: typer.Typer) -> None:
    """Add the commands to an app."""
    app.command(epilog="Example:  leeroo run tickets.csv --column text --out answers.parquet --max-cost-usd 2.50")(run)
    app.command(epilog="Example:  leeroo route questions.parquet --out routes.parquet --max-cost-usd 1")(route)


@grouped
def run(
    *,
    source: Input,
    out: Out,
    column: Column = "question",
    pool: PoolOptions,
    money: MoneyOptions,
    experts: ExpertOptions,
    store: StoreFolder = None,
    on_error: OnError = "null",
    reading: InputOptions,
    writing: OutputOptions,
    engine: Where = "local",
    progress: ProgressBar = True,
) -> None:
    """Answer every row of a table; writes the table with answers and costs.

    Killed or interrupted, the same command goes on where it stopped and pays for nothing twice.
    """
    from leeroo.cli.console import all_well, keeping, opened, summary
    from leeroo.engine.tables import check_output, write_table

    wanted = criteria(money, experts, writing, column=column, on_error=on_error)
    check_output(out, keeping(store, source, overwrite=writing.overwrite))
    reader = reading.open(source)
    with opened(pool, store, progress, engine) as (answering, bar):
        with answering.answer(reader, wanted) as rows:
            write_table(rows, out)
        bar.close()
        summary(bar.last, out, money.max_cost_usd)
        if not all_well(bar, bar.last.failed):
            raise typer.Exit(EXIT_ROWS_FAILED)


@grouped
def route(
    *,
    source: Input,
    out: Out,
    column: Column = "question",
    pool: PoolOptions,
    money: MoneyOptions,
    private_column: Private = None,
    on_expert_down: OnExpertDown = "next",
    store: StoreFolder = None,
    reading: InputOptions,
    writing: OutputOptions,
    progress: ProgressBar = True,
) -> None:
    """Choose an expert for every row and generate nothing; costs nothing."""
    from leeroo.cli.console import all_well, keeping, opened
    from leeroo.engine.tables import check_output, write_table

    wanted = criteria(money, writing, column=column, private_column=private_column, on_expert_down=on_expert_down)
    check_output(out, keeping(store, source, overwrite=writing.overwrite))
    reader = reading.open(source)
    with opened(pool, store, progress) as (engine, bar):
        rows = write_table(engine.route(reader, wanted), out)
        bar.close()
        bar.say(f"{rows:,} rows routed: {out}")
        if not all_well(bar, 0):
            raise typer.Exit(EXIT_ROWS_FAILED)
