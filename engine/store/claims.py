"""Claims: whose request for an answer is under way, so that no other run pays for the same one.

A claim counts as long as its run lives, by the lock of the run: when a run is killed, others take its claims
over at once. What the killed run may have been billed for them is kept with the run.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa

from leeroo.engine.store.answers import want

TABLES = """
CREATE TABLE IF NOT EXISTS claims (key BLOB PRIMARY KEY, run TEXT NOT NULL, at_most_usd REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS claims_by_run ON claims (run);
"""

_OWNERS = "SELECT DISTINCT run FROM wanted JOIN claims USING (key) WHERE run != ?"
_TAKEN = """
SELECT key FROM wanted WHERE EXISTS (SELECT 1 FROM answers a WHERE a.key = wanted.key)
    OR EXISTS (SELECT 1 FROM claims c WHERE c.key = wanted.key AND c.run != ?)
"""
_LOSE = """
UPDATE runs SET in_flight_usd = coalesce(in_flight_usd, 0)
    + (SELECT coalesce(sum(at_most_usd), 0) FROM claims c WHERE c.run = runs.run) WHERE run = ?
"""


def claim(
    db: sqlite3.Connection,
    alive: Callable[[str], bool],
    run: str,
    keys: pa.Array,
    at_most_usd: Sequence[float],
) -> pa.BooleanArray:
    """Claim keys for a run, within a transaction that writes.

    Returns:
        Which keys are granted: those without a stored answer that no other living run has claimed.

    """
    want(db, keys)
    for (owner,) in db.execute(_OWNERS, (run,)).fetchall():
        if not alive(owner):
            lose(db, owner)
    taken = {key for (key,) in db.execute(_TAKEN, (run,))}
    wanted = keys.to_pylist()
    granted = [(key, run, most) for key, most in zip(wanted, at_most_usd, strict=True) if key not in taken]
    db.executemany("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", granted)
    return pa.array([key not in taken for key in wanted], pa.bool_())


def release(db: sqlite3.Connection, keys: Iterable[bytes], run: str) -> None:
    """End claims of a run on keys for which nothing is under way any more."""
    db.executemany("DELETE FROM claims WHERE key = ? AND run = ?", ((key, run) for key in keys))


def release_all(db: sqlite3.Connection, run: str) -> None:
    """End all claims of a run."""
    db.execute("DELETE FROM claims WHERE run = ?", (run,))


def lose(db: sqlite3.Connection, run: str) -> None:
    """End the claims of a run that was killed, and keep with it the most that they may have cost."""
    db.execute(_LOSE, (run,))
    release_all(db, run)
