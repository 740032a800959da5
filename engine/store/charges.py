"""Charges: what was billed and brought no answer, so that budgets and spend reports count it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from typing import NamedTuple

from leeroo.engine.store.runs import Run

TABLES = """
CREATE TABLE IF NOT EXISTS charges (
    run TEXT, asked TEXT, expert TEXT, prompt_tokens INTEGER, completion_tokens INTEGER, cost_usd REAL, created REAL);
CREATE INDEX IF NOT EXISTS charges_by_run ON charges (run);
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
    for charge in charges:
        db.execute("INSERT INTO charges VALUES (?, ?, ?, ?, ?, ?, ?)", (*charge[:-1], now))
        db.execute("DELETE FROM claims WHERE key = ? AND run = ?", (charge.key, charge.run))


def read_charges(db: sqlite3.Connection, run: Run) -> list[Charge]:
    """Return what a run was charged so far without an answer: a resumed run starts from there."""
    columns = ", ".join(Charge._fields[:-1])
    return [Charge(*row) for row in db.execute(f"SELECT {columns} FROM charges WHERE run = ?", (run.run,))]
