"""The commands that do whole jobs: mmlu."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from leeroo.engine.errors import UsageError
from leeroo.options import (
    EXIT_ROWS_FAILED,
    ROWS,
    AsJson,
    Budget,
    CostWeight,
    LatencyWeight,
    Pinned,
    PoolFile,
    ProgressBar,
    RouterDir,
    StoreDir,
)


def add_to(app: typer.Typer) -> None:
    """Put the commands on an app."""
    app.command(epilog="Example:  leeroo mmlu --limit 1000 --out mmlu.parquet --report mmlu.html")(mmlu)


def mmlu(
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="Folder with test.parquet and dev.parquet of MMLU, or a data folder with recorded outcomes; "
            "from the Hugging Face hub without.",
            rich_help_panel=ROWS,
        ),
    ] = "hf://datasets/cais/mmlu",
    subjects: Annotated[
        str | None, typer.Option("--subjects", metavar="A,B,C", help="Only these.", rich_help_panel=ROWS)
    ] = None,
    shots: Annotated[
        int, typer.Option("--shots", min=0, help="Solved questions before each.", rich_help_panel=ROWS)
    ] = 5,
    limit: Annotated[
        int | None,
        typer.Option("--limit", min=1, help="So many questions, evenly from all subjects.", rich_help_panel=ROWS),
    ] = None,
    pool: PoolFile = None,
    router: RouterDir = None,
    max_cost_usd: Budget = None,
    cost_weight: CostWeight = 0.0,
    latency_weight: LatencyWeight = 0.0,
    expert: Pinned = None,
    store: StoreDir = None,
    mode: Annotated[
        Literal["choose", "generate"],
        typer.Option("--mode", help="Read the probabilities of the letters, or let the experts write."),
    ] = "choose",
    chat: Annotated[
        bool, typer.Option("--chat/--raw", help="Show a prompt as a turn in a chat, or as text to go on with.")
    ] = False,
    compare: Annotated[
        bool | None,
        typer.Option(
            "--compare/--no-compare",
            help="Have every expert answer everything, and tell what other choices would have come to. Without, "
            "only where answers are recorded ones.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the answers, with letter and score.")] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="F.html", help="Write all of it as a page into this file.")
    ] = None,
    as_json: AsJson = False,
    progress: ProgressBar = True,
) -> None:
    """Run MMLU, or a part of it, as one batch, and score it by subject and category.

    Killed or interrupted, the same command goes on where it stopped and pays for nothing twice.
    """
    from leeroo.engine.answer import Criteria
    from leeroo.engine.jobs.mmlu import run_mmlu
    from leeroo.engine.jobs.mmlu_data import read_questions
    from leeroo.engine.jobs.mmlu_report import headline, mmlu_page, tables
    from leeroo.engine.tables import check_output, write_table
    from leeroo.terminal import opened
    from leeroo.terminal_evaluation import print_tables, say

    if out is not None:
        check_output(out)
    _check_page(report)
    criteria = Criteria(
        expert=expert, max_cost_usd=max_cost_usd, cost_weight=cost_weight, latency_weight=latency_weight
    )
    questions = read_questions(data, _names(subjects), shots, limit)
    with opened(pool, router, store, progress) as (engine, bar):
        results = run_mmlu(engine, questions, criteria, mode, chat=chat, compare=compare, on_progress=bar.say)
        if out is not None:
            write_table(results.answers.to_reader(), out)
        if report is not None:
            from leeroo.engine.jobs.files import write_file

            write_file(mmlu_page(results, "MMLU", _about(data, shots, mode, chat, pool, router)), report)
        engine.delivered()
        bar.close()
    if as_json:
        print(json.dumps(results.as_json(), allow_nan=False))
    else:
        say(headline(results))
        print_tables(tables(results))
    for written in (out, report):
        if written is not None:
            typer.echo(f"written: {written}", err=True)
    if results.failed:
        raise typer.Exit(EXIT_ROWS_FAILED)


def _about(data: str, shots: int, mode: str, chat: bool, pool: Path | None, router: Path | None) -> list[str]:
    """What was run, in sentences."""
    recorded = Path(data, "queries.parquet").is_file()
    return [
        f"The questions are the test split of {data}."
        if recorded
        else f"The questions are those of {data}, with {shots} solved ones before each.",
        f"They were shown as {'a turn in a chat' if chat else 'text to go on with'}, and answers were read from "
        f"{'the probabilities of the letters' if mode == 'choose' else 'what the experts wrote'}; recorded answers are "
        "as they were recorded.",
        f"They were answered by {f'the pool {pool}' if pool else 'the embedded local pool'}"
        + (f", chosen by the router {router}." if router else "."),
    ]


def _names(listed: str | None) -> list[str]:
    names = [] if listed is None else [name.strip() for name in listed.split(",")]
    if not all(names):
        raise UsageError(f"--subjects takes names with commas between, but was given {listed!r}")
    return names


def _check_page(report: Path | None) -> None:
    """Refuse a page that could not be written, before anything is spent."""
    if report is not None:
        from leeroo.engine.jobs.files import check_file
        from leeroo.engine.jobs.plot import check_plotting

        check_plotting()
        check_file(report, ".html")
