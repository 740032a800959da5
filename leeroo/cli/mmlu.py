"""The command that runs a benchmark: mmlu."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from leeroo.cli.commands import criteria, logged, names
from leeroo.cli.options import ROWS, AsJson, EngineOptions, OnExpertDown, Page, Pinned

if TYPE_CHECKING:
    from leeroo.engine.answer import Engine


@logged
def mmlu(
    *,
    data: Annotated[
        str,
        typer.Option(
            help="Folder with test.parquet and dev.parquet of MMLU, or a data folder with recorded outcomes.",
            rich_help_panel=ROWS,
        ),
    ] = "hf://datasets/cais/mmlu",
    subjects: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Only these subjects.", rich_help_panel=ROWS)
    ] = None,
    shots: Annotated[int, typer.Option(min=0, help="Solved questions before each question.", rich_help_panel=ROWS)] = 5,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Number of questions, taken evenly from all subjects.", rich_help_panel=ROWS),
    ] = None,
    setup: EngineOptions,
    expert: Pinned = None,
    on_expert_down: OnExpertDown = "next",
    mode: Annotated[
        Literal["choose", "generate"],
        typer.Option(help="Read the probabilities of the letters, or let the experts write."),
    ] = "choose",
    chat: Annotated[
        bool, typer.Option("--chat/--raw", help="Send prompts as turns in a chat, or as text to continue.")
    ] = False,
    compare: Annotated[
        bool | None,
        typer.Option(
            "--compare/--no-compare",
            help="Have every expert answer every question, and report what other choices would score.",
            show_default="with recorded answers only",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the answers with letter and score to this file.")] = None,
    report: Page = None,
    as_json: AsJson = False,
) -> None:
    """Run MMLU, or a part of it, as one batch, and score it by subject and category.

    If it is killed or interrupted, the same command resumes and pays for nothing twice.
    """
    from leeroo.cli.console import check_drawn, check_out, conclude, open_with_progress
    from leeroo.engine.jobs.mmlu.data import read_questions
    from leeroo.engine.jobs.mmlu.mmlu import run_mmlu
    from leeroo.engine.tables import write_table
    from leeroo.engine.tables.outputs import write_file
    from leeroo.reports.mmlu import mmlu_report
    from leeroo.reports.page import page

    if out is not None:
        check_out(out, setup.store, data, as_json=as_json)
    check_drawn(setup.store, page=report)
    wanted = criteria(setup, expert=expert, on_expert_down=on_expert_down)
    only = [] if subjects is None else names("--subjects", subjects)
    questions = read_questions(data, only, shots, limit)
    with open_with_progress(setup) as (engine, bar), engine.delivery():
        results = run_mmlu(engine, questions, wanted, mode, chat=chat, compare=compare, on_progress=bar.say)
        if out is not None:
            write_table(results.answers.to_reader(), out)
        found = mmlu_report(results, "MMLU", _about(data, shots, mode, chat, setup, engine))
        if report is not None:
            write_file(page(found), report)
    conclude(bar, found, results.answers.column("error").to_pylist(), out, report, as_json=as_json)


def _about(data: str, shots: int, mode: str, chat: bool, setup: EngineOptions, engine: Engine) -> list[str]:
    """Return sentences about what was run."""
    recorded = Path(data, "queries.parquet").is_file()
    router = None
    if engine.prior:
        router = f"shipped router {engine.prior.name}"
    elif engine.router and setup.router:
        router = f"router {setup.router}"
    return [
        f"The questions are the test split of {data}."
        if recorded
        else f"The questions are those of {data}, with {shots} solved ones before each.",
        f"They were shown as {'a turn in a chat' if chat else 'text to go on with'}, and answers were read from "
        f"{'the probabilities of the letters' if mode == 'choose' else 'what the experts wrote'}; recorded answers "
        "are as they were recorded.",
        f"They were answered by {f'the pool {setup.pool}' if setup.pool else 'the embedded local pool'}"
        + (f", chosen by the {router}." if router else "."),
    ]
