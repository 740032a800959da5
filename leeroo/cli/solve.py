"""The command that solves complex questions step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

from leeroo.cli.options import (
    MONEY,
    AsJson,
    Column,
    ExpertOptions,
    Input,
    InputOptions,
    MoneyOptions,
    Out,
    OutputOptions,
    PoolOptions,
    ProgressBar,
    StoreFolder,
    Where,
    criteria,
    grouped,
)

_STEPS = "Steps"


def add_to(app: typer.Typer) -> None:
    """Add the command to an app."""
    app.command(epilog="Example:  leeroo solve questions.parquet --out solved.parquet --max-cost-usd 2.50")(solve)


@dataclass(frozen=True)
class StepOptions:
    """How far a row may be split."""

    max_steps: Annotated[
        int, typer.Option("--max-steps", min=1, help="Steps of a row at most.", rich_help_panel=_STEPS)
    ] = 8
    max_depth: Annotated[
        int,
        typer.Option("--max-depth", min=1, help="Steps at most that need one another.", rich_help_panel=_STEPS),
    ] = 4
    planner: Annotated[
        str | None,
        typer.Option("--planner", metavar="EXPERT", help="Ask this expert for the plans.", rich_help_panel=_STEPS),
    ] = None


@grouped
def solve(
    *,
    source: Input,
    out: Out,
    column: Column = "question",
    steps: StepOptions,
    pool: PoolOptions,
    money: MoneyOptions,
    max_cost_usd_per_row: Annotated[
        float | None,
        typer.Option(
            "--max-cost-usd-per-row",
            help="What a row may be expected to cost, plan and all steps together.",
            rich_help_panel=MONEY,
        ),
    ] = None,
    experts: ExpertOptions,
    store: StoreFolder = None,
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
    from leeroo.cli.console import aside, check_alone, finish, keeping, opened, print_failures, show
    from leeroo.engine.jobs.solve.solve import SolveLimits, solve_rows
    from leeroo.engine.tables import check_output, write_table
    from leeroo.reports.solve import solve_report

    check_output(out, keeping(store, source, overwrite=writing.overwrite))
    check_alone(out, as_json=as_json)
    wanted = criteria(money, experts, writing, column=column)
    limits = SolveLimits(
        steps=steps.max_steps, depth=steps.max_depth, cost_usd=max_cost_usd_per_row, planner=steps.planner
    )
    reader = reading.open(source)
    with opened(pool, store, progress, engine) as (answering, bar):
        with answering.delivery():
            solved = solve_rows(answering, reader, wanted, limits)
            write_table(solved.rows.to_reader(), out)
        bar.close()
    report = solve_report(solved, writing.prefix, money.max_cost_usd)
    with aside(out):
        show(report, as_json=as_json)
    if not as_json:
        print_failures(solved.rows.column(writing.prefix + "error").to_pylist())
    finish(bar, report.data["failed"], out)
