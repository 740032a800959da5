"""Pruning: what a store no longer needs, so that it does not grow for ever.

Feedback stays, with the answers that it is about: routers learn from them. So does all that belongs to a run that is
under way. A run that was killed is forgotten with its age: the next one of its job then starts anew.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from leeroo.engine.store.runs import lose

# Answers removed in one go: other processes wait that long, about a tenth of a second.
AT_ONCE = 20_000

_FREE = """
coalesce(run, '') NOT IN (SELECT run FROM runs WHERE finished IS NULL)
AND coalesce(question_hash, x'') NOT IN (SELECT question_hash FROM feedback)
"""


class Pruned(NamedTuple):
    """Counts of what was removed, and the bytes that the store takes now.

    `learned` counts the batches whose outcomes and router went.
    """

    answers: int
    runs: int
    learned: int
    bytes: int


def drop_runs(db: sqlite3.Connection, before: float) -> int:
    """Remove runs that ended before a time, or were killed and started before it; and timings. Returns how many."""
    db.execute("DROP TABLE IF EXISTS temp.gone")
    db.execute(
        "CREATE TEMP TABLE gone AS SELECT run FROM runs"
        " WHERE finished < :before OR (finished IS NULL AND started < :before AND NOT alive(run))",
        {"before": before},
    )
    gone = "run IN (SELECT run FROM gone)"
    db.execute(f"DELETE FROM charges WHERE {gone}")
    db.execute("DELETE FROM waves WHERE ended < ?", (before,))
    db.execute("DELETE FROM batch_lines WHERE token IN (SELECT token FROM batches WHERE created < ?)", (before,))
    db.execute("DELETE FROM batches WHERE created < ?", (before,))
    for (run,) in db.execute(f"SELECT DISTINCT run FROM claims WHERE {gone}").fetchall():
        lose(db, run)
    return db.execute(f"DELETE FROM runs WHERE {gone}").rowcount


def drop_answers(db: sqlite3.Connection, before: float, most: int) -> int:
    """Remove the oldest answers from before a time, `most` of them; return how many went."""
    chosen = f"SELECT rowid FROM answers WHERE created < ? AND {_FREE} ORDER BY rowid LIMIT ?"
    db.execute("CREATE TEMP TABLE IF NOT EXISTS chosen (number INTEGER PRIMARY KEY)")
    db.execute("DELETE FROM chosen")
    db.execute(f"INSERT INTO chosen {chosen}", (before, most))
    return db.execute("DELETE FROM answers WHERE rowid IN (SELECT number FROM chosen)").rowcount


def too_many(db: sqlite3.Connection, max_bytes: int) -> int:
    """Return how many answers, at their mean size, a database has beyond a number of bytes."""
    [(answers,)] = db.execute("SELECT count(*) FROM answers").fetchall()
    used = used_bytes(db)
    return int(-(-answers * max(0, used - max_bytes) // used))


def used_bytes(db: sqlite3.Connection) -> int:
    """Return the bytes of a database that are in use."""
    pages, unused, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - unused) * size)
