"""The report of questions solved step by step: waves, experts, and what it cost."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from leeroo.engine.jobs.solve.solve import Solved
from leeroo.engine.money import usd
from leeroo.reports.report import Report, Table, columns, commonest_reasons


def solve_report(solved: Solved, prefix: str, budget_usd: float | None) -> Report:
    """Return counts and costs, with a row for each wave and each expert."""
    totals = _totals(solved, prefix)
    within = "" if budget_usd is None else f" of {usd(budget_usd)}"
    return Report(
        title="Questions solved step by step",
        summary=[
            f"{totals['rows']:,} rows, {totals['split']:,} of them split ({totals['planned']:,} by an expert's plan); "
            f"{totals['steps']:,} steps in {len(solved.waves)} waves",
            f"spent {usd(totals['cost_usd'])}{within}; the list cost of all rows is {usd(totals['list_cost_usd'])}",
        ],
        parts=[_waves(solved), _experts(solved)],
        data={
            **totals,
            "errors": commonest_reasons(solved.rows.column(prefix + "error").to_pylist()),
            "waves": [asdict(wave) for wave in solved.waves],
        },
    )


def _totals(solved: Solved, prefix: str) -> dict[str, Any]:
    """Return counts and costs of all rows."""
    steps = [len(each or ()) for each in solved.rows.column(prefix + "steps").to_pylist()]
    return {
        "rows": len(steps),
        "split": sum(n > 1 for n in steps),
        "planned": solved.planned,
        "steps": sum(steps),
        "failed": len(steps) - solved.rows.column(prefix + "error").null_count,
        **{name: sum(solved.rows.column(prefix + name).to_pylist()) for name in ("cost_usd", "list_cost_usd")},
    }


def _waves(solved: Solved) -> Table:
    return Table(
        title="Waves",
        about="Each time that experts answered, for all rows at once.",
        columns=columns("wave | asked: count | failed: count | cost USD: usd"),
        rows=[(f"{i} {wave.what}", wave.asked, wave.failed, wave.cost_usd) for i, wave in enumerate(solved.waves, 1)],
    )


def _experts(solved: Solved) -> Table:
    answered: Counter[str] = Counter()
    for wave in solved.waves:
        answered.update(wave.experts)
    return Table(
        title="Experts",
        about="Experts that the waves went to.",
        columns=columns("expert | asked: count"),
        rows=answered.most_common(),
    )
