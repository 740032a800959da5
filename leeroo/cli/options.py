"""The options that several commands share, each with the same words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

EXIT_ROWS_FAILED, EXIT_USAGE = 1, 2

POOL = "Who answers"
MONEY = "Money and time"
ROWS = "Rows"
INPUT = "Form of the input"

# Options as Python writes them, in errors of the engine: `prefix=`, or their whole name with an underscore.
_IN_PYTHON = re.compile(
    r"(?<!['\w])(?:([a-z]+(?:_[a-z]+)*)=(?![=\w'\"])|(max_cost_usd|cost_weight|latency_weight|on_error)\b)"
)


def in_options(message: str) -> str:
    """Return an error of the engine with the options as the command line writes them.

    >>> in_options("the output would have two columns 'answer': give the new ones a prefix=")
    "the output would have two columns 'answer': give the new ones a --prefix"
    """
    return _IN_PYTHON.sub(lambda found: "--" + (found[1] or found[2]).replace("_", "-"), message)


Input = Annotated[
    str,
    typer.Argument(
        metavar="INPUT",
        help="Parquet, CSV or JSON lines (.gz and .zst too): a file, folder, glob in quotes, URL, or - for stdin.",
    ),
]
Database = Annotated[Path | None, typer.Option("--db", help="DuckDB database file; in memory without.")]
Out = Annotated[
    Path,
    typer.Option(
        "--out",
        help="Where the table goes: .parquet, .csv, .tsv, .jsonl, a folder of Parquet parts, or - for JSONL on stdout.",
    ),
]
Column = Annotated[str, typer.Option("--column", help="The column with the questions.", rich_help_panel=ROWS)]
PoolFile = Annotated[
    Path | None,
    typer.Option(
        "--pool", help="Pool file (TOML) with the experts; the embedded local pool without.", rich_help_panel=POOL
    ),
]
RouterDir = Annotated[
    Path | None,
    typer.Option("--router", help="Folder of a trained router (see leeroo train).", rich_help_panel=POOL),
]
StoreDir = Annotated[
    Path | None,
    typer.Option(
        "--store", help="Folder of the answer store: what stands there is not paid for again.", rich_help_panel=ROWS
    ),
]
Budget = Annotated[
    float | None,
    typer.Option("--max-cost-usd", help="Spend at most this on the whole table.", rich_help_panel=MONEY),
]
CostWeight = Annotated[
    float,
    typer.Option(
        "--cost-weight", help="Score points that one dollar is worth; instead of a budget.", rich_help_panel=MONEY
    ),
]
LatencyWeight = Annotated[
    float, typer.Option("--latency-weight", help="Score points that one second is worth.", rich_help_panel=MONEY)
]
Private = Annotated[
    str | None,
    typer.Option("--private-column", help="Rows with true here never leave local experts.", rich_help_panel=POOL),
]
Pinned = Annotated[str | None, typer.Option("--expert", help="Ask this expert for every row.", rich_help_panel=POOL)]
Prefix = Annotated[
    str, typer.Option("--prefix", help="Goes before the names of the added columns.", rich_help_panel=ROWS)
]
OnError = Annotated[
    Literal["null", "fail"],
    typer.Option("--on-error", help="A row that fails is NULL with its error, or fails the run.", rich_help_panel=ROWS),
]
OnExpertDown = Annotated[
    Literal["next", "fail"],
    typer.Option(
        "--on-expert-down",
        help="Rows of an expert that cannot be reached go to the next best, or the run fails.",
        rich_help_panel=POOL,
    ),
]
Limit = Annotated[int | None, typer.Option("--limit", min=0, help="Only the first N rows.", rich_help_panel=ROWS)]
ProgressBar = Annotated[bool, typer.Option("--progress/--no-progress", help="Show a progress bar on a terminal.")]
Where = Annotated[
    Literal["local", "ray"],
    typer.Option(
        "--engine",
        help="Ask models here, or through actors of the Ray cluster of RAY_ADDRESS (one of its own without).",
        rich_help_panel=POOL,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]
Format = Annotated[
    Literal["parquet", "csv", "tsv", "jsonl", "json"] | None,
    typer.Option("--format", help="What INPUT holds. Default: as its suffix or content says.", rich_help_panel=INPUT),
]
Delimiter = Annotated[
    str | None,
    typer.Option(
        "--delimiter", help="Separates values of CSV. Default: a comma, in .tsv a tab.", rich_help_panel=INPUT
    ),
]
Header = Annotated[
    bool,
    typer.Option(
        "--header/--no-header",
        help="CSV starts with the names of its columns.",
        rich_help_panel=INPUT,
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option("--encoding", help="Of CSV and JSON, such as latin-1. Default: utf-8.", rich_help_panel=INPUT),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="The output may replace an input, once it is whole.", rich_help_panel=ROWS)
]
