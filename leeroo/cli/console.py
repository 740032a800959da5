"""What people see on a terminal: the summary of a run, tables."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb
import typer
from rich.console import Console
from rich.table import Table

from leeroo.cli.options import EXIT_ROWS_FAILED, PoolOptions
from leeroo.engine.answer import Engine, Place, Progress, open_engine
from leeroo.engine.errors import UsageError
from leeroo.engine.money import plain_usd, usd
from leeroo.engine.paths import default_store
from leeroo.engine.tables import input_paths
from leeroo.engine.tables.outputs import Keep, check_file, is_standard_output
from leeroo.udfs.bar import Bar

# How many reasons of failures are shown.
_REASONS = 5


@contextlib.contextmanager
def opened(
    pool: PoolOptions, store: Path | None, progress: bool, place: Place = "local"
) -> Iterator[tuple[Engine, Bar]]:
    """Open an engine that shows its progress."""
    bar = Bar(shown=progress)
    try:
        with open_engine(pool.pool, pool.router, store, bar.show, place) as engine:
            yield engine, bar
    finally:
        bar.close()


def keeping(store: Path | None, *sources: str, overwrite: bool = False) -> Keep:
    """What an output may not take the place of: the answer store, and the files that the command reads."""
    inputs = [path for source in sources for path in input_paths(source)]
    return Keep(inputs, store or default_store(), overwrite)


def check_drawn(store: Path | None = None, *, page: Path | None = None, plot: Path | None = None) -> None:
    """Check that a page and a picture can be drawn and written, before anything is spent or computed.

    Raises:
        OutputError: one of them cannot be written there.
        UsageError: matplotlib is not installed.
    """
    for file, suffix in ((page, ".html"), (plot, ".svg")):
        if file is not None:
            from leeroo.reports.plot import check_plotting

            check_plotting()
            check_file(file, suffix, Keep(store=store))


def check_alone(out: Path, *, as_json: bool) -> None:
    """Check that a table on standard output has it for itself.

    Raises:
        UsageError: JSON would go there too.
    """
    if as_json and is_standard_output(out):
        raise UsageError("--json and --out - both print on standard output: name a file with --out")


def aside(out: Path | None) -> contextlib.AbstractContextManager[object]:
    """Print on standard error what is for people, where the table itself goes to standard output."""
    return contextlib.redirect_stdout(sys.stderr) if is_standard_output(out) else contextlib.nullcontext()


def all_well(bar: Bar, failed: int) -> bool:
    """Whether every row has its answer and every expert was reached; says which ones were not."""
    for name, why in bar.down.items():
        bar.say(f"{name} was never reached: {why}")
    return not failed and not bar.down


def finish(bar: Bar, failed: int, *written: Path | None) -> None:
    """Print which files were written, and end with exit code 1 where a row failed or an expert was not reached."""
    for file in written:
        if file is not None:
            typer.echo(f"written: {file}", err=True)
    if not all_well(bar, failed):
        raise typer.Exit(EXIT_ROWS_FAILED)


def summary(progress: Progress, out: Path, budget_usd: float | None) -> None:
    """Print what a run did: rows, experts, spend, and where the table is."""
    console = Console(stderr=True)
    table = Table(
        "expert", "rows", "tokens in", "tokens out", "cost USD", box=None, header_style="bold", pad_edge=False
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for name, did in sorted(progress.experts.items(), key=lambda item: -item[1].rows):
        table.add_row(
            name, f"{did.rows:,}", f"{did.prompt_tokens:,}", f"{did.completion_tokens:,}", plain_usd(did.cost_usd)
        )
    if progress.experts:
        console.print(table)
    for line in _summary_lines(progress, out, budget_usd):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _summary_lines(progress: Progress, out: Path, budget_usd: float | None) -> list[str]:
    notes = [
        f"{count:,} {what}"
        for count, what in (
            (progress.from_store, "from the store"),
            (progress.duplicates, "asked before"),
            (progress.failed, "failed"),
        )
        if count
    ]
    within = "" if budget_usd is None else f" of {usd(budget_usd)}"
    lines = [f"{progress.rows:,} rows" + (f" ({', '.join(notes)})" if notes else "")]
    lines += [f"failed: {count:,} x {error}" for error, count in progress.errors.items()]
    lines += [
        f"spent {usd(progress.cost_usd)}{within}; the list cost of all rows is {usd(progress.list_cost_usd)}",
        f"{progress.seconds:.1f} s{_shared(progress)}: {out}",
    ]
    return lines


def commonest(errors: Iterable[str | None]) -> dict[str, int]:
    """The commonest reasons why rows failed, and how many rows each has."""
    return dict(Counter(error for error in errors if error is not None).most_common(_REASONS))


def print_failures(errors: Sequence[str | None]) -> None:
    """Print how many rows failed and the commonest reasons, where any did."""
    reasons = commonest(errors)
    if reasons:
        console = Console(stderr=True)
        failed = len(errors) - errors.count(None)
        for line in [f"{failed:,} of {len(errors):,} rows failed:", *(f"{n:,} x {why}" for why, n in reasons.items())]:
            console.print(line, markup=False, highlight=False, soft_wrap=True)


def _shared(progress: Progress) -> str:
    share = progress.cached_share or 0.0
    return f", {share:.0%} of the prompt tokens shared with other rows and computed once" if share >= 0.01 else ""


def print_experts(experts: list[dict[str, Any]]) -> None:
    """Print the experts as a table, and below it why some of them cannot run here."""
    console = Console()
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("expert", "model", "backend", "USD per M in / out", "price from", "place", "runs"):
        table.add_column(name, overflow="fold", no_wrap=name in ("expert", "backend", "place", "runs"))
    for e in experts:
        table.add_row(
            e["expert"] + (" *" if e["default"] else ""),
            e["model"],
            e["backend"],
            f"{e['usd_per_m_input']:g} / {e['usd_per_m_output']:g}",
            e["price_source"],
            e["location"],
            "no" if e["unavailable"] else "yes",
        )
    console.print(table)
    console.print("* the pool's default", highlight=False)
    for e in experts:
        if e["sent_to"]:
            console.print(f"{e['expert']}: rows go to {e['sent_to']}", markup=False, highlight=False, soft_wrap=True)
        if e["unavailable"]:
            console.print(f"{e['expert']}: {e['unavailable']}", markup=False, highlight=False, soft_wrap=True)


def print_relation(relation: duckdb.DuckDBPyRelation) -> None:
    """Print a result as DuckDB's own shell would, as wide as the terminal."""
    relation.show(max_width=Console().width, max_rows=40)
