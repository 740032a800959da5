"""Spending: what was paid by day and expert, also for answers that the store keeps no longer."""

from __future__ import annotations

import sqlite3
from typing import Any

from leeroo.engine.sqlite import read_rows

TABLES = """
CREATE TABLE IF NOT EXISTS spent (
    day TEXT NOT NULL, expert TEXT NOT NULL, answers INTEGER NOT NULL, prompt_tokens INTEGER, completion_tokens INTEGER,
    cost_usd REAL, PRIMARY KEY (day, expert)) WITHOUT ROWID;
"""

_SUMS = """
sum(answers) AS answers, sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens,
sum(cost_usd) AS cost_usd
"""
_ANSWERS = """
SELECT date(created, 'unixepoch') AS day, coalesce(expert, '') AS expert, 1 AS answers, prompt_tokens,
       completion_tokens, list_cost_usd AS cost_usd FROM answers
"""
_CHARGES = """
SELECT date(created, 'unixepoch') AS day, expert, 0 AS answers, prompt_tokens, completion_tokens, cost_usd FROM charges
"""
_READ = f"""
SELECT day, expert, {_SUMS} FROM ({_ANSWERS} UNION ALL {_CHARGES} UNION ALL SELECT * FROM spent)
GROUP BY day, expert ORDER BY day, expert
"""
_FOLD = """
INSERT INTO spent SELECT day, expert, {sums} FROM ({rows}) WHERE true GROUP BY day, expert
ON CONFLICT DO UPDATE SET answers = answers + excluded.answers,
    prompt_tokens = coalesce(prompt_tokens, 0) + coalesce(excluded.prompt_tokens, 0),
    completion_tokens = coalesce(completion_tokens, 0) + coalesce(excluded.completion_tokens, 0),
    cost_usd = coalesce(cost_usd, 0) + coalesce(excluded.cost_usd, 0)
"""


def read_spend(db: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return the spend by day (UTC, as text) and expert, the earliest first; failed requests are in it."""
    return read_rows(db, _READ)


def drop_answers(db: sqlite3.Connection, which: str) -> int:
    """Remove the answers that a condition in SQL names, and keep their sums; returns how many."""
    db.execute(_FOLD.format(sums=_SUMS, rows=f"{_ANSWERS} WHERE {which}"))
    return db.execute(f"DELETE FROM answers WHERE {which}").rowcount


def drop_charges(db: sqlite3.Connection, which: str) -> None:
    """Remove the charges that a condition in SQL names, and keep their sums."""
    db.execute(_FOLD.format(sums=_SUMS, rows=f"{_CHARGES} WHERE {which}"))
    db.execute(f"DELETE FROM charges WHERE {which}")
