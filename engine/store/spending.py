"""Spending: what was paid by day and expert, also for requests without an answer, and for answers that are gone."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from leeroo.engine.sqlite import read_rows
from leeroo.engine.store.batches import end_lines
from leeroo.engine.store.runs import Run

TABLES = """
CREATE TABLE IF NOT EXISTS charges (
    run TEXT, asked TEXT, expert TEXT, prompt_tokens INTEGER, completion_tokens INTEGER, cost_usd REAL, created REAL);
CREATE INDEX IF NOT EXISTS charges_by_run ON charges (run);
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


class Charge(NamedTuple):
    """One request that was billed and brought no answer.

    Attributes:
        run: Who pays.
        asked: The name of the question in its run, as with answers.
        expert: Its name.
        key: The claim on this key ends with the charge; None while the request is still being tried.
    """

    run: str
    asked: str
    expert: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    key: bytes | None = None


def keep_charges(db: sqlite3.Connection, charges: Iterable[Charge]) -> None:
    """Keep what was billed and brought no answer; the claims that the charges name end."""
    now = time.time()
    kept = list(charges)
    for charge in kept:
        db.execute("INSERT INTO charges VALUES (?, ?, ?, ?, ?, ?, ?)", (*charge[:-1], now))
        db.execute("DELETE FROM claims WHERE key = ? AND run = ?", (charge.key, charge.run))
    end_lines(db, [charge.key for charge in kept if charge.key is not None])


def read_charges(db: sqlite3.Connection, run: Run) -> list[Charge]:
    """Return what a run was charged so far without an answer: a resumed run starts from there."""
    columns = ", ".join(Charge._fields[:-1])
    return [Charge(*row) for row in db.execute(f"SELECT {columns} FROM charges WHERE run = ?", (run.run,))]


def read_spend(db: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return the spend by day (UTC, as text) and expert, the earliest first; failed requests are in it."""
    return read_rows(db, _READ)


def drop(db: sqlite3.Connection, table: Literal["answers", "charges"], which: str) -> int:
    """Remove the answers or charges that a condition in SQL names, and keep their sums; return how many."""
    rows = _ANSWERS if table == "answers" else _CHARGES
    db.execute(_FOLD.format(sums=_SUMS, rows=f"{rows} WHERE {which}"))
    return db.execute(f"DELETE FROM {table} WHERE {which}").rowcount
