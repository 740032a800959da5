"""Batches: from `validating` to their end, kept in the database at every step."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from leeroo.serve.database import Database, new_id
from leeroo.serve.lines import FAILED, OK, Form, Line

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

    @property
    def open(self) -> bool:
        """Whether it has not come to its end."""
        return self.status in OPEN


@dataclass(frozen=True)
class Wishes:
    """What a batch's metadata asks for, or the server's options where it does not."""

    max_cost_usd: float | None = None
    cost_weight: float = 0.0
    latency_weight: float = 0.0
    private: bool = False


@dataclass(frozen=True)
class Waiting:
    """A line on its way to the engine."""

    line: int
    asked: dict[str, Any]


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
) -> Batch | None:
    """A new batch, to be validated; None where its owner has `most_open` open ones."""
    now = int(time.time())
    with db.turn() as con:
        marks = ", ".join("?" * len(OPEN))
        query = f"SELECT count(*) FROM batches WHERE status IN ({marks}) AND owner = ?"
        if con.execute(query, (*OPEN, owner)).fetchone()[0] >= most_open:
            return None
        batch = new_id("batch_")
        con.execute(
            "INSERT INTO batches (id, owner, endpoint, input_file_id, form, completion_window, metadata, max_cost_usd,"
            " cost_weight, latency_weight, private, status, created_at, expires_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'validating', ?, ?)",
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
                now,
                now + WINDOW_S,
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


def admit(db: Database, batch: Batch, lines: Iterator[Line]) -> None:
    """Put the lines of a validated batch in, a chunk at a time, and then open it to the engine.

    Raises:
        Refused: by `lines`, when they come to what is wrong.

    """
    with db.turn() as con:
        con.execute("DELETE FROM lines WHERE batch = ?", (batch.number,))  # of a try that was killed
    places = random.Random(batch.id)
    rows: list[tuple[Any, ...]] = []
    total = failed = 0
    for number, line in enumerate(lines):
        wrong = None if line.wrong is None else json.dumps({"error": line.wrong})
        asked = line.asked.as_json() if line.asked else None
        status = None if line.wrong is None else line.status
        rows.append((batch.number, number, places.getrandbits(40), line.custom_id, asked, status, wrong))
        total, failed = total + 1, failed + (line.wrong is not None)
        if len(rows) == _CHUNK:
            _put(db, rows)
            rows = []
    _put(db, rows)
    with db.turn() as con:
        con.execute("UPDATE batches SET total = ?, failed = ? WHERE number = ?", (total, failed, batch.number))
        con.execute(  # unless it was cancelled meanwhile
            "UPDATE batches SET status = 'in_progress', in_progress_at = ? WHERE number = ? AND status = 'validating'",
            (int(time.time()), batch.number),
        )


def _put(db: Database, rows: list[tuple[Any, ...]]) -> None:
    with db.turn() as con:
        con.executemany(
            "INSERT INTO lines (batch, line, turn, custom_id, asked, status, told) VALUES (?, ?, ?, ?, ?, ?, ?)", rows
        )


def refuse(db: Database, batch: Batch, errors: list[dict[str, Any]]) -> None:
    """End a batch whose file is none."""
    with db.turn() as con:
        con.execute("DELETE FROM lines WHERE batch = ?", (batch.number,))
        con.execute(
            "UPDATE batches SET status = 'failed', failed_at = ?, errors = ? WHERE number = ?",
            (int(time.time()), json.dumps(errors), batch.number),
        )


def cancel(db: Database, batch: Batch) -> None:
    """Ask for the end of a batch; what rides in a wave is still answered."""
    with db.turn() as con:
        con.execute(
            "UPDATE batches SET status = 'cancelling', cancelling_at = ?"
            " WHERE number = ? AND status IN ('validating', 'in_progress')",
            (int(time.time()), batch.number),
        )


def embark(db: Database, room: int) -> int | None:
    """Choose the lines of the next wave: the same number of every batch, and what is left to those with more.

    Returns:
        The number of the wave, or of one that a killed server had begun; None where nothing waits.

    """
    with db.turn() as con:
        begun = con.execute("SELECT min(wave) FROM lines WHERE wave IS NOT NULL AND status IS NULL").fetchone()[0]
        if begun is not None:
            return int(begun)
        # While no wave is under way, all lines without an answer wait.
        waiting = dict(
            con.execute(
                "SELECT number, total - completed - failed AS lines FROM batches"
                " WHERE status = 'in_progress' AND lines > 0"
            ).fetchall()
        )
        wave = time.time_ns()
        for batch, seats in _seats(waiting, room).items():
            con.execute(
                "UPDATE lines SET wave = ? WHERE batch = ? AND line IN (SELECT line FROM lines"
                " WHERE batch = ? AND wave IS NULL AND status IS NULL ORDER BY turn LIMIT ?)",
                (wave, batch, batch, seats),
            )
    return wave if waiting else None


def _seats(waiting: dict[int, int], room: int) -> dict[int, int]:
    """How many lines of each batch ride: those with the fewest are served whole before others get more."""
    seats = {}
    left = room
    for place, (batch, lines) in enumerate(sorted(waiting.items(), key=lambda item: (item[1], item[0]))):
        seats[batch] = min(lines, max(1, left // (len(waiting) - place)))
        left -= seats[batch]
    return seats


def riding(db: Database, wave: int) -> dict[int, list[Waiting]]:
    """The lines of a wave that have no answer yet, by batch."""
    found: dict[int, list[Waiting]] = {}
    query = "SELECT batch, line, asked FROM lines WHERE wave = ? AND status IS NULL ORDER BY batch, line"
    for row in db.rows(query, wave):
        found.setdefault(row["batch"], []).append(Waiting(row["line"], json.loads(row["asked"])))
    return found


def rides(db: Database, batch: Batch) -> bool:
    """Whether lines of a batch ride in a wave."""
    query = "SELECT 1 FROM lines WHERE batch = ? AND wave IS NOT NULL AND status IS NULL LIMIT 1"
    return bool(db.rows(query, batch.number))


def waiting(db: Database, batch: int) -> int:
    """How many lines of a batch have no answer yet, those that ride included."""
    rows = db.rows("SELECT count(*) FROM lines WHERE batch = ? AND status IS NULL", batch)
    return int(rows[0][0])


def by_number(db: Database, number: int) -> Batch:
    """A batch by its number."""
    return _batch(db.rows(f"SELECT {_COLUMNS} FROM batches WHERE number = ?", number)[0])


def settle(db: Database, told: Sequence[tuple[int, int, dict[str, Any]]]) -> None:
    """Keep what became of lines, all of them or none: (batch, line, columns of the answers table)."""
    of: dict[int, dict[int, dict[str, Any]]] = {}
    for batch, line, answer in told:
        of.setdefault(batch, {})[line] = answer
    with db.turn() as con:
        for batch, answers in of.items():
            con.executemany(
                "UPDATE lines SET status = ?, told = ?, asked = NULL WHERE batch = ? AND line = ?",
                ((FAILED if a["error"] is not None else OK, json.dumps(a), batch, line) for line, a in answers.items()),
            )
            _count(con, batch, list(answers.values()))


def _count(con: sqlite3.Connection, batch: int, answers: list[dict[str, Any]]) -> None:
    """Add answers to the sums of their batch."""
    failed = sum(answer["error"] is not None for answer in answers)
    con.execute(
        f"UPDATE batches SET completed = completed + ?, failed = failed + ?,"
        f" {', '.join(f'{name} = {name} + ?' for name in _SUMS)} WHERE number = ?",
        (len(answers) - failed, failed, *_sums(answers, _SUMS), batch),
    )
    for expert in sorted({answer["expert"] for answer in answers} - {None}):
        its = [answer for answer in answers if answer["expert"] == expert]
        con.execute(
            "INSERT INTO shares VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
            f" {', '.join(f'{name} = {name} + excluded.{name}' for name in ('rows', *_SHARED))}",
            (batch, expert, len(its), *_sums(its, _SHARED)),
        )
    con.execute(
        "INSERT INTO history SELECT number, ?, completed + failed, cost_usd FROM batches WHERE number = ?",
        (time.time(), batch),
    )


def _sums(answers: list[dict[str, Any]], names: Sequence[str]) -> list[float]:
    return [sum(answer[name] or 0 for answer in answers) for name in names]


_SUMS = ("cost_usd", "list_cost_usd", "prompt_tokens", "completion_tokens")
_SHARED = ("cost_usd", "prompt_tokens", "completion_tokens")


def finish(db: Database, batch: Batch, status: str, output: str | None, errors: str | None) -> None:
    """The end of a batch, with its files; its lines are no longer needed."""
    with db.turn() as con:
        con.execute("DELETE FROM lines WHERE batch = ?", (batch.number,))
        con.execute(
            f"UPDATE batches SET status = ?, {status}_at = ?, output_file_id = ?, error_file_id = ? WHERE number = ?",
            (status, int(time.time()), output, errors, batch.number),
        )


def finalizing(db: Database, batch: Batch) -> None:
    """All lines have an answer: the files are being written."""
    with db.turn() as con:
        con.execute(
            "UPDATE batches SET status = 'finalizing', finalizing_at = ? WHERE number = ? AND status = 'in_progress'",
            (int(time.time()), batch.number),
        )


def results(db: Database, batch: Batch) -> Iterator[tuple[int, str | None, int | None, dict[str, Any] | None]]:
    """Line, custom_id, status and what it came to, in the order of the input; None where it was not come to."""
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
