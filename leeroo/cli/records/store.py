"""The commands of the answer store: info and prune, and feedback, which keeps scores and right answers of people."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leeroo.cli.commands import grouped
from leeroo.cli.log import current
from leeroo.cli.options import EXIT_ROWS_FAILED, ROWS, AsJson, Column, Input, InputOptions, StoreFolder
from leeroo.engine.errors import UsageError

if TYPE_CHECKING:
    from leeroo.engine.store.store import Store
    from leeroo.reports.report import Report

_DAY_S = 86_400
# How many reasons are printed.
_REASONS = 5

store_app = typer.Typer(no_args_is_help=True, help="Inspect and prune the answer store.")


@store_app.command("info", epilog="Example:  leeroo store info --json")
def info(store: StoreFolder = None, as_json: AsJson = False) -> None:
    """Print where the answer store is, how large it is, and what is in it."""
    with opened(store) as there:
        found = {"store": str(there.folder), **there.info()}
    if as_json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        shown = f"{value:,}" if isinstance(value, int) else value or "-"
        print(f"{name.replace('_', ' '):<16}{shown}")


@store_app.command("prune", epilog="Example:  leeroo store prune --older-than 90")
def prune(
    store: StoreFolder = None,
    older_than: Annotated[
        float | None, typer.Option(min=0, metavar="DAYS", help="Remove entries older than this.")
    ] = None,
    max_bytes: Annotated[
        int | None,
        typer.Option(min=0, metavar="BYTES", help="Remove the oldest entries until the store is this small."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove old answers, runs, timings and learned tables; a removed answer is paid for again when it is needed.

    Feedback, its answers, sums of spending, and answers of running commands are kept.
    """
    if older_than is None and max_bytes is None:
        raise UsageError("say what to remove: --older-than DAYS, --max-bytes BYTES, or both")
    before = None if older_than is None else time.time() - older_than * _DAY_S
    with opened(store) as there:
        pruned = there.prune(before, max_bytes)
    if as_json:
        print(json.dumps(pruned._asdict()))
    else:
        print(
            f"removed: {pruned.answers:,} answers, {pruned.runs:,} runs, and what {pruned.learned:,} tables taught;"
            f" the store takes {pruned.bytes:,} bytes now"
        )


@contextlib.contextmanager
def opened(store: Path | None, *, make: bool = False) -> Iterator[Store]:
    """Open an answer store; one that is not there is an error, or made."""
    from leeroo.engine.paths import default_store
    from leeroo.engine.store.store import Store

    folder = store or default_store()
    if not make and not (folder / "answers.sqlite").is_file():
        raise UsageError(f"there is no answer store in {folder}; name its folder with --store")
    with contextlib.closing(Store(folder)) as there:
        yield there


@grouped
def feedback(
    *,
    source: Input,
    gold: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column with right answers, to compare answers with.")
    ] = None,
    score: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column with scores from 0 to 1; takes precedence over --gold.")
    ] = None,
    column: Column = "question",
    answer: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Column with the answers.", show_default="'answer', if present", rich_help_panel=ROWS
        ),
    ] = None,
    expert: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Column with the experts.", show_default="'expert', if present", rich_help_panel=ROWS
        ),
    ] = None,
    store: StoreFolder = None,
    reading: InputOptions,
    as_json: AsJson = False,
) -> None:
    """Store people's scores or right answers for a table that leeroo run wrote; routers learn from them.

    Rows with neither are skipped. Newer feedback on the same question and expert replaces older feedback.
    """
    from leeroo.cli.console import show
    from leeroo.engine.jobs.feedback import find_drifts, judge_feedback, summary, warnings
    from leeroo.engine.jobs.feedback_table import take_table

    if gold is None and score is None:
        raise UsageError("name the column with what would have been right (--gold), or that with scores (--score)")
    reader = reading.open(source)
    with opened(store, make=True) as kept:
        taken = take_table(kept, reader, gold=gold, score=score, column=column, answer=answer, expert=expert)
        known = judge_feedback(kept)
    own = [row for row in known if {(row["question"], row["expert"]), (row["question"], None)} & taken.pairs]
    experts = summary(own)
    data = {
        "kept": len(own),
        "passed_over": taken.passed_over,
        "failed": len(taken.failed),
        "errors": [{"row": row, "error": reason} for row, reason in taken.failed],
        "experts": {name: {"feedback": n, "mean_score": mean} for name, (n, mean) in experts.items()},
        "drift": {
            name: {"shift": drift.shift, "n": drift.n, "since": str(day)}
            for name, (drift, day) in find_drifts(known).items()
        },
    }
    show(_report(experts, f"{len(own):,} outcomes kept: {kept.folder}", data), as_json=as_json)
    if not as_json:
        for line in _reasons(taken.failed, taken.passed_over):
            current().say(line)
        for line in warnings(known):
            current().warn(line)
    if taken.failed:
        raise typer.Exit(EXIT_ROWS_FAILED)


def _report(experts: dict[str, tuple[int, float]], summary: str, data: dict[str, Any]) -> Report:
    from leeroo.reports.report import Report, Table, columns

    names = columns("expert | feedback: count | mean score: score")
    table = Table("What became of the answers", names, [(name, *found) for name, found in experts.items()])
    return Report("Feedback", [table] if experts else [], summary=[summary], data=data)


def _reasons(failed: list[tuple[int, str]], passed_over: int) -> list[str]:
    lines = [f"{passed_over:,} rows have neither gold nor score: passed over"] if passed_over else []
    if failed:
        lines += [f"{len(failed):,} rows cannot be judged:"]
        lines += [f"  row {row}: {reason}" for row, reason in failed[:_REASONS]]
        lines += [f"  and {len(failed) - _REASONS:,} more"] if len(failed) > _REASONS else []
    return lines
