"""The report of extracted fields and of decisions: how many rows have a value, and what it cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.jobs.records.kinds import Record
from leeroo.engine.money import usd
from leeroo.reports.report import Part, Report, Table, columns, commonest_reasons


def extract_report(rows: pa.Table, wanted: Record | str, prefix: str, budget_usd: float | None) -> Report:
    """Return how many rows have each field, or JSON."""
    names = [field.name for field in wanted.fields] if isinstance(wanted, Record) else ["answer"]
    found = [(name, len(rows) - rows.column(prefix + name).null_count) for name in names]
    table = Table(
        title="Fields",
        about="Rows with a value; the others do not state it, or failed.",
        columns=columns("field | type | rows: count | share: share"),
        rows=[
            (name, str(rows.schema.field(prefix + name).type), n, n / len(rows) if len(rows) else None)
            for name, n in found
        ],
    )
    return _report("Extracted fields", rows, prefix, budget_usd, [table], {"fields": dict(found)})


def decide_report(rows: pa.Table, questions: Sequence[str], prefix: str, budget_usd: float | None) -> Report:
    """Return how many rows have each choice, with its mean confidence."""
    counted: list[tuple[str, str, int, float | None]] = []
    for name in questions:
        choices = rows.column(prefix + name)
        for choice, n in Counter(choices.drop_null().to_pylist()).most_common():
            own = rows.filter(pc.equal(choices, choice)).column(f"{prefix}{name}_confidence")
            counted.append((name, str(choice), n, pc.mean(own).as_py()))
    table = Table(
        title="Choices",
        about="Rows with each choice. The confidence is empty where a model does not say it.",
        columns=columns("question | choice | rows: count | mean confidence: share"),
        rows=counted,
    )
    data = {"choices": [dict(zip(("question", "choice", "rows", "confidence"), row, strict=True)) for row in counted]}
    return _report("Decisions", rows, prefix, budget_usd, [table], data)


def _report(
    title: str, rows: pa.Table, prefix: str, budget_usd: float | None, parts: list[Part], data: dict[str, Any]
) -> Report:
    costs = {name: pc.sum(rows.column(prefix + name)).as_py() or 0.0 for name in ("cost_usd", "list_cost_usd")}
    errors = rows.column(f"{prefix}error")
    within = "" if budget_usd is None else f" of {usd(budget_usd)}"
    return Report(
        title=title,
        summary=[
            f"{len(rows):,} rows, {len(rows) - errors.null_count:,} of them failed",
            f"spent {usd(costs['cost_usd'])}{within}; the list cost of all rows is {usd(costs['list_cost_usd'])}",
        ],
        parts=parts,
        data={
            "rows": len(rows),
            "failed": len(rows) - errors.null_count,
            **costs,
            "errors": commonest_reasons(errors.to_pylist()),
            **data,
        },
    )
