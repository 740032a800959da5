"""The tables that SQL can read of an engine: its experts, its runs, and what was spent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from leeroo.engine.answer import Engine
from leeroo.engine.backends.select import facts
from leeroo.udfs import feedback

_WHEN = pa.timestamp("us", "UTC")
_EXPERTS = pa.struct(
    [
        pa.field("expert", pa.string()),
        pa.field("default", pa.bool_()),
        pa.field("model", pa.string()),
        pa.field("backend", pa.string()),
        pa.field("location", pa.string()),
        pa.field("sent_to", pa.string()),
        pa.field("usd_per_m_input", pa.float64()),
        pa.field("usd_per_m_output", pa.float64()),
        pa.field("price_source", pa.string()),
        pa.field("unavailable", pa.string()),
    ]
)
_RUNS = pa.struct(
    [
        pa.field("run", pa.string()),
        pa.field("started", _WHEN),
        pa.field("finished", _WHEN),
        pa.field("rows", pa.int64()),
        pa.field("cost_usd", pa.float64()),
        pa.field("list_cost_usd", pa.float64()),
    ]
)
_SPEND = pa.struct(
    [
        pa.field("day", pa.date32()),
        pa.field("expert", pa.string()),
        pa.field("answers", pa.int64()),
        pa.field("prompt_tokens", pa.int64()),
        pa.field("completion_tokens", pa.int64()),
        pa.field("cost_usd", pa.float64()),
    ]
)


def _experts(engine: Engine) -> list[dict[str, Any]]:
    return [facts(expert, engine.pool) for expert in engine.pool.experts]


def _runs(engine: Engine) -> list[dict[str, Any]]:
    return [
        {**row, "started": _when(row["started"]), "finished": _when(row["finished"])} for row in engine.store.runs()
    ]


def _spend(engine: Engine) -> list[dict[str, Any]]:
    return [{**row, "day": date.fromisoformat(row["day"])} for row in engine.store.spend()]


def _when(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


# By name: the type of a row, and all rows as they are now.
TABLES: dict[str, tuple[pa.StructType, Callable[[Engine], list[dict[str, Any]]]]] = {
    "experts": (_EXPERTS, _experts),
    "runs": (_RUNS, _runs),
    "spend": (_SPEND, _spend),
    "feedback": (feedback.ROW, feedback.rows),
}
