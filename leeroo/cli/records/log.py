"""The command that shows answers in the answer store: log."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from leeroo.cli.commands import grouped
from leeroo.cli.log import current
from leeroo.cli.options import AsJson, Column, FormatOptions, StoreFolder
from leeroo.cli.records.store import opened

# Characters of a run's id, which tell runs apart.
_RUN_SHOWN = 8
# What is printed below the first line of an answer.
_TEXTS = ("question", "reasoning", "answer")


@grouped
def log(
    *,
    last: Annotated[int, typer.Option("--last", "-n", min=1, metavar="N", help="How many answers.")] = 20,
    run: Annotated[
        str | None, typer.Option(metavar="ID", help="Only those of a run; the beginning of its id is enough.")
    ] = None,
    expert: Annotated[str | None, typer.Option(metavar="NAME", help="Only those of an expert.")] = None,
    search: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only those with this text in the answer or the question.")
    ] = None,
    questions: Annotated[
        str | None, typer.Option(metavar="INPUT", help="Table with the questions, to show them with their answers.")
    ] = None,
    column: Column = "question",
    prompt: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Prompt of the run, with columns in braces, if it had one.")
    ] = None,
    reading: FormatOptions,
    store: StoreFolder = None,
    as_json: AsJson = False,
) -> None:
    """Show the latest answers in the answer store, the latest last.

    The store keeps questions as hashes, except those with feedback. To see their texts, name their table with
    --questions. A terminal shows the beginning of long texts, and piped output all of them.
    """
    with opened(store) as there:
        texts = () if questions is None else _questions(questions, column, prompt, reading)
        found = there.log(last, run=run, expert=expert, search=search, questions=texts)
    for row in found:
        row["created"] = datetime.fromtimestamp(row["created"], UTC).isoformat(timespec="seconds")
    if as_json:
        print(json.dumps({"answers": found}))
        return
    for row in found:
        _print(row)
    if not found:
        current().say("no answer in the store fits")
    elif questions is None and any(row["question"] is None for row in found):
        current().say("note: the store keeps questions as hashes; to see them name their table with --questions")


def _questions(source: str, column: str, prompt: str | None, reading: FormatOptions) -> Iterator[str]:
    """Yield the questions of a table, as a run sends them."""
    from leeroo.engine.answer import Criteria
    from leeroo.engine.batch.prompts import check_columns, read_asks
    from leeroo.engine.tables import open_input

    criteria = Criteria(column=column, prompt=prompt)
    reader = open_input(source, layout=reading.layout())
    check_columns(reader.schema, criteria)
    for batch in reader:
        yield from read_asks(batch, criteria)[0].drop_null().to_pylist()


def _print(row: dict[str, Any]) -> None:
    """Print an answer: a line of facts, then its texts."""
    from rich.console import Console
    from rich.text import Text

    console = Console()
    print(_facts(row))
    for name in _TEXTS:
        if row[name] is None:
            continue
        if not console.is_terminal:
            print(textwrap.indent(f"{name}: {row[name]}", "    ").replace("  ", "", 1))
            continue
        # What an answer holds is not to steer the terminal.
        line = Text(f"  {name}: {''.join(filter(str.isprintable, ' '.join(row[name].split())))}")
        line.truncate(console.width, overflow="ellipsis")
        print(line.plain)


def _facts(row: dict[str, Any]) -> str:
    """Return what is known of an answer beside its texts, in one line."""
    from leeroo.engine.money import usd

    facts = [row["created"][:16].replace("T", " "), row["expert"] or "-", f"run {(row['run'] or '-')[:_RUN_SHOWN]}"]
    if row["prompt_tokens"] is not None and row["completion_tokens"] is not None:
        facts.append(f"{row['prompt_tokens']:,} + {row['completion_tokens']:,} tokens")
    if row["list_cost_usd"] is not None:
        facts.append(usd(row["list_cost_usd"]))
    if row["latency_ms"] is not None:
        facts.append(f"{row['latency_ms']:,.0f} ms")
    if row["finish_reason"] not in (None, "stop"):
        facts.append(row["finish_reason"])
    return "  ".join(facts)
