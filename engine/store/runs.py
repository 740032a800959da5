"""Runs: a run that was killed is taken up by the next run of the same job.

That run then counts what the killed one paid as its own: a job costs the same, however often it was killed.
"""

from __future__ import annotations

import sqlite3
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from filelock import BaseFileLock

from leeroo.engine import locks

TABLES = """
CREATE TABLE IF NOT EXISTS runs (
    run TEXT PRIMARY KEY, job TEXT, started REAL, finished REAL, rows INTEGER, cost_usd REAL, list_cost_usd REAL);
"""


@dataclass(frozen=True)
class Run:
    """One run of a job; `resumed` when it goes on where a killed one left off."""

    run: str
    resumed: bool
    lock: BaseFileLock | None


def begin(db: sqlite3.Connection, folder: Path, job: str, rows: int) -> Run:
    """Start a run of a job, or take up the one that was killed.

    Args:
        db: The store.
        folder: Where the locks of runs are.
        job: Names what is asked of which rows; the same command on the same input has the same job.
        rows: How many rows the input has.

    """
    lock = locks.take(folder / f"{job}.lock")
    query = "SELECT run FROM runs WHERE job = ? AND finished IS NULL ORDER BY started LIMIT 1"
    killed = lock and db.execute(query, (job,)).fetchone()
    if killed:
        return Run(killed[0], True, lock)
    run = uuid.uuid4().hex
    # A run beside another of the same job can't be told from it when killed, so it is not taken up.
    owned = job if lock else None
    db.execute("INSERT INTO runs (run, job, started, rows) VALUES (?, ?, ?, ?)", (run, owned, time.time(), rows))
    return Run(run, False, lock)


def finish(db: sqlite3.Connection, run: Run, cost_usd: float, list_cost_usd: float) -> None:
    """Note that the answers of a run are where they should be: the next run of its job is a new one."""
    db.execute(
        "UPDATE runs SET finished = ?, cost_usd = ?, list_cost_usd = ? WHERE run = ?",
        (time.time(), cost_usd, list_cost_usd, run.run),
    )


def release(run: Run) -> None:
    """Let go of a run without finishing it: the next run of its job takes it up."""
    if run.lock is not None:
        locks.give_back(run.lock)


def read(db: sqlite3.Connection) -> sqlite3.Cursor:
    """All runs, the earliest first; times are seconds of the epoch, `finished` None while there is work left."""
    return db.execute(
        "SELECT run, started, finished, rows, coalesce(cost_usd, paid) AS cost_usd,"
        " coalesce(list_cost_usd, paid) AS list_cost_usd FROM (SELECT *, CASE WHEN finished IS NULL THEN"
        " (SELECT coalesce(sum(list_cost_usd), 0.0) FROM answers a WHERE a.run = r.run) END AS paid FROM runs r)"
        " ORDER BY started"
    )
