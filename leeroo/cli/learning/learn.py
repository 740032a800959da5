"""Learning from a table: the command learn, and leeroo run --learn."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leeroo.cli.commands import criteria, logged
from leeroo.cli.options import (
    MONEY,
    AsJson,
    Column,
    EngineOptions,
    Input,
    InputOptions,
    LearnOptions,
    PoolFile,
    Private,
    RouterOfRun,
    StoreFolder,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from leeroo.engine.answer import Criteria, Place
    from leeroo.engine.jobs.learn.learn import Learning
    from leeroo.reports.report import Report


@logged
def learn(
    *,
    source: Input,
    out: Annotated[Path, typer.Option(help="Folder of the learned router.")],
    budget: Annotated[float, typer.Option(min=0, help="Budget in USD.", rich_help_panel=MONEY)],
    column: Column = "question",
    learning: LearnOptions,
    pool: PoolFile = None,
    router: RouterOfRun = None,
    store: StoreFolder = None,
    private_column: Private = None,
    page: Annotated[
        Path | None,
        typer.Option("--report", metavar="F.html", help="Page about the results.", show_default="beside the router"),
    ] = None,
    as_json: AsJson = False,
    reading: InputOptions,
) -> None:
    """Learn a router from a sample of your questions, and report what each budget would bring.

    No recorded outcomes are needed; --gold names a column of right answers, if you have some. If it is killed or
    interrupted, the same command resumes and pays for nothing twice.
    """
    from leeroo.cli.console import check_drawn, conclude, open_with_progress
    from leeroo.engine.errors import RouterError
    from leeroo.engine.jobs.learn.learn import learn_rows
    from leeroo.engine.orchestrator.router_folder import check_place
    from leeroo.engine.tables.outputs import write_file
    from leeroo.reports.learn import sample_report
    from leeroo.reports.page import check_own_page
    from leeroo.reports.page import page as as_page

    check_place(out)
    if page is None:
        page = out.with_name(f"{out.name}.html")
        check_own_page(page)
    check_drawn(store, page=page)
    setup = EngineOptions(pool, router, budget, store=store)
    wanted = criteria(setup, learning, column=column, private_column=private_column, learn=True)
    with open_with_progress(setup) as (engine, bar), engine.delivery():
        learned = learn_rows(engine, reading.open(source), wanted, _how(learning), bar.say, answer_all=False)
        if learned.router is None or learned.advice is None:
            raise RouterError("; ".join(learned.findings.notes) or "there is too little to learn from")
        learned.router.save(out)
        found = sample_report(learned.findings, learned.advice, f"What a sample of {source} teaches")
        write_file(as_page(found), page)
    conclude(bar, found, [], None, out, page, as_json=as_json)


def run_and_learn(
    reader: pa.RecordBatchReader,
    wanted: Criteria,
    out: Path,
    setup: EngineOptions,
    learning: LearnOptions,
    save_router: Path | None,
    page: Path | None,
    place: Place,
    *,
    as_json: bool,
) -> None:
    """Answer a table and learn from it: what `leeroo run --learn` does."""
    from leeroo.cli.console import check_drawn, conclude, open_with_progress
    from leeroo.engine.jobs.learn.learn import learn_rows
    from leeroo.engine.orchestrator.router_folder import check_place
    from leeroo.engine.tables import write_table
    from leeroo.engine.tables.outputs import write_file
    from leeroo.reports.learn import learn_report
    from leeroo.reports.page import page as as_page

    if save_router is not None:
        check_place(save_router)
    check_drawn(setup.store, page=page)
    with open_with_progress(setup, place) as (engine, bar), engine.delivery():
        learned = learn_rows(engine, reader, wanted, _how(learning), bar.say)
        assert learned.rows is not None
        write_table(learned.rows.to_reader(), out)
        if save_router is not None and learned.router is not None:
            learned.router.save(save_router)
        found: Report = learn_report(learned.findings, "What was learned while answering")
        if page is not None:
            write_file(as_page(found), page)
        errors = learned.rows.column(f"{wanted.prefix}error").to_pylist()
    kept = save_router if learned.router is not None else None
    conclude(bar, found, errors, out, kept, page, as_json=as_json)


def _how(options: LearnOptions) -> Learning:
    from leeroo.engine.jobs.learn.learn import Learning

    return Learning(judge=options.judge, seed=options.seed)
