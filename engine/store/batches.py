"""Open batches: what was handed to a provider's own batch API, and is not collected yet.

A batch is noted before it is created, under a token that it carries at the provider. So a run that comes back after a
kill finds it there, and submits nothing twice. Each line has the key of its answer. It is open until that answer is
stored, its cost is charged, or it is known to have brought nothing.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from leeroo.engine.sqlite import read_rows

TABLES = """
CREATE TABLE IF NOT EXISTS batches (
    token TEXT PRIMARY KEY, run TEXT, engine TEXT, expert TEXT, lines INTEGER NOT NULL, created REAL NOT NULL,
    file TEXT, sent REAL, remote TEXT, status TEXT, done INTEGER, ended REAL);
CREATE INDEX IF NOT EXISTS batches_by_engine ON batches (engine);
CREATE TABLE IF NOT EXISTS batch_lines (
    key BLOB PRIMARY KEY, token TEXT NOT NULL, asked TEXT, expert TEXT, fingerprint TEXT, tries INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS batch_lines_by_token ON batch_lines (token);
"""

# The expected time of a batch is that of the latest ones.
_BATCHES_COUNTED = 20


class OpenBatch(NamedTuple):
    """A batch as the store knows it; times are seconds of the epoch.

    Attributes:
        token: Its name at the provider, from before it was created.
        file: The provider's id of its input file, None before it is uploaded.
        sent: When its creation was last requested, None before that.
        remote: The provider's id of it, None where that is not known.
    """

    token: str
    run: str
    file: str | None
    sent: float | None
    remote: str | None


class BatchLine(NamedTuple):
    """A line of an open batch; `tries` counts the batches that it has been in."""

    key: bytes
    token: str
    asked: str
    expert: str
    fingerprint: str
    tries: int


def keep_batch(
    db: sqlite3.Connection, token: str, run: str, engine: str, expert: str, lines: Iterable[BatchLine]
) -> None:
    """Note a batch that is to be created, with its lines; a line leaves the batch that it was in before."""
    rows = list(lines)
    db.execute(
        "INSERT INTO batches (token, run, engine, expert, lines, created) VALUES (?, ?, ?, ?, ?, ?)",
        (token, run, engine, expert, len(rows), time.time()),
    )
    db.executemany("INSERT OR REPLACE INTO batch_lines VALUES (?, ?, ?, ?, ?, ?)", rows)


def note_sending(db: sqlite3.Connection, token: str, file: str) -> None:
    """Note the input file of a batch, and that its creation is requested now."""
    db.execute("UPDATE batches SET file = ?, sent = ? WHERE token = ?", (file, time.time(), token))


def note_created(db: sqlite3.Connection, token: str, remote: str) -> None:
    """Note the provider's id of a batch."""
    db.execute("UPDATE batches SET remote = ? WHERE token = ?", (remote, token))


def note_look(db: sqlite3.Connection, token: str, status: str, done: int, ended: float | None) -> None:
    """Note how far a batch is, in the provider's words, and when it ended."""
    db.execute("UPDATE batches SET status = ?, done = ?, ended = ? WHERE token = ?", (status, done, ended, token))


def drop_batch(db: sqlite3.Connection, token: str) -> None:
    """Forget a batch that the provider does not have, and its lines."""
    db.execute("DELETE FROM batch_lines WHERE token = ?", (token,))
    db.execute("DELETE FROM batches WHERE token = ?", (token,))


def end_lines(db: sqlite3.Connection, keys: Iterable[bytes]) -> None:
    """Note that what these lines brought is kept in the same transaction, or that it was nothing."""
    if db.execute("SELECT 1 FROM batch_lines LIMIT 1").fetchone() is not None:
        db.executemany("DELETE FROM batch_lines WHERE key = ?", ((key,) for key in keys))


def find_lines(db: sqlite3.Connection, keys: Iterable[bytes]) -> list[BatchLine]:
    """Return the lines of open batches with these keys."""
    if db.execute("SELECT 1 FROM batch_lines LIMIT 1").fetchone() is None:
        return []
    query = f"SELECT {', '.join(BatchLine._fields)} FROM batch_lines WHERE key = ?"
    return [BatchLine(*row) for key in keys for row in db.execute(query, (key,))]


def lines_of_run(db: sqlite3.Connection, run: str) -> list[BatchLine]:
    """Return the lines of all open batches of a run."""
    columns = ", ".join(f"l.{name}" for name in BatchLine._fields)
    query = f"SELECT {columns} FROM batches b JOIN batch_lines l USING (token) WHERE b.run = ?"
    return [BatchLine(*row) for row in db.execute(query, (run,))]


def read_batch(db: sqlite3.Connection, token: str) -> OpenBatch | None:
    """Return a batch by its token, None where it was dropped."""
    query = f"SELECT {', '.join(OpenBatch._fields)} FROM batches WHERE token = ?"
    found = db.execute(query, (token,)).fetchone()
    return None if found is None else OpenBatch(*found)


def read_batches(db: sqlite3.Connection, run: str | None = None) -> list[dict[str, Any]]:
    """Return the batches with lines that are not collected, of a run or all; `left` counts these lines."""
    return read_rows(
        db,
        "SELECT token, run, engine, b.expert, remote, lines, coalesce(done, 0) AS done, status, sent AS submitted,"
        " ended, count(*) AS left FROM batches b JOIN batch_lines USING (token) WHERE :run IS NULL OR run = :run"
        " GROUP BY token ORDER BY created, token",
        {"run": run},
    )


def batch_seconds(db: sqlite3.Connection, engine: str) -> float | None:
    """Return how long the latest batches of an engine (`engine_key`) took, their median; None where none has ended."""
    query = (
        "SELECT ended - sent FROM batches WHERE engine = ? AND ended > sent AND remote IS NOT NULL"
        " ORDER BY ended DESC LIMIT ?"
    )
    took = sorted(seconds for (seconds,) in db.execute(query, (engine, _BATCHES_COUNTED)))
    return took[len(took) // 2] if took else None
