"""Batches: their records in the database, from `validating` to their end.

Knows nothing of how lines are answered.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Json

from leeroo.engine.answer import Criteria
from leeroo.serve.clock import now
from leeroo.serve.database import Database, new_id
from leeroo.serve.lines.read import Form, Line
from leeroo.serve.lines.results import LineAnswer, LineResult, no_answer

WINDOW, WINDOW_S = "24h", 24 * 3600
OPEN = ("validating", "in_progress", "finalizing", "cancelling")
IS_OPEN = f"status IN {OPEN}"
# Lines written to the database at a time, while other threads wait.
_CHUNK = 1000


class BatchRecord(BaseModel):
    """The columns of a batch that clients see; times are seconds of the epoch, None for what has not happened yet."""

    model_config = ConfigDict(frozen=True)

    id: str
    endpoint: str
    input_file_id: str
    completion_window: str
    status: Literal[
        "validating", "failed", "in_progress", "finalizing", "completed", "expired", "cancelling", "cancelled"
    ]
    output_file_id: str | None
    error_file_id: str | None
    created_at: int
    in_progress_at: int | None
    expires_at: int
    finalizing_at: int | None
    completed_at: int | None
    failed_at: int | None
    expired_at: int | None
    cancelling_at: int | None
    cancelled_at: int | None


class Batch(BatchRecord):
    """A row of the table `batches`."""

    number: int
    owner: str
    form: Form
    metadata: Json[dict[str, str]] | None
    max_cost_usd: float | None
    cost_weight: float
    latency_weight: float
    private: bool
    errors: Json[list[dict[str, Any]]] | None
    total: int
    completed: int
    failed: int
    cost_usd: float
    list_cost_usd: float
    prompt_tokens: int
    completion_tokens: int
    output_expires_s: int | None
    attempts: int

    @property
    def open(self) -> bool:
        """True until it has ended."""
        return self.status in OPEN


_COLUMNS = ", ".join(Batch.model_fields)


def create(
    db: Database,
    owner: str,
    endpoint: str,
    input_file_id: str,
    form: Form,
    metadata: dict[str, str] | None,
    criteria: Criteria,
    most_open: int,
    *,
    private: bool = False,
    output_expires_s: int | None = None,
) -> Batch | None:
    """Create a batch that waits for its check; None where its owner has `most_open` open ones."""
    created = int(now())
    row = {
        "id": new_id("batch_"),
        "owner": owner,
        "endpoint": endpoint,
        "input_file_id": input_file_id,
        "form": form,
        "completion_window": WINDOW,
        "metadata": None if metadata is None else json.dumps(metadata),
        "max_cost_usd": criteria.max_cost_usd,
        "cost_weight": criteria.cost_weight,
        "latency_weight": criteria.latency_weight,
        "private": private,
        "status": "validating",
        "created_at": created,
        "expires_at": created + WINDOW_S,
        "output_expires_s": output_expires_s,
    }
    with db.transaction() as con:
        [open_ones] = con.execute(f"SELECT count(*) FROM batches WHERE {IS_OPEN} AND owner = ?", (owner,)).fetchone()
        if open_ones >= most_open:
            return None
        marks = ", ".join("?" * len(row))
        query = f"INSERT INTO batches ({', '.join(row)}) VALUES ({marks}) RETURNING {_COLUMNS}"
        made = con.execute(query, tuple(row.values())).fetchone()
    return Batch(**dict(zip(Batch.model_fields, made, strict=True)))


def get(db: Database, owner: str, batch: str) -> Batch | None:
    """Return a batch of an owner."""
    return next(iter(_select(db, "id = ? AND owner = ?", batch, owner)), None)


def by_number(db: Database, number: int) -> Batch:
    """Return a batch by its number."""
    return _select(db, "number = ?", number)[0]


def list_batches(db: Database, owner: str, after: Batch | None, limit: int) -> list[Batch]:
    """Return the batches of an owner, the newest first, from the one after `after`."""
    before = after.number if after else 1 << 62
    return _select(db, "owner = ? AND number < ? ORDER BY number DESC LIMIT ?", owner, before, limit)


def in_state(db: Database, *states: str) -> list[Batch]:
    """Return all batches in these states, the oldest first."""
    return _select(db, f"status IN ({', '.join('?' * len(states))}) ORDER BY number", *states)


class OpenBatch(NamedTuple):
    """The little of an open batch that says what is to be done next; there may be thousands."""

    number: int
    owner: str
    status: str


def list_open(db: Database, *states: str) -> list[OpenBatch]:
    """Return the open batches in these states, the oldest first."""
    marks = ", ".join("?" * len(states))
    return [
        OpenBatch(*row)
        for row in db.rows(
            f"SELECT {', '.join(OpenBatch._fields)} FROM batches WHERE status IN ({marks}) ORDER BY number", *states
        )
    ]


def _select(db: Database, which: str, *values: Any) -> list[Batch]:
    return [Batch(**dict(row)) for row in db.rows(f"SELECT {_COLUMNS} FROM batches WHERE {which}", *values)]


def uses(db: Database, file: str) -> bool:
    """Return whether an open batch reads this file."""
    return bool(db.rows(f"SELECT 1 FROM batches WHERE {IS_OPEN} AND input_file_id = ? LIMIT 1", file))


def count_attempt(db: Database, batch: Batch, change: int = 1) -> int:
    """Count that a stage of a batch begins, or take that back with -1, and return how often it began."""
    with db.transaction() as con:
        query = "UPDATE batches SET attempts = attempts + ? WHERE number = ? RETURNING attempts"
        return int(con.execute(query, (change, batch.number)).fetchone()[0])


def store_lines(db: Database, batch: Batch, lines: Iterable[Line]) -> None:
    """Store the lines of a batch, a chunk at a time, and then open it to the engine.

    Raises:
        FileRefused: by `lines`, at the first mistake.

    """
    if db.rows("SELECT 1 FROM lines WHERE batch = ? LIMIT 1", batch.number):
        with db.transaction() as con:
            _forget_lines(con, batch)  # of an attempt that was killed
    places = random.Random(batch.id)
    rows: list[tuple[Any, ...]] = []
    backlog: Counter[str] = Counter()
    total = failed = 0
    for number, line in enumerate(lines):
        answer = None if line.wrong is None else json.dumps(no_answer(line.wrong))
        request = None if line.request is None else json.dumps(line.request)
        status = None if line.wrong is None else line.status
        expert = (line.request or {}).get("expert", "")
        rows.append((batch.number, number, places.getrandbits(40), line.custom_id, request, status, answer, expert))
        total, failed = total + 1, failed + (line.wrong is not None)
        backlog[expert] += line.wrong is None
        if len(rows) == _CHUNK:
            with db.transaction() as con:
                _put(con, rows)
            rows = []
    with db.transaction() as con:
        _put(con, rows)
        con.executemany("INSERT INTO backlog VALUES (?, ?, ?)", ((batch.number, *each) for each in backlog.items()))
        _change(con, batch, total=total, failed=failed)
        _enter(con, batch, "in_progress", "validating")  # unless it was cancelled meanwhile


def _put(con: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
    con.executemany(
        "INSERT INTO lines (batch, line, turn, custom_id, asked, status, told, expert) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        rows,
    )


def _forget_lines(con: sqlite3.Connection, batch: Batch) -> None:
    for table in ("lines", "backlog"):
        con.execute(f"DELETE FROM {table} WHERE batch = ?", (batch.number,))


def _change(con: sqlite3.Connection, batch: Batch, only: str = "TRUE", /, **columns: Any) -> None:
    names = ", ".join(f"{name} = ?" for name in columns)
    con.execute(f"UPDATE batches SET {names} WHERE number = ? AND {only}", (*columns.values(), batch.number))


def _enter(con: sqlite3.Connection, batch: Batch, status: str, *before: str) -> None:
    """Move a batch to another state, at whose first stage it is, if it is in one of those before."""
    only = f"status IN ({', '.join(map(repr, before))})"
    _change(con, batch, only, status=status, **{f"{status}_at": int(now())}, attempts=0)


def cancel(db: Database, batch: Batch) -> None:
    """Mark a batch to be cancelled."""
    with db.transaction() as con:
        _enter(con, batch, "cancelling", "validating", "in_progress")


def mark_finalizing(db: Database) -> None:
    """Mark batches whose lines are all answered, or whose time is over: their files are to be written."""
    at = int(now())
    done = "status = 'in_progress' AND (completed + failed = total OR expires_at < ?)"
    if db.rows(f"SELECT 1 FROM batches WHERE {done} LIMIT 1", at):
        with db.transaction() as con:
            con.execute(
                f"UPDATE batches SET status = 'finalizing', finalizing_at = ?, attempts = 0 WHERE {done}", (at, at)
            )


def end(db: Database, batch: Batch, status: str, **columns: Any) -> None:
    """End a batch, with its files or the reasons why it cannot be answered; its lines are no longer needed."""
    with db.transaction() as con:
        _forget_lines(con, batch)
        _change(con, batch, status=status, **{f"{status}_at": int(now())}, **columns)


def results(db: Database, batch: Batch) -> Iterator[LineResult]:
    """Yield the lines of a batch in the order of the input."""
    query = "SELECT line, custom_id, status, told FROM lines WHERE batch = ? AND line > ? ORDER BY line LIMIT ?"
    after = -1
    while rows := db.rows(query, batch.number, after, _CHUNK):
        for row in rows:
            yield LineResult(row["line"], row["custom_id"], row["status"], row["told"] and _answer(row["told"]))
        after = rows[-1]["line"]


def _answer(text: str) -> LineAnswer:
    """Return a kept answer; version 2 of the database kept only the error of lines that were wrong in themselves."""
    answer: LineAnswer = json.loads(text)
    return answer if "answer" in answer else no_answer(answer["error"])


def shares(db: Database, batch: Batch) -> list[tuple[str, int, float]]:
    """Return each expert of a batch with its rows and US dollars, the one with the most rows first."""
    query = "SELECT expert, rows, cost_usd FROM shares WHERE batch = ? ORDER BY rows DESC, expert"
    return [(row["expert"], row["rows"], row["cost_usd"]) for row in db.rows(query, batch.number)]


def history(db: Database, batch: Batch) -> list[tuple[float, int, float]]:
    """Return the progress of a batch: times, and the lines done and US dollars spent by then."""
    query = "SELECT at, done, cost_usd FROM history WHERE batch = ? ORDER BY at"
    return [(row["at"], row["done"], row["cost_usd"]) for row in db.rows(query, batch.number)]


def forget(db: Database, before: float) -> None:
    """Remove the records of batches that ended before this time."""
    ended = "SELECT number FROM batches WHERE coalesce(completed_at, failed_at, expired_at, cancelled_at) < ?"
    with db.transaction() as con:
        for table in ("shares", "history", "answered"):
            con.execute(f"DELETE FROM {table} WHERE batch IN ({ended})", (before,))
        con.execute(f"DELETE FROM batches WHERE number IN ({ended})", (before,))
