"""Timings: how long engines took to load and to generate, wave by wave."""

from __future__ import annotations

import sqlite3
import time
from dataclasses import astuple, dataclass, fields

TABLES = """
CREATE TABLE IF NOT EXISTS waves (
    engine TEXT, ended REAL, requests INTEGER, prompt_tokens INTEGER, completion_tokens INTEGER, load_s REAL,
    generate_s REAL, memory_bytes INTEGER);
CREATE INDEX IF NOT EXISTS waves_by_engine ON waves (engine);
"""

# Columns that stores of older versions lack.
ADDED = {"memory_bytes": "INTEGER"}

# The speed of an engine is that of its latest waves.
_WAVES_COUNTED = 20


@dataclass(frozen=True)
class WaveTime:
    """The work of an engine in one wave."""

    engine: str  # `backends.identity.engine_key`
    requests: int
    prompt_tokens: int
    completion_tokens: int
    load_s: float | None  # None when it was loaded already
    generate_s: float
    memory_bytes: int | None  # of the device; None when it takes none


@dataclass(frozen=True)
class Measured:
    """Measures of an engine from its latest waves; None where there are none."""

    tokens_per_s: float | None = None  # read and written
    load_s: float | None = None
    memory_bytes: int | None = None


def keep_timing(db: sqlite3.Connection, wave: WaveTime) -> None:
    """Remember what an engine did in a wave, and how long it took."""
    columns = ", ".join(f.name for f in fields(wave))
    values = (*astuple(wave), time.time())
    db.execute(f"INSERT INTO waves ({columns}, ended) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)


def read_timings(db: sqlite3.Connection, engine: str) -> Measured:
    """Return what was measured of an engine (`engine_key`)."""
    query = (
        "SELECT sum(prompt_tokens + completion_tokens) / nullif(sum(generate_s), 0), avg(load_s), max(memory_bytes)"
        f" FROM (SELECT * FROM waves WHERE engine = ? ORDER BY ended DESC LIMIT {_WAVES_COUNTED})"
    )
    return Measured(*db.execute(query, (engine,)).fetchone())
