"""The `leeroo` command: a thin caller of the engine, with words for people."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leeroo.cli import feedback, jobs, router, selfplay, serve, solve, store
from leeroo.cli.options import (
    EXIT_ROWS_FAILED,
    EXIT_USAGE,
    AsJson,
    Budget,
    Column,
    CostWeight,
    Database,
    Delimiter,
    Encoding,
    Format,
    Header,
    Input,
    LatencyWeight,
    Limit,
    OnError,
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
    in_options,
)
from leeroo.engine.errors import LeerooError, RowsFailed, UsageError
from leeroo.interrupts import interrupts

if TYPE_CHECKING:
    from leeroo.udfs.bar import Bar
    from leeroo.udfs.connection import Connection

app = typer.Typer(
    name="leeroo",
    help="Answer a table of questions, each with the model that answers it best for its cost.",
    epilog="Start here:  leeroo run questions.parquet --out answers.parquet",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.command(epilog="Example:  leeroo run tickets.csv --column text --out answers.parquet --max-cost-usd 2.50")
def run(
    source: Input,
    out: Out,
    column: Column = "question",
    pool: PoolFile = None,
    router: RouterDir = None,
    max_cost_usd: Budget = None,
    cost_weight: CostWeight = 0.0,
    latency_weight: LatencyWeight = 0.0,
    private_column: Private = None,
    expert: Pinned = None,
    store: StoreDir = None,
    on_error: OnError = "null",
    on_expert_down: OnExpertDown = "next",
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
    """Answer every row of a table; writes the table with answers and costs.

    Killed or interrupted, the same command goes on where it stopped and pays for nothing twice.
    """
    from leeroo.cli.console import all_well, keeping, opened, summary
    from leeroo.engine.answer import Criteria
    from leeroo.engine.tables import Layout, check_output, open_input, write_table

    criteria = Criteria(
        column=column,
        private_column=private_column,
        expert=expert,
        max_cost_usd=max_cost_usd,
        cost_weight=cost_weight,
        latency_weight=latency_weight,
        prefix=prefix,
        on_error=on_error,
        on_expert_down=on_expert_down,
    )
    check_output(out, keeping(store, source, overwrite=overwrite))
    reader = open_input(source, limit, Layout(format, delimiter, header, encoding))
    with opened(pool, router, store, progress, engine) as (answering, bar):
        rows = answering.answer(reader, criteria)
        write_table(rows, out)
        answering.delivered()
        bar.close()
        summary(bar.last, out, max_cost_usd)
        if not all_well(bar, bar.last.failed):
            raise typer.Exit(EXIT_ROWS_FAILED)


@app.command(epilog="Example:  leeroo route questions.parquet --out routes.parquet --max-cost-usd 1")
def route(
    source: Input,
    out: Out,
    column: Column = "question",
    pool: PoolFile = None,
    router: RouterDir = None,
    max_cost_usd: Budget = None,
    cost_weight: CostWeight = 0.0,
    latency_weight: LatencyWeight = 0.0,
    private_column: Private = None,
    on_expert_down: OnExpertDown = "next",
    store: StoreDir = None,
    limit: Limit = None,
    prefix: Prefix = "",
    format: Format = None,
    delimiter: Delimiter = None,
    header: Header = True,
    encoding: Encoding = None,
    overwrite: Overwrite = False,
    progress: ProgressBar = True,
) -> None:
    """Choose an expert for every row and generate nothing; costs nothing."""
    from leeroo.cli.console import all_well, keeping, opened
    from leeroo.engine.answer import Criteria
    from leeroo.engine.tables import Layout, check_output, open_input, write_table

    criteria = Criteria(
        column=column,
        private_column=private_column,
        max_cost_usd=max_cost_usd,
        cost_weight=cost_weight,
        latency_weight=latency_weight,
        prefix=prefix,
        on_expert_down=on_expert_down,
    )
    check_output(out, keeping(store, source, overwrite=overwrite))
    reader = open_input(source, limit, Layout(format, delimiter, header, encoding))
    with opened(pool, router, store, progress) as (engine, bar):
        rows = write_table(engine.route(reader, criteria), out)
        bar.close()
        bar.say(f"{rows:,} rows routed: {out}")
        if not all_well(bar, 0):
            raise typer.Exit(EXIT_ROWS_FAILED)


@app.command(epilog="""Example:  leeroo sql "SELECT leeroo_answer(question) FROM 'questions.parquet'" """)
def sql(
    statement: Annotated[str, typer.Argument(metavar="STATEMENT", help="SQL of DuckDB; - reads it from stdin.")],
    db: Database = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the result to a file instead of printing it.")
    ] = None,
    pool: PoolFile = None,
    router: RouterDir = None,
    max_cost_usd: Budget = None,
    cost_weight: CostWeight = 0.0,
    latency_weight: LatencyWeight = 0.0,
    store: StoreDir = None,
    on_error: OnError = "null",
    on_expert_down: OnExpertDown = "next",
    overwrite: Overwrite = False,
    progress: ProgressBar = True,
) -> None:
    """Run SQL with leeroo_answer and the other functions of docs/sql.md; prints the rows of the last statement.

    All questions of a statement are answered as one batch. Exit code 1 says that rows have no answer.
    """
    from leeroo.cli.console import all_well, keeping, print_relation
    from leeroo.engine.tables import check_output, write_table

    text = sys.stdin.read() if statement == "-" else statement
    unanswered: list[str] = []
    if out is not None:
        check_output(out, keeping(store, *_named_in(text), overwrite=overwrite))
    options: dict[str, Any] = {
        "max_cost_usd": max_cost_usd,
        "cost_weight": cost_weight,
        "latency_weight": latency_weight,
        "on_error": on_error,
        "on_expert_down": on_expert_down,
        "on_warning": unanswered.append,
    }
    with _database(db, progress=progress, pool=pool, router=router, store=store, **options) as (con, bar):
        result = con.sql(text)
        bar.close()
        if out is not None and result is not None:
            rows = write_table(result.to_arrow_reader(), out)
            typer.echo(f"{rows:,} rows written: {out}", err=True)
        elif result is not None:
            print_relation(result)
    for line in unanswered:
        typer.echo(f"warning: {line}", err=True)
    if not all_well(bar, len(unanswered)):
        raise typer.Exit(EXIT_ROWS_FAILED)


@app.command(epilog="""Example:  leeroo explain "SELECT leeroo_answer(question) FROM 'questions.parquet'" """)
def explain(
    what: Annotated[
        str, typer.Argument(metavar="STATEMENT|INPUT", help="SQL of DuckDB, or a table as leeroo run takes it.")
    ],
    db: Database = None,
    column: Column = "question",
    pool: PoolFile = None,
    router: RouterDir = None,
    max_cost_usd: Budget = None,
    cost_weight: CostWeight = 0.0,
    latency_weight: LatencyWeight = 0.0,
    private_column: Private = None,
    store: StoreDir = None,
    limit: Limit = None,
    format: Format = None,
    delimiter: Delimiter = None,
    header: Header = True,
    encoding: Encoding = None,
    as_json: AsJson = False,
) -> None:
    """Tell what a statement or a run would take: rows, experts, tokens, cost, time. Generates nothing.

    What has white space in it and is no file is a statement.
    """
    from leeroo.cli.console import opened
    from leeroo.engine.answer import Criteria
    from leeroo.engine.tables import Layout, open_input

    options: dict[str, Any] = {
        "max_cost_usd": max_cost_usd,
        "cost_weight": cost_weight,
        "latency_weight": latency_weight,
    }
    if len(what.split()) > 1 and not os.path.exists(what):  # not Path.exists: a statement may be no path at all
        with _database(db, progress=False, pool=pool, router=router, store=store, **options) as (con, _):
            plan = con.explain(what)
            estimates, text = list(plan.estimates), str(plan)
    else:
        criteria = Criteria(column=column, private_column=private_column, **options)
        with opened(pool, router, store, progress=False) as (engine, _):
            layout = Layout(format, delimiter, header, encoding)
            estimate = engine.explain(open_input(what, limit, layout), criteria)
        estimates, text = [(what, estimate)], f"{what}: {estimate}"
    if as_json:
        print(json.dumps({"estimates": [{"of": name, **each.as_dict()} for name, each in estimates]}))
    else:
        print(text)


@app.command(epilog="Example:  leeroo experts --pool pool.toml")
def experts(pool: PoolFile = None, as_json: AsJson = False) -> None:
    """List the experts of a pool: prices, whose they are, and whether each can run here."""
    from leeroo.cli.console import print_experts
    from leeroo.engine.backends.select import facts
    from leeroo.engine.pool import DEFAULT_POOL, load_pool

    named = load_pool(pool or DEFAULT_POOL)
    listed = [facts(expert, named) for expert in named.experts]
    if as_json:
        print(json.dumps({"experts": listed}))
    else:
        print_experts(listed)


for family in (jobs, feedback, solve, router, selfplay, serve, store):
    family.add_to(app)


@contextlib.contextmanager
def _database(db: Path | None, *, progress: bool, **options: Any) -> Iterator[tuple[Connection, Bar]]:
    """Open a database on a connection that shows its progress; DuckDB's errors are the user's."""
    import duckdb

    from leeroo.udfs.bar import Bar
    from leeroo.udfs.register import connect

    bar = Bar(shown=progress)
    try:
        with connect(str(db) if db else ":memory:", on_progress=bar.show, **options) as con:
            yield con, bar
    except duckdb.Error as error:
        raise UsageError(_in_short(error)) from error
    finally:
        bar.close()


def _in_short(error: Exception) -> str:
    """Return what DuckDB says, its candidates, and where in the statement it points to."""
    first, *rest = str(error).strip().split("\n\n")
    pointer = [part for part in rest if part.startswith("LINE ")][:1]
    return "\n".join([" ".join(first.splitlines()), *pointer])


def _named_in(statement: str) -> list[str]:
    """The texts in a statement; some of them are the files that it reads."""
    return re.findall(r"'([^']*\.\w+)'", statement)


def main() -> None:
    """Run the command line; errors of ours are one line on standard error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # not every terminal can show every character
    with interrupts():
        try:
            app()
        except LeerooError as error:
            print(f"leeroo: {in_options(str(error))}", file=sys.stderr)
            sys.exit(EXIT_ROWS_FAILED if isinstance(error, RowsFailed) else EXIT_USAGE)
