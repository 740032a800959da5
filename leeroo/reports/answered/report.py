"""The report of any run: spend and rows by expert, predicted against observed quality, costs, failures, and answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from leeroo.engine.jobs.answered.figures import NO_EXPERT, Answered, Figures
from leeroo.engine.money import usd
from leeroo.reports.answered.plots import plot_calibration, plot_costs, plot_shares
from leeroo.reports.report import Entry, Figure, Listing, Part, Report, Table, cell, columns

# Characters of a question in a table.
_SHOWN = 60


def answers_report(found: Answered, title: str) -> Report:
    """Return what a run did, for a page and in short for a terminal."""
    parts: list[Part | None] = [
        _experts(found),
        _work(found),
        _shares(found),
        _calibration(found),
        _spread(found),
        _costs(found),
        _failures(found),
        _rows(found, "Slowest rows", "The rows whose answers took longest, in milliseconds.", found.slowest),
        _rows(found, "Most expensive rows", "The rows with the highest list cost.", found.priciest),
        _rows(
            found, "Expected to be good, and not", f"The highest {found.predicted}, and a low score.", found.overrated
        ),
        _browse(found),
    ]
    return Report(
        title=title,
        summary=_summary(found),
        parts=[part for part in parts if part is not None],
        notes=_notes(found),
        data=_data(found),
    )


def _summary(found: Answered) -> list[str]:
    totals = found.totals
    rows, failed, blank = totals["rows"], totals["failed"], totals["blank"]
    counts = {"answered": rows - failed - blank, "failed": failed, "without an answer or an error": blank}
    lines = [f"{rows:,} rows: " + ", ".join(f"{n:,} {what}" for what, n in counts.items() if n or what == "answered")]
    if not rows:
        return ["0 rows"]
    free = f"; {totals['unpaid']:,} of the rows cost nothing: their answers were stored, or those of equal rows"
    lines.append(
        f"spent {usd(totals['cost_usd'])}; the list cost of all rows is {usd(totals['list_cost_usd'])}"
        + (free if totals["unpaid"] else "")
    )
    if found.observed:
        lines.append(
            f"observed score {cell(totals['observed'], 'score')} on {totals['scored']:,} rows ({found.observed})"
            f"; mean {found.predicted} {cell(totals['predicted'], 'score')}"
        )
    return lines


def _experts(found: Answered) -> Table:
    if found.steps:
        return Table(
            title="Experts",
            about="Steps that each expert did, and their list cost; plans and joining are not among them.",
            columns=columns("expert | steps: count | failed: count | list cost USD: usd"),
            rows=[(each["expert"], each["rows"], each["failed"], each["list_cost_usd"]) for each in found.experts],
            empty="no step has an expert",
        )
    named = f"expert | rows: count | share %: share | failed: count | cost USD: usd | {_scores(found)}"
    names = ("expert", "rows", "share", "failed", "cost_usd", "predicted", "observed")
    shares = [{**each, "share": each["rows"] / found.totals["rows"]} for each in found.experts]
    about = "Rows that each expert answered, what they cost, and their mean scores."
    return _known("Experts", about, named, names, shares, empty="no row has an expert")


def _work(found: Answered) -> Table | None:
    if found.steps or not found.experts:
        return None
    named = (
        "expert | tokens in: count | tokens out: count | median ms: ms | list cost USD: usd | USD per 1,000 rows: usd"
    )
    names = ("expert", "prompt_tokens", "completion_tokens", "latency_ms", "list_cost_usd", "per_1k")
    rows = [{**each, "per_1k": 1000 * each["list_cost_usd"] / each["rows"]} for each in found.experts]
    about = "The list cost is what the rows cost without stored answers and equal rows."
    return _known("Tokens and time", about, named, names, rows, detail=True)


def _known(title: str, about: str, named: str, names: Sequence[str], rows: Sequence[Figures], **more: Any) -> Table:
    """Return a table of the columns in which something is known, and of failures if there are any."""
    keep = [
        i
        for i, name in enumerate(names)
        if any(row[name] is not None and (name != "failed" or row[name]) for row in rows)
    ]
    listed = columns(named)
    return Table(
        title=title,
        about=about,
        columns=[listed[i] for i in keep],
        rows=[[row[names[i]] for i in keep] for row in rows],
        **more,
    )


def _shares(found: Answered) -> Figure | None:
    about = "The share of the rows and of the list cost of each expert."
    if len(found.experts) < 2 or found.steps:
        return None
    return Figure("Rows and spend", lambda: plot_shares(found.experts), about, wide=True)


def _calibration(found: Answered) -> Figure | None:
    error = found.calibration_error
    if error is None:
        return None
    about = (
        f"The {found.predicted} in ten bins of equal width against the score that was observed ({found.observed}); the "
        f"area of a dot is how many rows there are. Expected calibration error {error:.3f}."
    )
    return Figure("Predicted against observed", lambda: plot_calibration(found.calibration, found.predicted), about)


def _spread(found: Answered) -> Table | None:
    spreads = [("list cost in USD", found.costs, "usd"), ("latency in ms", found.latencies, "ms")]
    there: list[tuple[str, Figures, Any]] = [each for each in spreads if each[1]["rows"]]
    names = ("least", "median", "mean", "p90", "p99", "most")
    table = Table(
        title="Cost and time of a row",
        about="Rows that cost nothing, or whose latency is not known, do not count.",
        columns=columns("per row | rows: count | least | median | mean | 90 % below | 99 % below | most"),
        rows=[(what, each["rows"], *(cell(each[name], kind) for name in names)) for what, each, kind in there],
        detail=True,
    )
    return table if there else None


def _costs(found: Answered) -> Figure | None:
    about = "How many rows have which list cost, by expert; the scale is logarithmic."
    if not found.cost_bins:
        return None
    return Figure("Cost of a row", lambda: plot_costs(found.cost_bins), about, wide=True)


def _failures(found: Answered) -> Table | None:
    if not found.failures:
        return None
    listed = sum(each["rows"] for each in found.failures)
    more = found.totals["failed"] - listed
    return Table(
        title="Why rows failed",
        about="The commonest reasons, with the first row (from 1) of each.",
        columns=columns("rows: count | first row: count | experts | reason"),
        rows=[
            (each["rows"], each["first_row"], ", ".join(filter(None, each["experts"])) or NO_EXPERT, each["reason"])
            for each in found.failures
        ],
        remarks=[f"{more:,} more rows failed for other reasons"] if more else [],
    )


def _rows(found: Answered, title: str, about: str, rows: Sequence[Figures]) -> Table | None:
    if not rows:
        return None
    named = f"row: count | expert | ms: ms | tokens out: count | list cost USD: usd | {_scores(found)} | question"
    names = ("row", "expert", "latency_ms", "completion_tokens", "list_cost_usd", "predicted", "observed", "question")
    return _known(title, about, named, names, [{**row, "question": _cut(row["question"])} for row in rows], detail=True)


def _scores(found: Answered) -> str:
    """Return the columns of what was predicted, which for labels is a confidence, and of what was observed."""
    return f"{'confidence' if found.predicted == 'confidence' else 'predicted'}: score | observed: score"


def _cut(text: str | None) -> str:
    line = " ".join((text or "").split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 3]}..."


def _browse(found: Answered) -> Listing | None:
    if not found.sample:
        return None
    n, rows = len(found.sample), found.totals["rows"]
    some = f"{n:,} of {rows:,} rows: some of those that failed, and others drawn at random." if n < rows else ""
    return Listing("Answers", [_entry(row, found.steps) for row in found.sample], some)


def _entry(row: Mapping[str, Any], steps: bool) -> Entry:
    facts = [f"{row['row']:,}", *([] if steps else [row["expert"] or NO_EXPERT])]
    if row["observed"] is not None:
        facts.append(f"score {row['observed']:g}")
    if row["list_cost_usd"]:
        facts.append(usd(row["list_cost_usd"]))
    texts = {name: row[name] for name in ("question", "answer", "gold", "error") if row[name] is not None}
    group = "answered" if steps else row["expert"] or NO_EXPERT
    return Entry(" · ".join(facts), "failed" if row["error"] else group, texts)


def _notes(found: Answered) -> list[str]:
    if found.observed or not found.totals["predicted"]:
        return []
    return [
        f"how good the answers are is not known: name a column of right answers (gold) or of scores (score), or keep"
        f" feedback, to compare them with the {found.predicted}"
    ]


def _data(found: Answered) -> dict[str, Any]:
    return {
        **found.totals,
        "observed_from": found.observed,
        "calibration_error": found.calibration_error,
        "experts": _by_name(found.experts),
        "calibration": found.calibration,
        "list_cost_usd_per_row": found.costs,
        "latency_ms_per_row": found.latencies,
        "failures": found.failures,
        "slowest": [row["row"] for row in found.slowest],
        "most_expensive": [row["row"] for row in found.priciest],
        "overrated": [row["row"] for row in found.overrated],
    }


def _by_name(rows: Iterable[Figures]) -> dict[str, Figures]:
    return {row["expert"]: {name: value for name, value in row.items() if name != "expert"} for row in rows}
