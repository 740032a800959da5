"""The tables of an engine that SQL can read: its experts, its runs, its spending and its feedback."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from leeroo.engine.answer import Engine
from leeroo.engine.backends.select import facts
from leeroo.engine.schema import SQL_EXPERTS, SQL_FEEDBACK, SQL_RUNS, SQL_SPEND
from leeroo.udfs import feedback


def _experts(engine: Engine) -> list[dict[str, Any]]:
    return [facts(expert, engine.pool) for expert in (*engine.pool.experts, *engine.pool.embedders)]


def _runs(engine: Engine) -> list[dict[str, Any]]:
    return [
        {**row, "started": _when(row["started"]), "finished": _when(row["finished"])} for row in engine.store.runs()
    ]


def _spend(engine: Engine) -> list[dict[str, Any]]:
    return [{**row, "day": date.fromisoformat(row["day"])} for row in engine.store.spend()]


def _when(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


# The type of a row, and a function for all rows as they are now, by the name of the table.
TABLES: dict[str, tuple[pa.StructType, Callable[[Engine], list[dict[str, Any]]]]] = {
    "experts": (SQL_EXPERTS, _experts),
    "runs": (SQL_RUNS, _runs),
    "spend": (SQL_SPEND, _spend),
    "feedback": (SQL_FEEDBACK, feedback.rows),
}
