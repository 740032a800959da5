"""The commands that answer a table, or only choose its experts: run, route, solve."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from leeroo.cli.learn import run_and_learn
from leeroo.cli.options import (
    LEARN,
    MONEY,
    ROWS,
    AsJson,
    Column,
    EngineOptions,
    ExpertOptions,
    Input,
    InputOptions,
    LearnOptions,
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
from leeroo.engine.errors import UsageError

_STEPS = "Steps"


@grouped
def run(
    *,
    source: Input,
    out: Out,
    column: Column = "question",
    setup: EngineOptions,
    experts: ExpertOptions,
    on_error: OnError = "null",
    keep_reasoning: Annotated[
        bool,
        typer.Option("--keep-reasoning", help="Add a column with the thoughts before answers.", rich_help_panel=ROWS),
    ] = False,
    learn: Annotated[
        bool,
        typer.Option(
            "--learn",
            help="Learn from first answers whom to ask the rest, in one budget.",
            rich_help_panel=LEARN,
        ),
    ] = False,
    learning: LearnOptions,
    save_router: Annotated[
        Path | None, typer.Option(help="Folder for the router that was learned.", rich_help_panel=LEARN)
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--report", metavar="F.html", help="Page about what was learned.", rich_help_panel=LEARN),
    ] = None,
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

    own = {"column": column, "on_error": on_error, "learn": learn, "keep_reasoning": keep_reasoning}
    wanted = criteria(setup, experts, writing, learning, **own)
    check_out(out, setup.store, source, overwrite=writing.overwrite)
    reader = reading.open(source)
    if learn:
        run_and_learn(reader, wanted, out, setup, learning, save_router, page, engine, progress=progress)
        return
    if learning != LearnOptions() or save_router or page:
        raise UsageError("--gold, --judge, --seed, --save-router and --report are for --learn: add it")
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


@grouped
def solve(
    *,
    source: Input,
    out: Out,
    column: Column = "question",
    max_steps: Annotated[int, typer.Option(min=1, help="Steps of a row at most.", rich_help_panel=_STEPS)] = 8,
    max_depth: Annotated[
        int, typer.Option(min=1, help="Steps at most that need one another.", rich_help_panel=_STEPS)
    ] = 4,
    planner: Annotated[
        str | None, typer.Option(metavar="EXPERT", help="Ask this expert for the plans.", rich_help_panel=_STEPS)
    ] = None,
    setup: EngineOptions,
    max_cost_usd_per_row: Annotated[
        float | None,
        typer.Option(help="Highest expected cost of a row, plan and all steps together.", rich_help_panel=MONEY),
    ] = None,
    experts: ExpertOptions,
    as_json: AsJson = False,
    reading: InputOptions,
    writing: OutputOptions,
    engine: Where = "local",
    progress: ProgressBar = True,
) -> None:
    """Answer complex questions step by step: each step by its best expert, the parts made into one answer.

    The steps of all rows are answered level by level. Simple questions go straight. Killed or interrupted, the same
    command goes on where it stopped and pays for nothing twice.
    """
    from leeroo.cli.console import check_out, conclude, open_with_progress
    from leeroo.engine.jobs.solve.solve import SolveLimits, solve_rows
    from leeroo.engine.tables import write_table
    from leeroo.reports.solve import solve_report

    check_out(out, setup.store, source, overwrite=writing.overwrite, as_json=as_json)
    wanted = criteria(setup, experts, writing, column=column)
    limits = SolveLimits(steps=max_steps, depth=max_depth, cost_usd=max_cost_usd_per_row, planner=planner)
    reader = reading.open(source)
    with open_with_progress(setup, progress, engine) as (answering, bar), answering.delivery():
        solved = solve_rows(answering, reader, wanted, limits)
        write_table(solved.rows.to_reader(), out)
    report = solve_report(solved, writing.prefix, setup.max_cost_usd)
    errors = solved.rows.column(writing.prefix + "error").to_pylist()
    conclude(bar, report, errors, out, as_json=as_json)
