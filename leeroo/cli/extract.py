"""The commands that read facts out of texts: extract and decide."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from leeroo.cli.commands import criteria, logged, names
from leeroo.cli.options import (
    PROMPT,
    ROWS,
    AsJson,
    EngineOptions,
    ExpertOptions,
    Input,
    InputOptions,
    Out,
    OutputOptions,
)
from leeroo.engine.errors import UsageError

_Column = Annotated[str, typer.Option(help="Column with the text.", rich_help_panel=ROWS)]
_Prompt = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT",
        help="Prompt with columns in braces: 'From {sender}: {text}'.",
        show_default="the column alone",
        rich_help_panel=PROMPT,
    ),
]
_System = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Instructions beside the schema.", rich_help_panel=PROMPT)
]


@logged
def extract(
    *,
    source: Input,
    schema: Annotated[
        str,
        typer.Option(
            metavar="F.py:CLASS|F.json|FIELDS",
            help="Pydantic model, dataclass or Arrow schema in a Python file, which is run; JSON schema; or fields: "
            "'name VARCHAR, due DATE'.",
        ),
    ],
    out: Out,
    column: _Column = "text",
    prompt: _Prompt = None,
    system: _System = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest answer in tokens.", rich_help_panel=PROMPT)
    ] = None,
    setup: EngineOptions,
    experts: ExpertOptions,
    as_json: AsJson = False,
    reading: InputOptions,
    writing: OutputOptions,
) -> None:
    """Extract typed fields from every row of a table.

    Each field is a column of its type, empty where the text does not say it. A JSON schema gives one column of JSON.
    """
    from leeroo.cli.console import check_out, conclude, open_with_progress
    from leeroo.engine.jobs.records.files import read_option
    from leeroo.engine.jobs.records.wanted import extract_wanted
    from leeroo.engine.tables import write_table
    from leeroo.reports.records.report import extract_report

    check_out(out, setup.store, source, overwrite=writing.overwrite, as_json=as_json)
    wanted = read_option(schema)
    rules = criteria(setup, experts, writing, column=column, prompt=prompt, system=system, max_tokens=max_tokens)
    reader = reading.open(source)
    with open_with_progress(setup) as (engine, bar), engine.delivery():
        rows = extract_wanted(engine, reader, wanted, rules)
        write_table(rows.to_reader(), out)
    report = extract_report(rows, wanted, writing.prefix, setup.max_cost_usd)
    conclude(bar, report, rows.column(f"{writing.prefix}error").to_pylist(), out, as_json=as_json)


@logged
def decide(
    *,
    source: Input,
    question: Annotated[
        list[str],
        typer.Option(
            metavar="NAME=A,B,C", help="Question with its choices, such as urgent=yes,no; repeat for several."
        ),
    ],
    out: Out,
    column: _Column = "text",
    prompt: _Prompt = None,
    system: _System = None,
    setup: EngineOptions,
    experts: ExpertOptions,
    as_json: AsJson = False,
    reading: InputOptions,
    writing: OutputOptions,
) -> None:
    """Decide several questions about every row of a table in one request, each with a confidence.

    Choices that are all whole numbers give a column of numbers.
    """
    from leeroo.cli.console import check_out, conclude, open_with_progress
    from leeroo.engine.jobs.records.decided import decide_rows, write_questions
    from leeroo.engine.tables import write_table
    from leeroo.reports.records.report import decide_report

    check_out(out, setup.store, source, overwrite=writing.overwrite, as_json=as_json)
    asked = _questions(question)
    wanted = write_questions(asked)
    rules = criteria(setup, experts, writing, column=column, prompt=prompt, system=system)
    reader = reading.open(source)
    with open_with_progress(setup) as (engine, bar), engine.delivery():
        rows = decide_rows(engine, reader, wanted, rules)
        write_table(rows.to_reader(), out)
    report = decide_report(rows, list(asked), writing.prefix, setup.max_cost_usd)
    conclude(bar, report, rows.column(f"{writing.prefix}error").to_pylist(), out, as_json=as_json)


def _questions(given: list[str]) -> dict[str, list[Any]]:
    """Return the questions of the command line, with their choices."""
    found: dict[str, list[Any]] = {}
    for each in given:
        name, equals, choices = each.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--question takes a name and its choices, as in urgent=yes,no, but was given {each!r}")
        if name.strip() in found:
            raise UsageError(f"--question has {name.strip()!r} twice")
        found[name.strip()] = _values(names("--question", choices, "choices"))
    return found


def _values(texts: list[str]) -> list[Any]:
    """Return choices as whole numbers where all of them are, else as they are."""
    whole = all(text.isascii() and text.removeprefix("-").isdigit() for text in texts)
    return [json.loads(text) for text in texts] if whole and not any(_padded(text) for text in texts) else list(texts)


def _padded(text: str) -> bool:
    """Return whether a number begins with a zero too many, as in 007."""
    digits = text.removeprefix("-")
    return len(digits) > 1 and digits.startswith("0")
