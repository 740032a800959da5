"""The command that takes scores and right answers of people: feedback."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from leeroo.cli.options import (
    EXIT_ROWS_FAILED,
    ROWS,
    AsJson,
    Column,
    Input,
    InputOptions,
    StoreFolder,
    grouped,
)

if TYPE_CHECKING:
    from leeroo.reports.report import Report

# How many reasons are printed.
_REASONS = 5


@grouped
def feedback(
    *,
    source: Input,
    gold: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Right answers; those of experts are compared with them.")
    ] = None,
    score: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="How good the answer is, from 0 to 1; goes before --gold.")
    ] = None,
    column: Column = "question",
    answer: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="The answers. Default: 'answer', if it is there.", rich_help_panel=ROWS),
    ] = None,
    expert: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN", help="Experts that gave them. Default: 'expert', if it is there.", rich_help_panel=ROWS
        ),
    ] = None,
    store: StoreFolder = None,
    reading: InputOptions,
    as_json: AsJson = False,
) -> None:
    """Keep scores or right answers of people, for routers to learn from, in a table as leeroo run wrote it.

    Rows without either are passed over. The same question and expert again replaces what was kept.
    """
    from leeroo.cli.console import show
    from leeroo.engine.errors import UsageError
    from leeroo.engine.jobs.feedback import find_drifts, judge_feedback, summary, warnings
    from leeroo.engine.jobs.feedback_table import take_table
    from leeroo.engine.paths import default_store
    from leeroo.engine.store.store import Store

    if gold is None and score is None:
        raise UsageError("name the column with what would have been right (--gold), or that with scores (--score)")
    reader = reading.open(source)
    place = store or default_store()
    kept = Store(place)
    try:
        taken = take_table(kept, reader, gold=gold, score=score, column=column, answer=answer, expert=expert)
        known = judge_feedback(kept)
    finally:
        kept.close()
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
    show(_report(experts, f"{len(own):,} outcomes kept: {place}", data), as_json=as_json)
    if not as_json:
        for line in [*_reasons(taken.failed, taken.passed_over), *(f"warning: {each}" for each in warnings(known))]:
            typer.echo(line, err=True)
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
