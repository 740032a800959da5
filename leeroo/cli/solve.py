"""The command that solves complex questions step by step."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leeroo.cli.options import (
    EXIT_ROWS_FAILED,
    MONEY,
    AsJson,
    Budget,
    Column,
    CostWeight,
    Delimiter,
    Encoding,
    Format,
    Header,
    Input,
    LatencyWeight,
    Limit,
    OnExpertDown,
    Out,
    Overwrite,
    Pinned,
    PoolFile,
    Prefix,
    Private,
    ProgressBar,
    RouterDir,
    StoreDir,
    Where,
)
from leeroo.engine.money import plain_usd, usd

if TYPE_CHECKING:
    from leeroo.engine.jobs.solve.solve import Solved
    from leeroo.reports.findings import Table

_STEPS = "Steps"


def add_to(app: typer.Typer) -> None:
    """Put the command on an app."""
    app.command(epilog="Example:  leeroo solve questions.parquet --out solved.parquet --max-cost-usd 2.50")(solve)


def solve(
    source: Input,
    out: Out,
    column: Column = "question",
    max_steps: Annotated[
        int, typer.Option("--max-steps", min=1, help="Steps of a row at most.", rich_help_panel=_STEPS)
    ] = 8,
    max_depth: Annotated[
        int,
        typer.Option("--max-depth", min=1, help="Steps at most that need one another.", rich_help_panel=_STEPS),
    ] = 4,
    planner: Annotated[
        str | None,
        typer.Option("--planner", metavar="EXPERT", help="Ask this expert for the plans.", rich_help_panel=_STEPS),
    ] = None,
    pool: PoolFile = None,
    router: RouterDir = None,
    max_cost_usd: Budget = None,
    max_cost_usd_per_row: Annotated[
        float | None,
        typer.Option(
            "--max-cost-usd-per-row",
            help="What a row may be expected to cost, plan and all steps together.",
            rich_help_panel=MONEY,
        ),
    ] = None,
    cost_weight: CostWeight = 0.0,
    latency_weight: LatencyWeight = 0.0,
    private_column: Private = None,
    expert: Pinned = None,
    on_expert_down: OnExpertDown = "next",
    store: StoreDir = None,
    as_json: AsJson = False,
    limit: Limit = None,
    prefix: Prefix = "",
    format: Format = None,
    delimiter: Delimiter = None,
    header: Header = True,
    encoding: Encoding = None,
    overwrite: Overwrite = False,
    engine: Where = "local",
    progress: ProgressBar = True,
) -> None:
    """Answer complex questions step by step: each step by its best expert, the parts made into one answer.

    The steps of all rows are answered level by level. Simple questions go straight. Killed or interrupted, the same
    command goes on where it stopped and pays for nothing twice.
    """
    from leeroo.cli.console import all_well, aside, check_alone, commonest, keeping, opened, print_failures
    from leeroo.cli.console_evaluation import print_tables, say
    from leeroo.engine.answer import Criteria
    from leeroo.engine.jobs.solve.solve import Limits, solve_rows
    from leeroo.engine.tables import Layout, check_output, open_input, write_table

    check_output(out, keeping(store, source, overwrite=overwrite))
    check_alone(out, as_json=as_json)
    criteria = Criteria(
        column=column,
        private_column=private_column,
        expert=expert,
        max_cost_usd=max_cost_usd,
        cost_weight=cost_weight,
        latency_weight=latency_weight,
        prefix=prefix,
        on_expert_down=on_expert_down,
    )
    limits = Limits(steps=max_steps, depth=max_depth, cost_usd=max_cost_usd_per_row, planner=planner)
    reader = open_input(source, limit, Layout(format, delimiter, header, encoding))
    with opened(pool, router, store, progress, engine) as (answering, bar):
        solved = solve_rows(answering, reader, criteria, limits)
        write_table(solved.rows.to_reader(), out)
        answering.delivered()
        bar.close()
    told = _told(solved, prefix)
    errors = solved.rows.column(prefix + "error").to_pylist()
    if as_json:
        waves = [asdict(wave) for wave in solved.waves]
        print(json.dumps({**told, "errors": commonest(errors), "waves": waves}, allow_nan=False))
    else:
        with aside(out):
            say(
                f"{told['rows']:,} rows, {told['split']:,} of them split ({told['planned']:,} by an expert's plan); "
                f"{told['steps']:,} steps in {len(solved.waves)} waves"
            )
            print_tables([_waves(solved), _experts(solved)])
            say("")
            within = "" if max_cost_usd is None else f" of {usd(max_cost_usd)}"
            say(f"spent {usd(told['cost_usd'])}{within}; the list cost of all rows is {usd(told['list_cost_usd'])}")
        print_failures(errors)
    typer.echo(f"written: {out}", err=True)
    if not all_well(bar, told["failed"]):
        raise typer.Exit(EXIT_ROWS_FAILED)


def _told(solved: Solved, prefix: str) -> dict[str, Any]:
    """Counts and costs of all rows."""
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
