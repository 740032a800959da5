"""The options that several commands share, in groups, each with the same words.

A command takes a group as one dataclass, and `grouped` shows its fields to typer as options. This module knows nothing
of what a command does with them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    import pyarrow as pa

    from leeroo.engine.tables import Layout

EXIT_ROWS_FAILED, EXIT_USAGE = 1, 2

POOL = "Who answers"
PROMPT = "Prompt"
MONEY = "Money and time"
ROWS = "Rows"
INPUT = "Form of the input"
SHOWN = "Progress and logs"
LEARN = "Learning"


Input = Annotated[
    str,
    typer.Argument(
        metavar="INPUT",
        help="Parquet, CSV or JSON lines (.gz and .zst too): a file, folder, glob in quotes, URL, or - for stdin.",
    ),
]
Out = Annotated[
    Path,
    typer.Option(
        help="Output: .parquet, .csv, .tsv, .jsonl, a folder of Parquet parts, or - for JSON lines on standard output."
    ),
]
Database = Annotated[Path | None, typer.Option(help="DuckDB database file.", show_default="in memory")]
_DATA = typer.Option(
    "--data",
    metavar="DATA",
    help="Recorded outcomes: a CSV, Parquet or JSON lines file (see leeroo outcomes check), or a data folder. Repeat "
    "for several.",
)
DataFolders = Annotated[list[str], _DATA]
OptionalDataFolders = Annotated[list[str] | None, _DATA]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="COLUMN=NAME",
        help="Meaning of a column in a file of outcomes, such as correct=score; repeat for several.",
        show_default="guessed",
    ),
]
Column = Annotated[str, typer.Option(help="Column with the questions.", rich_help_panel=ROWS)]
PoolFile = Annotated[
    Path | None,
    typer.Option(
        help="Pool file (TOML) with the experts.",
        show_default="embedded local pool",
        envvar="LEEROO_POOL",
        rich_help_panel=POOL,
    ),
]
RouterFolder = Annotated[
    Path | None, typer.Option(help="Folder of a trained router (see leeroo train).", rich_help_panel=POOL)
]
RouterOfRun = Annotated[
    Path | None,
    typer.Option(
        help="Folder of a trained router (see leeroo train), or 'none'.",
        show_default="shipped router that knows models of the pool",
        envvar="LEEROO_ROUTER",
        rich_help_panel=POOL,
    ),
]
StoreFolder = Annotated[
    Path | None,
    typer.Option(
        help="Folder of the answer store; stored answers are not paid for again.",
        show_default="LEEROO_STORE, or the user's data folder",
        rich_help_panel=ROWS,
    ),
]
CostWeight = Annotated[
    float, typer.Option(help="Score points that equal one dollar; in place of a budget.", rich_help_panel=MONEY)
]
Private = Annotated[
    str | None,
    typer.Option(help="Column that marks private rows, which never leave local experts.", rich_help_panel=POOL),
]
Pinned = Annotated[str | None, typer.Option(help="Expert that answers every row.", rich_help_panel=POOL)]
OnError = Annotated[
    Literal["null", "fail"],
    typer.Option(help="A row that fails is NULL with its error, or the run fails.", rich_help_panel=ROWS),
]
OnExpertDown = Annotated[
    Literal["next", "fail"],
    typer.Option(
        help="Rows of an expert that cannot be reached go to the next best, or the run fails.", rich_help_panel=POOL
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Let the output replace an input once it is complete.", rich_help_panel=ROWS)
]
Where = Annotated[
    Literal["local", "ray"],
    typer.Option(
        help="Run models on this machine, or on the Ray cluster of RAY_ADDRESS.",
        rich_help_panel=POOL,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]
Seed = Annotated[int, typer.Option(help="Random seed.")]
Page = Annotated[Path | None, typer.Option(metavar="F.html", help="Write the report as a page to this file.")]


@dataclass(frozen=True)
class EngineOptions:
    """Who answers, for how much, and where answers are kept."""

    pool: PoolFile = None
    router: RouterOfRun = None
    max_cost_usd: Annotated[
        float | None, typer.Option(help="Budget of the whole table in USD.", rich_help_panel=MONEY)
    ] = None
    cost_weight: CostWeight = 0.0
    latency_weight: Annotated[
        float, typer.Option(help="Score points that equal one second.", rich_help_panel=MONEY)
    ] = 0.0
    deadline: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Longest wait for batches (90m, 2h, 1d); open rows then go to other experts.",
            rich_help_panel=MONEY,
        ),
    ] = None
    store: StoreFolder = None


@dataclass(frozen=True)
class PromptOptions:
    """What every row is sent with."""

    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Prompt with columns in braces: 'Summarise in one sentence: {text}'. Columns of bytes are images; "
            "{photo:image} shows those that a column of paths names.",
            show_default="the column alone",
            rich_help_panel=PROMPT,
        ),
    ] = None
    system: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="System text, in place of that of the experts.", rich_help_panel=PROMPT),
    ] = None
    max_tokens: Annotated[
        int | None,
        typer.Option(min=1, help="Longest answer in tokens, in place of that of the experts.", rich_help_panel=PROMPT),
    ] = None
    temperature: Annotated[
        float | None,
        typer.Option(
            min=0, help="Temperature; above 0, answers are sampled.", show_default="0", rich_help_panel=PROMPT
        ),
    ] = None
    image_folder: Annotated[
        Path | None,
        typer.Option(
            help="Folder below which files named by {column:image} are read.",
            show_default="current folder",
            rich_help_panel=PROMPT,
        ),
    ] = None
    allow_urls: Annotated[
        bool,
        typer.Option("--allow-urls", help="Fetch web addresses named by {column:image}.", rich_help_panel=PROMPT),
    ] = False


@dataclass(frozen=True)
class ExpertOptions:
    """Which experts a row may go to."""

    private_column: Private = None
    expert: Pinned = None
    on_expert_down: OnExpertDown = "next"


@dataclass(frozen=True)
class LearnOptions:
    """How a batch teaches whom to ask."""

    gold: Annotated[
        str | None,
        typer.Option(help="Column with right answers; most of its rows may be empty.", rich_help_panel=LEARN),
    ] = None
    judge: Annotated[
        str | None,
        typer.Option(
            help="Expert that judges answers which cannot be compared.",
            show_default="the most expensive one",
            rich_help_panel=LEARN,
        ),
    ] = None
    seed: Annotated[int, typer.Option(help="Random seed.", rich_help_panel=LEARN)] = 0


@dataclass(frozen=True)
class FormatOptions:
    """How a file is laid out."""

    format: Annotated[
        Literal["parquet", "csv", "tsv", "jsonl", "json"] | None,
        typer.Option(help="Format of the input.", show_default="by suffix or content", rich_help_panel=INPUT),
    ] = None
    delimiter: Annotated[
        str | None,
        typer.Option(help="Separator of CSV values.", show_default="comma; tab in .tsv", rich_help_panel=INPUT),
    ] = None
    header: Annotated[
        bool,
        typer.Option(
            "--header/--no-header", help="CSV has a row with the names of its columns.", rich_help_panel=INPUT
        ),
    ] = True
    encoding: Annotated[
        str | None,
        typer.Option(help="Encoding of CSV and JSON, such as latin-1.", show_default="utf-8", rich_help_panel=INPUT),
    ] = None

    def layout(self) -> Layout:
        """Return the layout as the engine takes it."""
        from leeroo.engine.tables import Layout

        return Layout(self.format, self.delimiter, self.header, self.encoding)


@dataclass(frozen=True)
class InputOptions(FormatOptions):
    """How the input is read."""

    limit: Annotated[int | None, typer.Option(min=0, help="Only the first N rows.", rich_help_panel=ROWS)] = None

    def open(self, source: str) -> pa.RecordBatchReader:
        """Open the input."""
        from leeroo.engine.tables import open_input

        return open_input(source, self.limit, self.layout())


@dataclass(frozen=True)
class ShowOptions:
    """What a command prints on standard error, and its log file."""

    progress: Annotated[
        bool,
        typer.Option(
            "--progress/--no-progress",
            help="Show a bar on a terminal, and elsewhere a line once a minute.",
            rich_help_panel=SHOWN,
        ),
    ] = True
    quiet: Annotated[
        bool,
        typer.Option("--quiet", help="Print only warnings and errors on standard error.", rich_help_panel=SHOWN),
    ] = False
    log_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write each line, with its time, to this file.", rich_help_panel=SHOWN),
    ] = None
    log_format: Annotated[
        Literal["text", "json"],
        typer.Option(help="Form of the lines on standard error and in the log file.", rich_help_panel=SHOWN),
    ] = "text"


@dataclass(frozen=True)
class OutputOptions:
    """How the output is written."""

    prefix: Annotated[str, typer.Option(help="Prefix for the names of new columns.", rich_help_panel=ROWS)] = ""
    overwrite: Overwrite = False
