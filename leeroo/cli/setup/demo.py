"""The command demo: real answers of a small model on this machine, and what choosing among recorded models brings."""

from __future__ import annotations

import importlib.resources
import os
import shutil
import textwrap
from pathlib import Path
from typing import Annotated

import typer

# Score points that one dollar is worth: the small model thinks where that gains more than a few points.
_COST_WEIGHT = 40_000.0
_WIDEST = 120
_INDENT = " " * 4
_NAMES = ("questions.csv", "answers.parquet", "store", "choosing.html")


def demo(
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the answers and the picture.")] = Path("demo"),
) -> None:
    """Answer twelve questions with a small model here, then show what choosing among 50 recorded models brings.

    Takes about a minute and costs nothing. No API key is needed.
    """
    from leeroo.reports.terminal import say

    # Threads that wait for a core keep it busy: beside other work the small model would take three times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    questions, answers, store, page = (out / name for name in _NAMES)
    out.mkdir(parents=True, exist_ok=True)
    with importlib.resources.as_file(importlib.resources.files("leeroo") / "data" / "demo" / "questions.csv") as file:
        shutil.copyfile(file, questions)
    say("1. Twelve questions for a model of 135 million parameters on this machine\n")
    say(_wrap("For each of them, a router chooses between a direct answer and reasoning first.") + "\n")
    answered = _answer(questions, answers, store)
    say("\n2. Recorded answers of 50 large models, one chosen for each question\n")
    _show_choosing(page)
    say("\n3. Try next\n")
    for command, why in _next_steps(questions, store, answered=answered):
        say(f"  {command}\n      {why}")


def _answer(questions: Path, answers: Path, store: Path) -> bool:
    """Answer the questions and print them; return False, after saying why, where the model cannot run here."""
    from leeroo.cli.commands import criteria
    from leeroo.cli.console import check_out, open_with_progress
    from leeroo.cli.options import EngineOptions, InputOptions
    from leeroo.engine.backends.select import unavailable
    from leeroo.engine.errors import ExpertUnavailable, PoolError
    from leeroo.engine.money import usd
    from leeroo.engine.pool import DEFAULT_POOL, DEFAULT_ROUTER, load_pool
    from leeroo.engine.tables import write_table
    from leeroo.engine.weights import is_here
    from leeroo.reports.terminal import say

    [expert, *_] = load_pool(DEFAULT_POOL).experts
    if (why := unavailable(expert)) is not None:
        say(f"Left out: {why}")
        return False
    if not is_here(expert.model):
        say(f"Fetching {expert.model} from Hugging Face, about 270 MB.")
    setup = EngineOptions(DEFAULT_POOL, DEFAULT_ROUTER, store=store, cost_weight=_COST_WEIGHT)
    check_out(answers, store, str(questions))
    reader = InputOptions().open(str(questions))
    try:
        with open_with_progress(setup) as (engine, bar), engine.answer(reader, criteria(setup)) as rows:
            write_table(rows, answers)
    except (PoolError, ExpertUnavailable) as error:
        say(f"Left out: {error}")
        return False
    if bar.down:
        say(f"Left out: {next(iter(bar.down.values()))}")
        return False
    _print_answers(answers)
    stored = f", {bar.last.from_store} of them stored by an earlier demo" if bar.last.from_store else ""
    say(f"\n{bar.last.rows} answers in {bar.last.seconds:.0f} s{stored}: {answers}")
    say(f"They would cost {usd(bar.last.list_cost_usd)} at the prices of hosted models of this size.")
    return True


def _print_answers(answers: Path) -> None:
    """Print each question, its whole answer, and who answered, wrapped to the width of the terminal."""
    import pyarrow.parquet as pq
    from rich.console import Console
    from rich.text import Text

    console = Console()
    for number, row in enumerate(pq.read_table(answers).to_pylist(), 1):
        answer = row["error"] if row["answer"] is None else row["answer"]
        console.print(Text(_wrap(row["question"], f"{number:>2}  ", _INDENT), "bold"))
        console.print(Text("\n".join(_wrap(line, _INDENT, _INDENT) for line in answer.splitlines() if line.strip())))
        if row["expert"] is not None:
            score = 100 * row["predicted_score"]
            console.print(Text(f"{_INDENT}[{row['expert']}, predicted chance of a right answer: {score:.0f} %]", "dim"))


def _wrap(line: str, start: str = "", below: str = "") -> str:
    """Return a paragraph wrapped to the width of the terminal."""
    return textwrap.fill(line, _width(), initial_indent=start, subsequent_indent=below)


def _width() -> int:
    from rich.console import Console

    return min(Console().width, _WIDEST)


def _show_choosing(page: Path) -> None:
    """Print the picture and the table, and write both as a page."""
    from leeroo.cli.console import check_drawn
    from leeroo.engine.tables.outputs import write_file
    from leeroo.reports.demo import choosing_plot, choosing_report, measure_choosing
    from leeroo.reports.page import page as as_page
    from leeroo.reports.terminal import print_table, say

    check_drawn(page=page)
    found = measure_choosing()
    report = choosing_report(found)
    for paragraph in (*report.about, *report.summary):
        say(_wrap(paragraph) + "\n")
    for line in choosing_plot(found, _width()):
        say(line)
    for table in report.tables:
        say("")
        print_table(table)
    say("")
    for note in report.notes:
        say(_wrap(note, "- ", "  "))
    write_file(as_page(report), page)
    say(f"\nThe same as a page: {page}")


def _next_steps(questions: Path, store: Path, *, answered: bool) -> list[tuple[str, str]]:
    """Return three commands that work now, each with what it does."""
    again = f"leeroo run {questions} --out again.csv --store {store}"
    return [
        (
            f"leeroo explain {questions} --max-cost-usd 0.00002",
            "See the plan and the cost of a table before anything is spent.",
        ),
        (again, "Answer a table, this one or yours. Stored answers are not paid for twice.")
        if answered
        else ("leeroo experts", "See which models can run here, and what installs the others."),
        ("leeroo init", "Write a pool file with the models and API keys that you have."),
    ]
