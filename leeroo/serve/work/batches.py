"""Batches: their records in the database, from `validating` to their end.

Knows nothing of the engine.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any

from leeroo.serve.clock import now
from leeroo.serve.database import Database, new_id
from leeroo.serve.options import BatchOptions
from leeroo.serve.work.lines import Form, Line
from leeroo.serve.work.results import LineAnswer, LineResult, no_answer

WINDOW, WINDOW_S = "24h", 24 * 3600
OPEN = ("validating", "in_progress", "finalizing", "cancelling")
# Lines written to the database at a time, while other threads wait.
_CHUNK = 1000


@dataclass(frozen=True)
class Batch:
    """A row of the table `batches`; times are seconds of the epoch, None for what has not happened."""

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
        """True until it has ended."""
        return self.status in OPEN


_COLUMNS = ", ".join(f.name for f in fields(Batch))


def create(
    db: Database,
    owner: str,
    endpoint: str,
    input_file_id: str,
    form: Form,
    metadata: dict[str, str] | None,
    options: BatchOptions,
    most_open: int,
    output_expires_s: int | None = None,
) -> Batch | None:
    """Create a batch that waits for its check; None where its owner has `most_open` open ones."""
    created = int(now())
    with db.transaction() as con:
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
                options.max_cost_usd,
                options.cost_weight,
                options.latency_weight,
                options.private,
                created,
                created + WINDOW_S,
                output_expires_s,
            ),
        )
    return get(db, owner, batch)


def get(db: Database, owner: str | None, batch: str) -> Batch | None:
    """Return a batch of an owner, or of anyone where `owner` is None."""
    query = f"SELECT {_COLUMNS} FROM batches WHERE id = ? AND coalesce(?, owner) = owner"
    rows = db.rows(query, batch, owner)
    return _batch(rows[0]) if rows else None


def listed(db: Database, owner: str, after: Batch | None, limit: int) -> list[Batch]:
    """Return the batches of an owner, the newest first, from the one after `after`."""
    query = f"SELECT {_COLUMNS} FROM batches WHERE owner = ? AND number < ? ORDER BY number DESC LIMIT ?"
    return [_batch(row) for row in db.rows(query, owner, after.number if after else 1 << 62, limit)]


def in_state(db: Database, *states: str) -> list[Batch]:
    """Return all batches in these states, the oldest first."""
    marks = ", ".join("?" * len(states))
    return [
        _batch(row)
        for row in db.rows(f"SELECT {_COLUMNS} FROM batches WHERE status IN ({marks}) ORDER BY number", *states)
    ]


def uses(db: Database, file: str) -> bool:
    """Return whether an open batch reads this file."""
    marks = ", ".join("?" * len(OPEN))
    query = f"SELECT 1 FROM batches WHERE status IN ({marks}) AND input_file_id = ? LIMIT 1"
    return bool(db.rows(query, *OPEN, file))


def attempt(db: Database, batch: Batch, change: int = 1) -> int:
    """Count that a stage of a batch begins, or take that back with -1, and return how often it began."""
    with db.transaction() as con:
        query = "UPDATE batches SET attempts = attempts + ? WHERE number = ? RETURNING attempts"
        return int(con.execute(query, (change, batch.number)).fetchone()[0])


def store_lines(db: Database, batch: Batch, lines: Iterable[Line]) -> None:
    """Store the lines of a batch, a chunk at a time, and then open it to the engine.

    Raises:
        FileRefused: by `lines`, at the first mistake.

    """
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
            _put(db, rows)
            rows = []
    _put(db, rows)
    with db.transaction() as con:
        con.executemany("INSERT INTO backlog VALUES (?, ?, ?)", ((batch.number, *each) for each in backlog.items()))
        con.execute("UPDATE batches SET total = ?, failed = ? WHERE number = ?", (total, failed, batch.number))
        con.execute(  # unless it was cancelled meanwhile
            "UPDATE batches SET status = 'in_progress', in_progress_at = ?, attempts = 0"
            " WHERE number = ? AND status = 'validating'",
            (int(now()), batch.number),
        )


def _put(db: Database, rows: list[tuple[Any, ...]]) -> None:
    with db.transaction() as con:
        con.executemany(
            "INSERT INTO lines (batch, line, turn, custom_id, asked, status, told, expert)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            rows,
        )


def _forget_lines(con: sqlite3.Connection, batch: Batch) -> None:
    for table in ("lines", "backlog"):
        con.execute(f"DELETE FROM {table} WHERE batch = ?", (batch.number,))


def refuse(db: Database, batch: Batch, errors: list[dict[str, Any]]) -> None:
    """End a batch that cannot be answered, with the reasons."""
    with db.transaction() as con:
        _forget_lines(con, batch)
        con.execute(
            "UPDATE batches SET status = 'failed', failed_at = ?, errors = ? WHERE number = ?",
            (int(now()), json.dumps(errors), batch.number),
        )


def cancel(db: Database, batch: Batch) -> None:
    """Mark a batch to be cancelled."""
    with db.transaction() as con:
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
    with db.transaction() as con:
        _forget_lines(con, batch)
        con.execute(
            f"UPDATE batches SET status = ?, {status}_at = ?, output_file_id = ?, error_file_id = ? WHERE number = ?",
            (status, int(now()), output, errors, batch.number),
        )


def finalizing(db: Database, batch: Batch) -> None:
    """Mark a batch whose lines are all answered: its files are being written."""
    with db.transaction() as con:
        con.execute(
            "UPDATE batches SET status = 'finalizing', finalizing_at = ?, attempts = 0"
            " WHERE number = ? AND status = 'in_progress'",
            (int(now()), batch.number),
        )


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


def _batch(row: sqlite3.Row) -> Batch:
    columns = dict(row)
    columns["metadata"] = columns["metadata"] and json.loads(columns["metadata"])
    columns["errors"] = columns["errors"] and json.loads(columns["errors"])
    columns["private"] = bool(columns["private"])
    return Batch(**columns)


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
