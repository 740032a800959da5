"""The command that solves complex questions step by step."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

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
from leeroo.engine.money import plain_usd, usd

if TYPE_CHECKING:
    from leeroo.engine.jobs.solve.solve import Solved
    from leeroo.reports.findings import Table

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
    from leeroo.cli.console import aside, check_alone, commonest, finish, keeping, opened, print_failures
    from leeroo.cli.console_evaluation import print_tables, say
    from leeroo.engine.jobs.solve.solve import Limits, solve_rows
    from leeroo.engine.tables import check_output, write_table

    check_output(out, keeping(store, source, overwrite=writing.overwrite))
    check_alone(out, as_json=as_json)
    wanted = criteria(money, experts, writing, column=column)
    limits = Limits(steps=steps.max_steps, depth=steps.max_depth, cost_usd=max_cost_usd_per_row, planner=steps.planner)
    reader = reading.open(source)
    with opened(pool, store, progress, engine) as (answering, bar):
        with answering.delivery():
            solved = solve_rows(answering, reader, wanted, limits)
            write_table(solved.rows.to_reader(), out)
        bar.close()
    totals = _totals(solved, writing.prefix)
    errors = solved.rows.column(writing.prefix + "error").to_pylist()
    if as_json:
        waves = [asdict(wave) for wave in solved.waves]
        print(json.dumps({**totals, "errors": commonest(errors), "waves": waves}, allow_nan=False))
    else:
        with aside(out):
            say(
                f"{totals['rows']:,} rows, {totals['split']:,} of them split ({totals['planned']:,} by an expert's "
                f"plan); {totals['steps']:,} steps in {len(solved.waves)} waves"
            )
            print_tables([_waves(solved), _experts(solved)])
            say("")
            within = "" if money.max_cost_usd is None else f" of {usd(money.max_cost_usd)}"
            say(f"spent {usd(totals['cost_usd'])}{within}; the list cost of all rows is {usd(totals['list_cost_usd'])}")
        print_failures(errors)
    finish(bar, totals["failed"], out)


def _totals(solved: Solved, prefix: str) -> dict[str, Any]:
    """Return counts and costs of all rows."""
    steps = [len(each or ()) for each in solved.rows.column(prefix + "steps").to_pylist()]
    return {
        "rows": len(steps),
        "split": sum(n > 1 for n in steps),
        "planned": solved.planned,
        "steps": sum(steps),
        "failed": len(steps) - solved.rows.column(prefix + "error").null_count,
        **{name: sum(solved.rows.column(prefix + name).to_pylist()) for name in ("cost_usd", "list_cost_usd")},
    }


def _waves(solved: Solved) -> Table:
    from leeroo.reports.findings import Table

    return Table(
        title="Waves",
        about="Each time that the experts were asked, for all rows at once.",
        columns=("wave", "asked", "failed", "cost USD"),
        rows=[
            (f"{i} {wave.what}", f"{wave.asked:,}", f"{wave.failed:,}", plain_usd(wave.cost_usd))
            for i, wave in enumerate(solved.waves, 1)
        ],
    )


def _experts(solved: Solved) -> Table:
    from leeroo.reports.findings import Table

    answered: Counter[str] = Counter()
    for wave in solved.waves:
        answered.update(wave.experts)
    return Table(
        title="Experts",
        about="Whom the waves asked.",
        columns=("expert", "asked"),
        rows=[(name, f"{n:,}") for name, n in answered.most_common()],
    )
