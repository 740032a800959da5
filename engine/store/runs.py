"""Runs, and their claims: which run has a request for an answer under way, so that no other pays for the same.

The next run of a job resumes one that was killed. It then counts what the killed one paid as its own: a job costs the
same, however often it was killed.

A claim counts as long as its run lives, by the lock of the run: when a run is killed, others take its claims over at
once. What the killed run may have been billed for them is kept with the run. Claims also hold money under spending
caps, see `caps`.
"""

from __future__ import annotations

import itertools
import shlex
import sqlite3
import sys
import time
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from filelock import BaseFileLock

from leeroo.engine import locks
from leeroo.engine.sqlite import read_rows
from leeroo.engine.store.answers import STORED, table, want
from leeroo.engine.store.batches import find_lines
from leeroo.engine.store.caps import admit, read_caps
from leeroo.engine.store.spending import count_unsure

TABLES = """
CREATE TABLE IF NOT EXISTS runs (
    run TEXT PRIMARY KEY, job TEXT, started REAL, finished REAL, rows INTEGER, cost_usd REAL, list_cost_usd REAL,
    in_flight_usd REAL, prices TEXT, owner TEXT, command TEXT);
CREATE INDEX IF NOT EXISTS runs_unfinished ON runs (job) WHERE finished IS NULL;
CREATE TABLE IF NOT EXISTS claims (
    key BLOB PRIMARY KEY, run TEXT NOT NULL, at_most_usd REAL NOT NULL, expert TEXT, owner TEXT, created REAL)
    WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS claims_by_run ON claims (run);
"""

# Columns that stores of older versions lack.
ADDED = {"in_flight_usd": "REAL", "prices": "TEXT", "owner": "TEXT", "command": "TEXT"}
CLAIMS_ADDED = {"expert": "TEXT", "owner": "TEXT", "created": "REAL"}

_LOSE = """
UPDATE runs SET in_flight_usd = coalesce(in_flight_usd, 0)
    + (SELECT coalesce(sum(at_most_usd), 0) FROM claims c WHERE c.run = runs.run
       AND NOT EXISTS (SELECT 1 FROM batch_lines l WHERE l.key = c.key)) WHERE run = ?
"""
_PAID = """
SELECT (SELECT coalesce(sum(list_cost_usd), 0.0) FROM answers a WHERE a.run = r.run)
    + (SELECT coalesce(sum(cost_usd), 0.0) FROM charges c WHERE c.run = r.run)
"""

# Answers with their numbers, which grow with time.
PAID = pa.schema([pa.field("number", pa.int64(), nullable=False), *STORED])
# Answers on a page; a page with fewer is the last.
PAGE = 10_000
_LAST = 2**63 - 1

# Each owner is looked at once, and not once for each of its claims.
_DEAD = """
WITH owners AS MATERIALIZED (SELECT DISTINCT run FROM wanted JOIN claims USING (key) WHERE run != ?)
SELECT run FROM owners WHERE NOT alive(run)
"""
_TAKEN = """
SELECT key FROM wanted WHERE EXISTS (SELECT 1 FROM answers a WHERE a.key = wanted.key)
    OR EXISTS (SELECT 1 FROM claims c WHERE c.key = wanted.key AND c.run != ?)
"""


@dataclass(frozen=True)
class Run:
    """One run of a job; `resumed` when it goes on where a killed one left off.

    Attributes:
        started: When it first began, in seconds of the epoch.
        owner: Who pays: a key of a server; '' for whoever uses the store directly.

    """

    run: str
    resumed: bool
    lock: BaseFileLock | None
    started: float = 0.0
    owner: str = ""


class Claimed(NamedTuple):
    """The outcome of a claim.

    Attributes:
        granted: Which keys are granted.
        capped: Which are free, but beyond what spending caps leave now.
        room: USD that caps leave after the claim, by expert.

    """

    granted: pa.BooleanArray
    capped: pa.BooleanArray
    room: dict[str, float]


def begin(db: sqlite3.Connection, folder: Path, job: str, rows: int, prices: str = "", *, owner: str = "") -> Run:
    """Start a run of a job, or resume one of the owner that was killed, within a transaction that writes.

    Args:
        db: The store.
        folder: Where the locks of runs are; a run lives as long as its lock.
        job: Its name; the same command on the same input has the same job.
        rows: How many rows the input has.
        prices: Whose prices its experts have, and of which day.
        owner: Who pays.

    """
    # Stores of older versions did not keep who pays.
    unfinished = (
        "SELECT run, started FROM runs WHERE job = ? AND finished IS NULL AND coalesce(owner, ?) = ? ORDER BY started"
    )
    for run, started in db.execute(unfinished, (job, owner, owner)).fetchall():
        lock = locks.take(_lock_of(folder, run))
        if lock is not None:
            lose(db, run)
            db.execute("UPDATE runs SET owner = ? WHERE run = ?", (owner, run))
            return Run(run, True, lock, started, owner)
    run, now = uuid.uuid4().hex, time.time()
    values = run, job, now, rows, prices, owner, _command()
    db.execute(
        "INSERT INTO runs (run, job, started, rows, prices, owner, command) VALUES (?, ?, ?, ?, ?, ?, ?)", values
    )
    return Run(run, False, locks.take(_lock_of(folder, run)), now, owner)


def _command() -> str:
    """Return the command line of this process; of other programs the name alone, as arguments may be secret."""
    program, *arguments = sys.argv or [""]
    path = Path(program)
    if path.name == "leeroo" or path.parts[-2:] == ("leeroo", "__main__.py"):
        return shlex.join(["leeroo", *arguments])
    return path.name or "python"


def is_alive(folder: Path, run: str) -> bool:
    """Return whether a process works on a run."""
    return locks.is_held(_lock_of(folder, run))


def claim(
    db: sqlite3.Connection,
    run: Run,
    keys: pa.Array,
    at_most_usd: Sequence[float],
    experts: Sequence[str],
    now: float | None = None,
) -> Claimed:
    """Claim keys for a run before their requests are sent, so that no other run pays for the same answers.

    What the requests can cost is held under the spending caps that count it, until it is known what they cost.

    A claim ends when the answer is appended, when it is charged or released, or when the run is finished. Claims of
    a run that was killed are free at once, and `in_flight` keeps what they may have cost.

    Args:
        db: The store, within a transaction that writes.
        run: The owner of the claims; two runs are two owners, in one process too.
        keys: Keys of answers (binary, distinct).
        at_most_usd: The most that each of them can cost.
        experts: Names of the experts that they go to.
        now: Default: the time of the machine.

    Returns:
        Which keys are granted. Those that are neither granted nor capped have an answer already (`look_up`), or another
        living run has claimed them: then their answers will be there later, or the keys are free again.

    """
    want(db, keys)
    caps = read_caps(db, run.owner, now)
    for (owner,) in db.execute(_DEAD, (run.run,)).fetchall():
        lose(db, owner)
        db.execute("DELETE FROM claims WHERE run = ? AND key IN (SELECT key FROM wanted)", (owner,))
    taken = {key for (key,) in db.execute(_TAKEN, (run.run,))}
    wanted = keys.to_pylist()
    # Lines of open batches were sent before: what they can cost is held already.
    no_more = taken.union(line.key for line in find_lines(db, wanted)) if caps else taken
    needed = [0.0 if key in no_more else most for key, most in zip(wanted, at_most_usd, strict=True)]
    fits, room = admit(caps, experts, needed)
    created = time.time() if now is None else now
    granted = [fit and key not in taken for fit, key in zip(fits, wanted, strict=True)]
    claims = zip(wanted, at_most_usd, experts, strict=True)
    db.executemany(
        "INSERT OR REPLACE INTO claims (key, run, at_most_usd, expert, owner, created) VALUES (?, ?, ?, ?, ?, ?)",
        [(key, run.run, most, expert, run.owner, created) for key, most, expert in itertools.compress(claims, granted)],
    )
    return Claimed(pa.array(granted, pa.bool_()), pa.array([not fit for fit in fits], pa.bool_()), room)


def release_claims(db: sqlite3.Connection, run: Run, keys: Iterable[bytes]) -> None:
    """End claims of a run whose requests brought neither answer nor charge, or were never sent."""
    db.executemany("DELETE FROM claims WHERE key = ? AND run = ?", ((key, run.run) for key in keys))


def end_claims(db: sqlite3.Connection, run: str) -> None:
    """End all claims of a run."""
    db.execute("DELETE FROM claims WHERE run = ?", (run,))


def lose(db: sqlite3.Connection, run: str) -> None:
    """End the claims of a run that was killed, and keep with it the most that they may have cost.

    Lines of open batches stay claimed: whoever claims them next collects them, and pays.
    """
    db.execute(_LOSE, (run,))
    count_unsure(db, run)
    db.execute("DELETE FROM claims WHERE run = ? AND key NOT IN (SELECT key FROM batch_lines)", (run,))


def lose_dead(db: sqlite3.Connection) -> None:
    """End the claims of all runs that were killed."""
    for (run,) in db.execute("SELECT run FROM (SELECT DISTINCT run FROM claims) WHERE NOT alive(run)").fetchall():
        lose(db, run)


def of_run(db: sqlite3.Connection, run: Run, before: int | None = None) -> pa.Table:
    """Return a page of the answers that a run has paid for so far (`PAID`), the latest first.

    Args:
        db: The store.
        run: Who paid.
        before: The number of the last answer of the page before; default: the first page.

    """
    return _paid(db, "?", run, before)


def of_job(db: sqlite3.Connection, run: Run, before: int | None = None) -> pa.Table:
    """Return a page of the answers that other runs of the job of a run have paid for, as `of_run` does."""
    others = "SELECT o.run FROM runs r JOIN runs o USING (job) WHERE r.run = ? AND o.run != r.run"
    if db.execute(others, (run.run,)).fetchone() is None:  # the query reads all answers
        return PAID.empty_table()
    return _paid(db, others, run, before)


def _paid(db: sqlite3.Connection, runs: str, run: Run, before: int | None) -> pa.Table:
    query = (
        f"SELECT rowid, {', '.join(STORED.names)} FROM answers WHERE run IN ({runs}) AND rowid < ?"
        f" ORDER BY rowid DESC LIMIT {PAGE}"
    )
    return table(db.execute(query, (run.run, _LAST if before is None else before)), PAID)


def in_flight(db: sqlite3.Connection, run: Run) -> float:
    """Return the most in USD that requests under way when the run was killed may have cost, over all its kills."""
    [(usd,)] = db.execute("SELECT in_flight_usd FROM runs WHERE run = ?", (run.run,)).fetchall() or [(0.0,)]
    return usd or 0.0


def finish(db: sqlite3.Connection, run: Run, cost_usd: float, list_cost_usd: float) -> None:
    """Note that the answers of a run are delivered: the next run of its job is a new one."""
    db.execute(
        "UPDATE runs SET finished = ?, cost_usd = ?, list_cost_usd = ? WHERE run = ?",
        (time.time(), cost_usd, list_cost_usd, run.run),
    )
    end_claims(db, run.run)


def release(run: Run) -> None:
    """Let go of a run without finishing it: the next run of its job resumes it."""
    if run.lock is not None:
        locks.give_back(run.lock)


def read_runs(db: sqlite3.Connection) -> list[dict[str, Any]]:
    """Return all runs, the earliest first; times are seconds of the epoch, `finished` None while work is left."""
    return read_rows(
        db,
        "SELECT run, started, finished, rows, coalesce(cost_usd, paid) AS cost_usd,"
        " coalesce(list_cost_usd, paid) AS list_cost_usd, prices, command"
        f" FROM (SELECT *, CASE WHEN finished IS NULL THEN ({_PAID}) END AS paid FROM runs r) ORDER BY started",
    )


def _lock_of(folder: Path, run: str) -> Path:
    return folder / f"{run}.lock"
