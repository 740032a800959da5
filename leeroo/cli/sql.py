"""The commands of SQL: sql, explain."""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from leeroo.cli.commands import criteria, grouped, logged
from leeroo.cli.log import current
from leeroo.cli.options import (
    LEARN,
    AsJson,
    Column,
    Database,
    EngineOptions,
    InputOptions,
    OnError,
    OnExpertDown,
    Overwrite,
    Private,
    PromptOptions,
)
from leeroo.engine.errors import UsageError

if TYPE_CHECKING:
    from duckdb import DuckDBPyRelation

    from leeroo.engine.answer import Criteria
    from leeroo.engine.batch.explain import Estimate
    from leeroo.udfs.bar import Bar
    from leeroo.udfs.connection import Connection

_ROW = "    "  # rows of the tables in the text of an estimate begin with it, and no other lines
_NO_LIMIT = 2**31 - 1  # the largest width and number of rows that DuckDB takes


@logged
def sql(
    *,
    statement: Annotated[
        str, typer.Argument(metavar="STATEMENT", help="SQL for DuckDB; - reads it from standard input.")
    ],
    db: Database = None,
    out: Annotated[Path | None, typer.Option(help="Write the result to this file instead of printing it.")] = None,
    setup: EngineOptions,
    on_error: OnError = "null",
    on_expert_down: OnExpertDown = "next",
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Run SQL with leeroo_answer and the other SQL functions; prints the rows of the last statement.

    All questions of a statement are answered as one batch. Exit code 1 says that rows have no answer.
    """
    from leeroo.cli.console import check_out, finish
    from leeroo.engine.tables import write_table

    text = sys.stdin.read() if statement == "-" else statement
    unanswered: list[str] = []
    if out is not None:
        check_out(out, setup.store, *_named_in(text), overwrite=overwrite, as_json=as_json)
    asking = {"on_error": on_error, "on_expert_down": on_expert_down, "on_warning": unanswered.append}
    with _database(db, setup, **asking) as (con, bar):
        result, found = con.sql(text), dict[str, Any]()
        bar.close()
        if out is not None and result is not None:
            rows = write_table(result.to_arrow_reader(), out)
            current().say(f"{rows:,} rows written: {out}")
            found = {"written": rows, "out": str(out)}
        elif as_json:
            found = {"rows": [] if result is None else _json_rows(result)}
        elif result is not None:
            _show(result)
    if as_json:
        print(json.dumps({**found, "unanswered": unanswered}))
    for line in unanswered:
        current().warn(line)
    finish(bar, len(unanswered))


@grouped
def explain(
    *,
    what: Annotated[
        str, typer.Argument(metavar="STATEMENT|INPUT", help="SQL for DuckDB, or a table as leeroo run takes it.")
    ],
    db: Database = None,
    column: Column = "question",
    asking: PromptOptions,
    setup: EngineOptions,
    private_column: Private = None,
    learn: Annotated[
        bool,
        typer.Option("--learn", help="Also estimate what learning would send and cost.", rich_help_panel=LEARN),
    ] = False,
    reading: InputOptions,
    as_json: AsJson = False,
) -> None:
    """Estimate the rows, experts, tokens, cost and time of a statement or a run; generates nothing.

    An argument with spaces that names no file is SQL.
    """
    if len(what.split()) > 1 and not os.path.exists(what):  # not Path.exists: a statement may be no path at all
        if asking != PromptOptions():
            raise UsageError(
                "--prompt, --system, --max-tokens and --temperature are for a table: write them into the SQL"
            )
        with _database(db, setup, learn=learn) as (con, _):
            plan = con.explain(what)
            found = _Estimates(list(plan.estimates), str(plan), plan.as_dict())
    else:
        found = _explain_table(
            what, reading, criteria(setup, asking, column=column, private_column=private_column), setup, learn=learn
        )
    if as_json:
        print(json.dumps(found.as_dict()))
    else:
        _print_estimates(found)


@dataclass(frozen=True)
class _Estimates:
    """Estimates by what they are of, and as text."""

    estimates: list[tuple[str, Estimate]]
    text: str
    more: dict[str, Any] = field(default_factory=dict)  # what there is to say of a statement

    def as_dict(self) -> dict[str, Any]:
        """Return them for JSON."""
        return {"estimates": [{"of": name, **each.as_dict()} for name, each in self.estimates], **self.more}


def _explain_table(
    source: str, reading: InputOptions, wanted: Criteria, setup: EngineOptions, *, learn: bool
) -> _Estimates:
    from leeroo.cli.console import open_with_progress
    from leeroo.engine.jobs.learn.learn import foresee_pilot

    with open_with_progress(setup) as (engine, _):
        reader, learning = reading.open(source), list[str]()
        if learn:
            table = reader.read_all()  # standard input can be read only once
            learning = [foresee_pilot(engine, table.to_reader(), wanted)]
            reader = table.to_reader()
        estimate = replace(engine.explain(reader, wanted), learning=tuple(learning))
    return _Estimates([(source, estimate)], f"{source}: {estimate}")


@contextlib.contextmanager
def _database(db: Path | None, setup: EngineOptions, **more: Any) -> Iterator[tuple[Connection, Bar]]:
    """Open a database on a connection that shows its progress; DuckDB's errors are the user's."""
    import duckdb

    from leeroo.udfs.bar import Bar
    from leeroo.udfs.register import connect

    bar = Bar(shown=current().bar, lines=current())
    options: dict[str, Any] = {**asdict(setup), **more}
    try:
        with connect(str(db) if db else ":memory:", on_progress=bar.show, **options) as con:
            yield con, bar
    except duckdb.Error as error:
        raise UsageError(_in_short(error)) from error
    finally:
        bar.close()


def _json_rows(result: DuckDBPyRelation) -> list[dict[str, Any]]:
    """Return rows as JSON has them, as they would be written to a file."""
    from leeroo.engine.tables import write_table

    with tempfile.TemporaryDirectory(prefix="leeroo-") as place:
        file = Path(place) / "rows.jsonl"
        write_table(result.to_arrow_reader(), file)
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def _print_estimates(found: _Estimates) -> None:
    """Print estimates: on a terminal their tables take its width, elsewhere they are text."""
    from rich.console import Console

    from leeroo.reports.report import Table, columns
    from leeroo.reports.terminal import print_table, say

    if not Console().is_terminal:
        print(found.text)
        return
    names = columns(
        "expert | wave: count | backend | prompts: count | tokens in: count | tokens out: count | cost USD: usd"
        " | at most: usd | time"
    )
    tables = [
        Table("", names, [(part.expert, part.wave, *part.cells[2:]) for part in estimate.parts])
        for _, estimate in found.estimates
    ]
    within = False
    for line in found.text.splitlines():
        is_row = line.startswith(_ROW)
        if is_row and not within:
            print_table(tables.pop(0))
        elif not is_row:
            say(line)
        within = is_row


def _show(result: DuckDBPyRelation) -> None:
    """Print rows as DuckDB's own shell does: 40 as wide as the terminal, and where there is none all of them whole."""
    from rich.console import Console

    console = Console()
    if console.is_terminal:
        result.show(max_width=console.width, max_rows=40)
    else:
        result.show(max_width=_NO_LIMIT, max_rows=_NO_LIMIT, max_col_width=_NO_LIMIT)


def _in_short(error: Exception) -> str:
    """Return DuckDB's message, its candidates, and where in the statement it points to."""
    first, *rest = str(error).strip().split("\n\n")
    pointer = [part for part in rest if part.startswith("LINE ")][:1]
    return "\n".join([" ".join(first.splitlines()), *pointer])


def _named_in(statement: str) -> list[str]:
    """Return the texts in a statement that look like files; it may read some of them."""
    return re.findall(r"'([^']*\.\w+)'", statement)
