"""Verdicts: scores of answers compared with right answers, so that each pair is compared once."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping

TABLES = "CREATE TABLE IF NOT EXISTS verdicts (key BLOB PRIMARY KEY, score REAL NOT NULL) WITHOUT ROWID;"


def read_verdicts(db: sqlite3.Connection, keys: Iterable[bytes]) -> dict[bytes, float]:
    """Return the stored scores of comparisons, by key."""
    found = ((key, db.execute("SELECT score FROM verdicts WHERE key = ?", (key,)).fetchone()) for key in set(keys))
    return {key: row[0] for key, row in found if row is not None}


def keep_verdicts(db: sqlite3.Connection, scores: Mapping[bytes, float]) -> None:
    """Keep the scores of comparisons, by their keys."""
    db.executemany("INSERT OR IGNORE INTO verdicts VALUES (?, ?)", scores.items())
