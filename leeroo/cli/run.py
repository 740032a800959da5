"""The commands that answer a table, or only choose its experts: run, status, route, solve."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leeroo.cli.commands import criteria, logged
from leeroo.cli.learning.learn import run_and_learn
from leeroo.cli.log import current
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
    PoolFile,
    Private,
    PromptOptions,
    StoreFolder,
    Where,
)
from leeroo.engine.backends.workers import launch
from leeroo.engine.errors import Detached, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from leeroo.reports.report import Table

_STEPS = "Steps"


@logged
def run(
    *,
    source: Input,
    out: Out,
    column: Column = "question",
    asking: PromptOptions,
    setup: EngineOptions,
    experts: ExpertOptions,
    on_error: OnError = "null",
    keep_reasoning: Annotated[
        bool,
        typer.Option(
            "--keep-reasoning", help="Add a column with the thoughts before each answer.", rich_help_panel=ROWS
        ),
    ] = False,
    learn: Annotated[
        bool,
        typer.Option(
            "--learn",
            help="Learn from the first answers which expert to choose for the others, within one budget.",
            rich_help_panel=LEARN,
        ),
    ] = False,
    learning: LearnOptions,
    save_router: Annotated[
        Path | None, typer.Option(help="Folder for the learned router.", rich_help_panel=LEARN)
    ] = None,
    page: Annotated[
        Path | None,
        typer.Option("--report", metavar="F.html", help="Page about what was learned.", rich_help_panel=LEARN),
    ] = None,
    reading: InputOptions,
    writing: OutputOptions,
    engine: Where = "local",
    detach: Annotated[
        bool,
        typer.Option(
            "--detach",
            help="Submit batches, answer all other rows, and return; the same command collects the batches.",
            rich_help_panel=MONEY,
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Answer every row of a table; writes the table with answers and costs.

    If it is killed or interrupted, the same command resumes and pays for nothing twice.
    """
    if setup.pool is None and engine == "local" and not launch.has_gpu():
        launch.launch_ahead("transformers")  # the embedded pool has no other models: one is imported while this is
    from leeroo.cli.console import check_out, finish, open_with_progress, run_facts, summary
    from leeroo.engine.tables import write_table

    own = {"column": column, "on_error": on_error, "learn": learn, "keep_reasoning": keep_reasoning}
    wanted = criteria(setup, asking, experts, writing, learning, **own)
    check_out(out, setup.store, source, overwrite=writing.overwrite, as_json=as_json)
    reader = reading.open(source)
    if learn and detach:
        raise UsageError("--learn waits for the first answers: leave --detach out")
    if learn:
        run_and_learn(reader, wanted, out, setup, learning, save_router, page, engine, as_json=as_json)
        return
    if learning != LearnOptions() or save_router or page:
        raise UsageError("--gold, --judge, --seed, --save-router and --report are for --learn: add it")
    try:
        with (
            open_with_progress(setup, engine) as (answering, bar),
            answering.answer(reader, wanted, detach=detach) as rows,
        ):
            write_table(rows, out)
    except Detached as left:
        if as_json:
            print(json.dumps({"open_batches": len(left.batches), "open_rows": left.rows, "out": None}))
        current().say(f"leeroo: {left}")
        return
    if as_json:
        print(json.dumps(run_facts(bar.last, out)))
    else:
        summary(bar.last, out, setup.max_cost_usd)
    finish(bar, bar.last.failed)


@logged
def route(
    *,
    source: Input,
    out: Out,
    column: Column = "question",
    asking: PromptOptions,
    setup: EngineOptions,
    private_column: Private = None,
    on_expert_down: OnExpertDown = "next",
    reading: InputOptions,
    writing: OutputOptions,
    as_json: AsJson = False,
) -> None:
    """Choose an expert for every row and generate nothing; costs nothing."""
    from leeroo.cli.console import check_out, finish, open_with_progress
    from leeroo.engine.tables import write_table

    wanted = criteria(
        setup, asking, writing, column=column, private_column=private_column, on_expert_down=on_expert_down
    )
    check_out(out, setup.store, source, overwrite=writing.overwrite, as_json=as_json)
    reader = reading.open(source)
    routes = _Routes(writing.prefix)
    with open_with_progress(setup) as (engine, bar):
        rows = write_table(routes.count(engine.route(reader, wanted)), out)
    if as_json:
        print(json.dumps({"rows": rows, "experts": routes.experts, "out": str(out)}))
    else:
        current().table(routes.table())
        current().say(f"{rows:,} rows routed: {out}")
    finish(bar, 0)


class _Routes:
    """Counts of a table with the columns of `schema.ROUTES`, while it is read.

    Attributes:
        experts: By name, the rows of each expert and their expected cost; rows without one are not counted.
    """

    def __init__(self, prefix: str) -> None:
        self.experts: dict[str, dict[str, float]] = {}
        self._expert, self._cost = f"{prefix}expert", f"{prefix}expected_cost_usd"

    def count(self, rows: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """Return the same rows, which are counted as they are read."""
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(rows.schema, self._counted(rows))

    def _counted(self, rows: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa

        for batch in rows:
            sums = pa.table(batch).group_by(self._expert).aggregate([(self._cost, "sum"), (self._cost, "count")])
            for row in sums.to_pylist():
                if (name := row[self._expert]) is not None:
                    did = self.experts.setdefault(name, {"rows": 0, "expected_cost_usd": 0.0})
                    did["rows"] += row[f"{self._cost}_count"]
                    did["expected_cost_usd"] += row[f"{self._cost}_sum"] or 0.0
            yield batch

    def table(self) -> Table:
        """Return them as a table, the expert with most rows first."""
        from leeroo.reports.report import Table, columns

        found = sorted(self.experts.items(), key=lambda item: -item[1]["rows"])
        names = columns("expert | rows: count | expected cost USD: usd")
        return Table("", names, [(name, *did.values()) for name, did in found], empty="no row has an expert")


@logged
def solve(
    *,
    source: Input,
    out: Out,
    column: Column = "question",
    max_steps: Annotated[int, typer.Option(min=1, help="Most steps of a row.", rich_help_panel=_STEPS)] = 8,
    max_depth: Annotated[
        int, typer.Option(min=1, help="Longest chain of steps that depend on each other.", rich_help_panel=_STEPS)
    ] = 4,
    planner: Annotated[
        str | None, typer.Option(metavar="EXPERT", help="Expert that writes the plans.", rich_help_panel=_STEPS)
    ] = None,
    setup: EngineOptions,
    max_cost_usd_per_row: Annotated[
        float | None,
        typer.Option(help="Highest expected cost of a row, with its plan and steps.", rich_help_panel=MONEY),
    ] = None,
    experts: ExpertOptions,
    as_json: AsJson = False,
    reading: InputOptions,
    writing: OutputOptions,
    engine: Where = "local",
) -> None:
    """Answer complex questions in steps, each by its best expert, and combine the parts.

    Steps of all rows are answered together, level by level. Simple questions are answered directly. If it is killed or
    interrupted, the same command resumes and pays for nothing twice.
    """
    from leeroo.cli.console import check_out, conclude, open_with_progress
    from leeroo.engine.jobs.solve.solve import SolveLimits, solve_rows
    from leeroo.engine.tables import write_table
    from leeroo.reports.solve import solve_report

    check_out(out, setup.store, source, overwrite=writing.overwrite, as_json=as_json)
    wanted = criteria(setup, experts, writing, column=column)
    limits = SolveLimits(steps=max_steps, depth=max_depth, cost_usd=max_cost_usd_per_row, planner=planner)
    reader = reading.open(source)
    with open_with_progress(setup, engine) as (answering, bar), answering.delivery():
        solved = solve_rows(answering, reader, wanted, limits)
        write_table(solved.rows.to_reader(), out)
    report = solve_report(solved, writing.prefix, setup.max_cost_usd)
    errors = solved.rows.column(writing.prefix + "error").to_pylist()
    conclude(bar, report, errors, out, as_json=as_json)


def status(
    store: StoreFolder = None,
    pool: PoolFile = None,
    cancel: Annotated[
        str | None,
        typer.Option(metavar="ID|all", help="End a batch early, or all of them; needs the --pool of their run."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List open batches at providers; the command that submitted them collects them.

    Counts and times are from the latest check. Answers of a cancelled batch are collected too.
    """
    from leeroo.engine.answer import NO_ROUTER, open_engine
    from leeroo.engine.paths import default_store
    from leeroo.reports.batches import print_batches

    folder = store or default_store()
    if not (folder / "answers.sqlite").is_file():
        raise UsageError(f"there is no answer store in {folder}; name its folder with --store")
    with open_engine(pool, NO_ROUTER, store) as engine:
        batches = engine.store.batches()
        # A batch that is being submitted has no id yet.
        chosen = [batch for batch in batches if cancel is not None and cancel in ("all", batch["remote"])]
        if cancel is not None and cancel != "all" and not chosen:
            raise UsageError(f"there is no open batch {cancel!r}; there are: {_ids(batches)}")
        for batch in chosen:
            engine.cancel_batch(batch)
            current().say(f"cancelled: {batch['remote']}")
    print_batches(batches, as_json=as_json)


def _ids(batches: list[dict[str, Any]]) -> str:
    return ", ".join(batch["remote"] for batch in batches if batch["remote"]) or "none"
