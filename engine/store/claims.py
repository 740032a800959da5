"""Claims: whose request for an answer is under way, so that no other run pays for the same one.

A claim counts as long as its run lives, by the lock of the run: when a run is killed, others take its claims
over at once. What the killed run may have been billed for them is kept with the run.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence

import pyarrow as pa

from leeroo.engine.store.answers import want
from leeroo.engine.store.runs import Run, lose

TABLES = """
CREATE TABLE IF NOT EXISTS claims (key BLOB PRIMARY KEY, run TEXT NOT NULL, at_most_usd REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS claims_by_run ON claims (run);
"""

# Each owner is looked at once, and not once for each of its claims.
_DEAD = """
WITH owners AS MATERIALIZED (SELECT DISTINCT run FROM wanted JOIN claims USING (key) WHERE run != ?)
SELECT run FROM owners WHERE NOT alive(run)
"""
_TAKEN = """
SELECT key FROM wanted WHERE EXISTS (SELECT 1 FROM answers a WHERE a.key = wanted.key)
    OR EXISTS (SELECT 1 FROM claims c WHERE c.key = wanted.key AND c.run != ?)
"""


def claim(db: sqlite3.Connection, run: Run, keys: pa.Array, at_most_usd: Sequence[float]) -> pa.BooleanArray:
    """Claim keys for a run before their requests leave, so that nobody else pays for the same answers.

    A claim ends when the answer is appended, when it is charged or released, or when the run is finished. Claims of
    a run that was killed are free at once, and `in_flight` keeps what they may have cost.

    Args:
        db: The store, within a transaction that writes.
        run: Who claims; two runs are two owners, in one process too.
        keys: Of answers (binary, distinct), a hand-out at a time.
        at_most_usd: The most that each of them can cost.

    Returns:
        Which keys are granted. The others have an answer already (`look_up`), or another living run has claimed
        them: then their answers will be there later, or the keys are free again.

    """
    want(db, keys)
    for (owner,) in db.execute(_DEAD, (run.run,)).fetchall():
        lose(db, owner)
    taken = {key for (key,) in db.execute(_TAKEN, (run.run,))}
    wanted = keys.to_pylist()
    granted = [(key, run.run, most) for key, most in zip(wanted, at_most_usd, strict=True) if key not in taken]
    db.executemany("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", granted)
    return pa.array([key not in taken for key in wanted], pa.bool_())


def release_claims(db: sqlite3.Connection, run: Run, keys: Iterable[bytes]) -> None:
    """End claims of a run whose requests are over, or never left, and brought neither answer nor charge."""
    db.executemany("DELETE FROM claims WHERE key = ? AND run = ?", ((key, run.run) for key in keys))
