"""Charges: what was billed and brought no answer, so that budgets and spend reports count it."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from typing import NamedTuple

from leeroo.engine.store import claims

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


def keep(db: sqlite3.Connection, charges: Iterable[Charge]) -> None:
    """Keep charges for good, and end the claims that they name."""
    now = time.time()
    for charge in charges:
        db.execute("INSERT INTO charges VALUES (?, ?, ?, ?, ?, ?, ?)", (*charge[:-1], now))
        if charge.key is not None:
            claims.release(db, [charge.key], charge.run)


def read(db: sqlite3.Connection, run: str) -> list[Charge]:
    """Return what a run was charged so far, request by request."""
    columns = ", ".join(Charge._fields[:-1])
    return [Charge(*row) for row in db.execute(f"SELECT {columns} FROM charges WHERE run = ?", (run,))]
