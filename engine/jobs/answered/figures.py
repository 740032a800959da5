"""The figures of an answered table: totals, experts, calibration, costs, failures, and the rows to look at.

All of it is computed by the database. Knows nothing of how it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import duckdb

from leeroo.engine.jobs.answered.rows import AnsweredRows

# Rows listed of each kind: the slowest, the most expensive, and so on; and the most characters of their questions.
_LISTED, _LISTED_CHARS = 10, 200
# Reasons of failures that are listed.
_REASONS = 20
# Rows to browse, of which failed ones come first; and the most characters of each of their texts.
_BROWSED, _BROWSED_FAILED, _BROWSED_CHARS = 500, 100, 2000
_BINS = 10
# Stands for the expert of a row that has none.
NO_EXPERT = "(none)"
# Bins of the distribution of costs, of equal width in the logarithm.
_COST_BINS = 24

_TOTALS = """
SELECT count(*) AS rows, count(*) FILTER (error IS NOT NULL) AS failed,
    count(*) FILTER (error IS NULL AND answer IS NULL) AS blank,
    count(*) FILTER (cost_usd = 0 AND list_cost_usd > 0) AS unpaid, sum(cost_usd) AS cost_usd,
    sum(list_cost_usd) AS list_cost_usd, sum(prompt_tokens)::BIGINT AS prompt_tokens,
    sum(completion_tokens)::BIGINT AS completion_tokens, avg(predicted) AS predicted, count(observed) AS scored,
    avg(observed) AS observed
FROM rows
"""
_EXPERTS = """
SELECT expert, count(*) AS rows, count(*) FILTER (error IS NOT NULL) AS failed,
    sum(prompt_tokens)::BIGINT AS prompt_tokens, sum(completion_tokens)::BIGINT AS completion_tokens,
    median(latency_ms) AS latency_ms, sum(cost_usd) AS cost_usd, sum(list_cost_usd) AS list_cost_usd,
    avg(predicted) AS predicted, avg(observed) AS observed
FROM rows WHERE expert IS NOT NULL GROUP BY ALL ORDER BY rows DESC, expert
"""
_STEP_EXPERTS = """
SELECT step.expert AS expert, count(*) AS rows, count(*) FILTER (step.error IS NOT NULL) AS failed,
    NULL AS prompt_tokens, NULL AS completion_tokens, NULL AS latency_ms, NULL AS cost_usd,
    sum(step.list_cost_usd) AS list_cost_usd, NULL AS predicted, NULL AS observed
FROM (SELECT unnest(steps) AS step FROM rows) WHERE step.expert IS NOT NULL GROUP BY ALL ORDER BY rows DESC, expert
"""
# Bins of equal width; the whole has the expert NULL.
_CALIBRATION = f"""
SELECT expert, count(*) AS rows, avg(predicted) AS predicted, avg(observed) AS observed
FROM (SELECT expert, predicted, observed, least(floor(predicted * {_BINS}), {_BINS - 1}) AS bin FROM rows
      WHERE expert IS NOT NULL AND predicted BETWEEN 0 AND 1 AND observed BETWEEN 0 AND 1)
GROUP BY GROUPING SETS ((expert, bin), (bin)) ORDER BY expert, predicted
"""
_SPREAD = """
SELECT count(*) AS rows, min({of}) AS least, median({of}) AS median, avg({of}) AS mean,
    quantile_cont({of}, 0.9) AS p90, quantile_cont({of}, 0.99) AS p99, max({of}) AS most
FROM rows WHERE {of} IS NOT NULL {more}
"""
_COSTS = f"""
WITH paid AS (SELECT coalesce(expert, '{NO_EXPERT}') AS expert, ln(list_cost_usd) AS cost FROM rows
    WHERE list_cost_usd > 0),
ends AS (SELECT min(cost) AS low, greatest(max(cost), min(cost) + 0.1) AS high FROM paid)
SELECT expert, bin::INTEGER AS bin, exp(low + bin * (high - low) / {_COST_BINS}) AS from_usd,
    exp(low + (bin + 1) * (high - low) / {_COST_BINS}) AS to_usd, count(*) AS rows
FROM (SELECT *, least(floor((cost - low) / (high - low) * {_COST_BINS}), {_COST_BINS - 1}) AS bin FROM paid, ends)
GROUP BY expert, bin, low, high ORDER BY expert, bin
"""
_FAILURES = f"""
SELECT error AS reason, count(*) AS rows, list(DISTINCT expert ORDER BY expert) AS experts, min(row) AS first_row
FROM rows WHERE error IS NOT NULL GROUP BY error ORDER BY rows DESC, first_row LIMIT {_REASONS}
"""
_LIST = f"""
SELECT row, expert, left(question, {_LISTED_CHARS}) AS question, predicted, observed, list_cost_usd, latency_ms,
    completion_tokens
FROM rows WHERE {{where}} ORDER BY {{by}} DESC, row LIMIT {_LISTED}
"""


def _cut(text: str) -> str:
    """Return SQL for the beginning of a text, with its length where it is longer."""
    return (
        f"CASE WHEN length({text}) > {_BROWSED_CHARS} THEN left({text}, {_BROWSED_CHARS}) || ' … ('"
        f" || length({text}) || ' characters)' ELSE {text} END AS {text}"
    )


# A part of the failed rows, then rows in the order of their hash, which is random and always the same.
_BROWSE = f"""
WITH numbered AS (SELECT *, row_number() OVER (PARTITION BY error IS NULL ORDER BY hash(row)) AS number FROM rows),
drawn AS (FROM numbered ORDER BY error IS NOT NULL AND number <= {_BROWSED_FAILED} DESC, hash(row) LIMIT {_BROWSED})
SELECT row, expert, {_cut("question")}, {_cut("answer")}, {_cut("gold")}, {_cut("error")}, predicted, observed,
    list_cost_usd, latency_ms
FROM drawn ORDER BY row
"""

Figures = dict[str, Any]


@dataclass(frozen=True)
class Answered:
    """The figures of an answered table; each row of a list is a mapping with the names of its query.

    Attributes:
        totals: Rows, failed, blank and unpaid ones, costs, tokens, mean predicted and observed score.
        experts: Each with rows, costs, tokens, median latency and scores; of solved tables it counts steps.
        calibration: Bins of predicted scores with what was observed: of each expert, and of all (expert None).
        costs: Least, median, mean, 90th and 99th percentile, and most of the list cost of a row that has one.
        latencies: The same of latencies in milliseconds.
        cost_bins: Rows by expert and list cost.
        failures: Reasons, with rows, experts and the first row.
        slowest, priciest, overrated: Rows to look at; overrated ones were expected to be good and are not.
        sample: Rows to browse.
        observed, predicted, steps: As in `AnsweredRows`.
    """

    totals: Figures
    experts: list[Figures]
    calibration: list[Figures]
    costs: Figures
    latencies: Figures
    cost_bins: list[Figures]
    failures: list[Figures]
    slowest: list[Figures]
    priciest: list[Figures]
    overrated: list[Figures]
    sample: list[Figures]
    observed: str | None
    predicted: str
    steps: bool

    @property
    def calibration_error(self) -> float | None:
        """Expected calibration error over ten bins; None where nothing is predicted and observed."""
        bins = [each for each in self.calibration if each["expert"] is None]
        n = sum(each["rows"] for each in bins)
        return sum(each["rows"] * abs(each["predicted"] - each["observed"]) for each in bins) / n if n else None


def measure(answered: AnsweredRows) -> Answered:
    """Compute the figures of an answered table."""
    con = answered.con
    wrong = "predicted IS NOT NULL AND observed < 0.5 AND error IS NULL"
    return Answered(
        totals=_rows(con, _TOTALS)[0],
        experts=_rows(con, _STEP_EXPERTS if answered.steps else _EXPERTS),
        calibration=_rows(con, _CALIBRATION),
        costs=_rows(con, _SPREAD.format(of="list_cost_usd", more="AND list_cost_usd > 0"))[0],
        latencies=_rows(con, _SPREAD.format(of="latency_ms", more=""))[0],
        cost_bins=_rows(con, _COSTS),
        failures=_rows(con, _FAILURES),
        slowest=_rows(con, _LIST.format(where="latency_ms > 0", by="latency_ms")),
        priciest=_rows(con, _LIST.format(where="list_cost_usd > 0", by="list_cost_usd")),
        overrated=_rows(con, _LIST.format(where=wrong, by="predicted")),
        sample=_rows(con, _BROWSE),
        observed=answered.observed,
        predicted=answered.predicted,
        steps=answered.steps,
    )


def _rows(con: duckdb.DuckDBPyConnection, query: str) -> list[Figures]:
    rows: list[Figures] = con.sql(query).to_arrow_table().to_pylist()
    return rows
