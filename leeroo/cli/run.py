"""The commands that answer a table, or only choose its experts: run, route."""

from __future__ import annotations

from leeroo.cli.options import (
    Column,
    EngineOptions,
    ExpertOptions,
    Input,
    InputOptions,
    OnError,
    OnExpertDown,
    Out,
    OutputOptions,
    Private,
    ProgressBar,
    Where,
    criteria,
    grouped,
)


@grouped
def run(
    *,
    source: Input,
    out: Out,
    column: Column = "question",
    setup: EngineOptions,
    experts: ExpertOptions,
    on_error: OnError = "null",
    reading: InputOptions,
    writing: OutputOptions,
    engine: Where = "local",
    progress: ProgressBar = True,
) -> None:
    """Answer every row of a table; writes the table with answers and costs.

    Killed or interrupted, the same command goes on where it stopped and pays for nothing twice.
    """
    from leeroo.cli.console import check_out, finish, open_with_progress, summary
    from leeroo.engine.tables import write_table

    wanted = criteria(setup, experts, writing, column=column, on_error=on_error)
    check_out(out, setup.store, source, overwrite=writing.overwrite)
    reader = reading.open(source)
    with open_with_progress(setup, progress, engine) as (answering, bar), answering.answer(reader, wanted) as rows:
        write_table(rows, out)
    summary(bar.last, out, setup.max_cost_usd)
    finish(bar, bar.last.failed)


@grouped
def route(
    *,
    source: Input,
    out: Out,
    column: Column = "question",
    setup: EngineOptions,
    private_column: Private = None,
    on_expert_down: OnExpertDown = "next",
    reading: InputOptions,
    writing: OutputOptions,
    progress: ProgressBar = True,
) -> None:
    """Choose an expert for every row and generate nothing; costs nothing."""
    from leeroo.cli.console import check_out, finish, open_with_progress
    from leeroo.engine.tables import write_table

    wanted = criteria(setup, writing, column=column, private_column=private_column, on_expert_down=on_expert_down)
    check_out(out, setup.store, source, overwrite=writing.overwrite)
    reader = reading.open(source)
    with open_with_progress(setup, progress) as (engine, bar):
        rows = write_table(engine.route(reader, wanted), out)
    bar.say(f"{rows:,} rows routed: {out}")
    finish(bar, 0)
