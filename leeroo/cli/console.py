"""Steps that commands share: open the engine, check outputs, and print what was done."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from leeroo.cli.log import current
from leeroo.cli.options import EXIT_ROWS_FAILED, EngineOptions
from leeroo.engine.answer import Engine, Place, Progress, open_engine
from leeroo.engine.errors import UsageError
from leeroo.engine.money import usd
from leeroo.engine.paths import default_store
from leeroo.engine.pool_prices import describe_prices
from leeroo.engine.tables import check_output, input_paths
from leeroo.engine.tables.outputs import Keep, check_file, is_standard_output
from leeroo.interrupts import explain_end, interrupted
from leeroo.reports.report import Report, Table, columns, commonest_reasons
from leeroo.reports.terminal import print_report
from leeroo.udfs.bar import Bar

# A budget that saves less is not worth a line.
_WORTH_SAVING_USD = 0.01


@contextlib.contextmanager
def open_with_progress(setup: EngineOptions, place: Place = "local") -> Iterator[tuple[Engine, Bar]]:
    """Open an engine that shows its progress, as the log of the command says."""
    bar = Bar(shown=current().bar, lines=current())
    try:
        with open_engine(setup.pool, setup.router, setup.store, bar.show, place) as engine:
            try:
                yield engine, bar
            except BaseException:
                if interrupted():
                    current().note("interrupted")
                    _explain_open_batches(engine)
                raise
    finally:
        bar.close()


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Show on a terminal that a job without rows is under way, and for how long; its lines stand above."""
    from rich.console import Console
    from rich.progress import Progress as Columns
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not current().bar or not console.is_terminal:
        yield
        return
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Columns(*columns, console=console, transient=True) as shown:
        shown.add_task(what, total=None)
        yield


def _explain_open_batches(engine: Engine) -> None:
    """Have the line about an interrupt say that batches are open."""
    if batches := engine.store.batches():
        rows = sum(batch["left"] for batch in batches)
        explain_end(
            f"{rows:,} rows are in {len(batches):,} open batch{'es' * (len(batches) > 1)}: the same command collects"
            " them, leeroo status --cancel all with its --pool cancels them"
        )


def show(report: Report, *, as_json: bool) -> None:
    """Print a report: as one JSON object for programs, or as tables for people."""
    if as_json:
        print(json.dumps(report.data, allow_nan=False))
    else:
        print_report(report)


def check_out(out: Path, store: Path | None, *sources: str, overwrite: bool = False, as_json: bool = False) -> Keep:
    """Check that a table can be written, before anything is spent; return what no output may replace.

    That is the answer store, and the files that the command reads.

    Raises:
        OutputError: it cannot be written there.
        UsageError: JSON would go to standard output too.
    """
    inputs = [path for source in sources for path in input_paths(source)]
    keep = Keep(inputs, store or default_store(), overwrite)
    check_output(out, keep)
    if as_json and is_standard_output(out):
        raise UsageError("--json and --out - both print on standard output: name a file with --out")
    return keep


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


def conclude(
    bar: Bar,
    report: Report,
    errors: Sequence[str | None],
    out: Path | None,
    *pages: Path | None,
    as_json: bool,
    remark: str | None = None,
) -> None:
    """Print the report of a job and why rows failed, and end as `finish` does.

    What is for people goes to standard error where the table itself goes to standard output.
    """
    if as_json or not current().quiet:
        with contextlib.redirect_stdout(sys.stderr) if is_standard_output(out) else contextlib.nullcontext():
            show(report, as_json=as_json)
    if not as_json:
        print_failures(errors)
        if remark is not None:
            current().say(remark)
    finish(bar, len(errors) - errors.count(None), out, *pages)


def finish(bar: Bar, failed: int, *written: Path | None) -> None:
    """Print which files were written, and end with exit code 1 where a row failed or an expert was not reached."""
    for file in written:
        if file is not None:
            current().say(f"written: {file}")
    for name, why in bar.down.items():
        current().warn(f"{name} was never reached: {why}")
    if failed or bar.down:
        raise typer.Exit(EXIT_ROWS_FAILED)


def run_facts(progress: Progress, out: Path) -> dict[str, Any]:
    """Return what a run did, for programs."""
    counts = {name: getattr(progress, name) for name in ("rows", "failed", "from_store", "duplicates")}
    costs = {name: getattr(progress, name) for name in ("cost_usd", "list_cost_usd", "seconds")}
    experts = {name: asdict(did) for name, did in progress.experts.items()}
    return {**counts, **costs, "errors": dict(progress.errors), "experts": experts, "out": str(out)}


def summary(progress: Progress, out: Path, budget_usd: float | None) -> None:
    """Print what a run did: rows, experts, spend, and where the table is."""
    experts = sorted(progress.experts.items(), key=lambda item: -item[1].rows)
    table = Table(
        "",
        columns("expert | rows: count | tokens in: count | tokens out: count | cost USD: usd"),
        [(name, did.rows, did.prompt_tokens, did.completion_tokens, did.cost_usd) for name, did in experts],
    )
    if experts:
        current().table(table)
    for line in _summary_lines(progress, out, budget_usd):
        current().say(line)


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
    used = {name: source for name, source in progress.price_sources.items() if name in progress.experts}
    if (prices := describe_prices(used)) is not None:
        lines.append(prices)
    lines += [
        f"spent {usd(progress.cost_usd)}{within}; the list cost of all rows is {usd(progress.list_cost_usd)}",
        f"{progress.seconds:.1f} s{_shared_prefix(progress)}: {out}",
        *_half(progress),
    ]
    return lines


def _half(progress: Progress) -> list[str]:
    """Return a line about what half of the money would bring, where it would save a cent."""
    half = progress.half
    if half is None or half.usd / 2 < _WORTH_SAVING_USD:
        return []
    return [
        f"half of the expected cost would bring a mean predicted score of {half.score_at_half:.2f} instead of"
        f" {half.score:.2f}: --max-cost-usd {half.usd / 2:.2f}"
    ]


def print_failures(errors: Sequence[str | None]) -> None:
    """Print how many rows failed and the commonest reasons, where any did."""
    reasons = commonest_reasons(errors)
    if reasons:
        failed = len(errors) - errors.count(None)
        current().say(f"{failed:,} of {len(errors):,} rows failed:")
        for reason, n in reasons.items():
            current().say(f"{n:,} x {reason}")


def _shared_prefix(progress: Progress) -> str:
    share = progress.cached_share or 0.0
    return f", {share:.0%} of the prompt tokens shared with other rows and computed once" if share >= 0.01 else ""
