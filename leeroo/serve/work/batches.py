"""Batches: from `validating` to their end, kept in the database at every step."""

from __future__ import annotations

import json
import random
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from leeroo.engine.answer import Criteria
from leeroo.serve.clock import now
from leeroo.serve.database import Database, new_id
from leeroo.serve.work.lines import Form, Line

WINDOW, WINDOW_S = "24h", 24 * 3600
OPEN = ("validating", "in_progress", "finalizing", "cancelling")
# Lines put into the database at a time: meanwhile others wait for their turn with it.
_CHUNK = 1000


@dataclass(frozen=True)
class Batch:
    """A row of the table `batches`; times are seconds of the epoch, None what has not come to pass."""

    number: int
    id: str
    owner: str
    endpoint: str
    input_file_id: str
    form: Form
    completion_window: str
    metadata: dict[str, str] | None
    max_cost_usd: float | None
    cost_weight: float
    latency_weight: float
    private: bool
    status: str
    errors: list[dict[str, Any]] | None
    output_file_id: str | None
    error_file_id: str | None
    total: int
    completed: int
    failed: int
    cost_usd: float
    list_cost_usd: float
    prompt_tokens: int
    completion_tokens: int
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None
    output_expires_s: int | None
    attempts: int

    @property
    def open(self) -> bool:
        """Whether it has not come to its end."""
        return self.status in OPEN


@dataclass(frozen=True)
class Wishes:
    """The budget, weights and privacy of a batch, from its metadata or the server's options."""

    max_cost_usd: float | None = None
    cost_weight: float = 0.0
    latency_weight: float = 0.0
    private: bool = False

    def checked(self) -> Wishes:
        """Return it, if the engine can do it.

        Raises:
            UsageError: a budget and a weight exclude each other, or a number cannot be.

        """
        Criteria(max_cost_usd=self.max_cost_usd, cost_weight=self.cost_weight, latency_weight=self.latency_weight)
        return self


_COLUMNS = ", ".join(f.name for f in fields(Batch))


def create(
    db: Database,
    owner: str,
    endpoint: str,
    input_file_id: str,
    form: Form,
    metadata: dict[str, str] | None,
    wishes: Wishes,
    most_open: int,
    output_expires_s: int | None = None,
) -> Batch | None:
    """Make a batch, to be validated; None where its owner has `most_open` open ones."""
    created = int(now())
    with db.turn() as con:
        marks = ", ".join("?" * len(OPEN))
        query = f"SELECT count(*) FROM batches WHERE status IN ({marks}) AND owner = ?"
        if con.execute(query, (*OPEN, owner)).fetchone()[0] >= most_open:
            return None
        batch = new_id("batch_")
        con.execute(
            "INSERT INTO batches (id, owner, endpoint, input_file_id, form, completion_window, metadata, max_cost_usd,"
            " cost_weight, latency_weight, private, status, created_at, expires_at, output_expires_s)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'validating', ?, ?, ?)",
            (
                batch,
                owner,
                endpoint,
                input_file_id,
                form,
                WINDOW,
                json.dumps(metadata) if metadata is not None else None,
                wishes.max_cost_usd,
                wishes.cost_weight,
                wishes.latency_weight,
                wishes.private,
                created,
                created + WINDOW_S,
                output_expires_s,
            ),
        )
    return get(db, owner, batch)


def get(db: Database, owner: str | None, batch: str) -> Batch | None:
    """A batch of an owner's, or of anyone's."""
    query = f"SELECT {_COLUMNS} FROM batches WHERE id = ? AND coalesce(?, owner) = owner"
    rows = db.rows(query, batch, owner)
    return _batch(rows[0]) if rows else None


def listed(db: Database, owner: str, after: Batch | None, limit: int) -> list[Batch]:
    """An owner's batches, the newest first, from the one after `after`."""
    query = f"SELECT {_COLUMNS} FROM batches WHERE owner = ? AND number < ? ORDER BY number DESC LIMIT ?"
    return [_batch(row) for row in db.rows(query, owner, after.number if after else 1 << 62, limit)]


def in_state(db: Database, *states: str) -> list[Batch]:
    """All batches in these states, the oldest first."""
    marks = ", ".join("?" * len(states))
    return [
        _batch(row)
        for row in db.rows(f"SELECT {_COLUMNS} FROM batches WHERE status IN ({marks}) ORDER BY number", *states)
    ]


def uses(db: Database, file: str) -> bool:
    """Whether an open batch reads this file."""
    marks = ", ".join("?" * len(OPEN))
    query = f"SELECT 1 FROM batches WHERE status IN ({marks}) AND input_file_id = ? LIMIT 1"
    return bool(db.rows(query, *OPEN, file))


def attempt(db: Database, batch: Batch, change: int = 1) -> int:
    """Count that work on a stage of a batch begins, before it does, or take that back; return how often it did."""
    with db.turn() as con:
        query = "UPDATE batches SET attempts = attempts + ? WHERE number = ? RETURNING attempts"
        return int(con.execute(query, (change, batch.number)).fetchone()[0])


def admit(db: Database, batch: Batch, lines: Iterable[Line]) -> None:
    """Put the lines of a validated batch in, a chunk at a time, and then open it to the engine.

    Raises:
        Refused: by `lines`, when they come to what is wrong.

    """
    with db.turn() as con:
        _forget_lines(con, batch)  # of a try that was killed
    places = random.Random(batch.id)
    rows: list[tuple[Any, ...]] = []
    backlog: Counter[str] = Counter()
    total = failed = 0
    for number, line in enumerate(lines):
        wrong = None if line.wrong is None else json.dumps({"error": line.wrong})
        asked = line.asked.as_json() if line.asked else None
        status = None if line.wrong is None else line.status
        expert = (line.asked.expert if line.asked else None) or ""
        rows.append((batch.number, number, places.getrandbits(40), line.custom_id, asked, status, wrong, expert))
        total, failed = total + 1, failed + (line.wrong is not None)
        backlog[expert] += line.wrong is None
        if len(rows) == _CHUNK:
            _put(db, rows)
            rows = []
    _put(db, rows)
    with db.turn() as con:
        con.executemany("INSERT INTO backlog VALUES (?, ?, ?)", ((batch.number, *each) for each in backlog.items()))
        con.execute("UPDATE batches SET total = ?, failed = ? WHERE number = ?", (total, failed, batch.number))
        con.execute(  # unless it was cancelled meanwhile
            "UPDATE batches SET status = 'in_progress', in_progress_at = ?, attempts = 0"
            " WHERE number = ? AND status = 'validating'",
            (int(now()), batch.number),
        )


def _put(db: Database, rows: list[tuple[Any, ...]]) -> None:
    with db.turn() as con:
        con.executemany(
            "INSERT INTO lines (batch, line, turn, custom_id, asked, status, told, expert)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )


def _forget_lines(con: sqlite3.Connection, batch: Batch) -> None:
    for table in ("lines", "backlog"):
        con.execute(f"DELETE FROM {table} WHERE batch = ?", (batch.number,))


def refuse(db: Database, batch: Batch, errors: list[dict[str, Any]]) -> None:
    """End a batch that cannot be worked on."""
    with db.turn() as con:
        _forget_lines(con, batch)
        con.execute(
            "UPDATE batches SET status = 'failed', failed_at = ?, errors = ? WHERE number = ?",
            (int(now()), json.dumps(errors), batch.number),
        )


def cancel(db: Database, batch: Batch) -> None:
    """Ask for the end of a batch."""
    with db.turn() as con:
        con.execute(
            "UPDATE batches SET status = 'cancelling', cancelling_at = ?, attempts = 0"
            " WHERE number = ? AND status IN ('validating', 'in_progress')",
            (int(now()), batch.number),
        )


def by_number(db: Database, number: int) -> Batch:
    """Return a batch by its number."""
    return _batch(db.rows(f"SELECT {_COLUMNS} FROM batches WHERE number = ?", number)[0])


def finish(db: Database, batch: Batch, status: str, output: str | None, errors: str | None) -> None:
    """End a batch with its files; its lines are no longer needed."""
    with db.turn() as con:
        _forget_lines(con, batch)
        con.execute(
            f"UPDATE batches SET status = ?, {status}_at = ?, output_file_id = ?, error_file_id = ? WHERE number = ?",
            (status, int(now()), output, errors, batch.number),
        )


def finalizing(db: Database, batch: Batch) -> None:
    """Mark a batch whose lines are all answered: its files are being written."""
    with db.turn() as con:
        con.execute(
            "UPDATE batches SET status = 'finalizing', finalizing_at = ?, attempts = 0"
            " WHERE number = ? AND status = 'in_progress'",
            (int(now()), batch.number),
        )


def results(db: Database, batch: Batch) -> Iterator[tuple[int, str | None, int | None, dict[str, Any] | None]]:
    """Yield line, custom_id, status and result in the order of the input; None where a line was not reached."""
    after = -1
    query = "SELECT line, custom_id, status, told FROM lines WHERE batch = ? AND line > ? ORDER BY line LIMIT ?"
    while rows := db.rows(query, batch.number, after, _CHUNK):
        for row in rows:
            yield row["line"], row["custom_id"], row["status"], row["told"] and json.loads(row["told"])
        after = rows[-1]["line"]


def _batch(row: sqlite3.Row) -> Batch:
    told = dict(row)
    told["metadata"] = told["metadata"] and json.loads(told["metadata"])
    told["errors"] = told["errors"] and json.loads(told["errors"])
    told["private"] = bool(told["private"])
    return Batch(**told)


def forget(db: Database, before: float) -> None:
    """Remove the records of batches that ended before this time."""
    ended = "SELECT number FROM batches WHERE coalesce(completed_at, failed_at, expired_at, cancelled_at) < ?"
    with db.turn() as con:
        for table in ("shares", "history"):
            con.execute(f"DELETE FROM {table} WHERE batch IN ({ended})", (before,))
        con.execute(f"DELETE FROM batches WHERE number IN ({ended})", (before,))
