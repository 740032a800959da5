"""The queue: lines of open batches that wait for the engine, are claimed by a wave, and get their answers.

Claims are in the database. A server that was killed in a wave starts with the same one, and the answers that it had are
in the engine's store. Knows nothing of the engine.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from leeroo.serve.clock import now
from leeroo.serve.database import Database
from leeroo.serve.lines.read import FAILED, OK
from leeroo.serve.lines.requests import LineRequest
from leeroo.serve.lines.results import LineAnswer


@dataclass(frozen=True)
class ClaimedLine:
    """A line that a wave has claimed."""

    line: int
    request: LineRequest
    tries: int  # how often it went back to waiting


@dataclass(frozen=True)
class Backlog:
    """Lines of a batch that wait for one expert, '' for any."""

    batch: int
    owner: str
    expert: str
    cost_weight: float
    latency_weight: float
    with_budget: bool
    learns: bool
    lines: int


NewAnswer = tuple[int, int, LineAnswer]  # batch, line, answer


_BACKLOG = (
    "SELECT number, owner, expert, cost_weight, latency_weight, max_cost_usd IS NOT NULL,"
    " coalesce(json_extract(metadata, '$.learn') = 'true', 0), lines"
    " FROM backlog JOIN batches ON batch = number"
)


def waiting(db: Database) -> list[Backlog]:
    """Return the lines that wait, the oldest batch first."""
    rows = db.rows(f"{_BACKLOG} WHERE status = 'in_progress' AND lines > 0 ORDER BY number")
    return [Backlog(*row) for row in rows]


def unfinished(db: Database) -> dict[int, list[Backlog]]:
    """Return the waves that a killed server had begun, with the lines that they have claimed; forget all others."""
    with db.transaction() as con:
        con.execute(
            "DELETE FROM waves WHERE number NOT IN (SELECT wave FROM lines WHERE wave IS NOT NULL AND status IS NULL)"
        )
    query = f"""
        SELECT wave, b.* FROM (SELECT wave, batch, expert AS named, count(*) FROM lines
                               WHERE wave IS NOT NULL AND status IS NULL GROUP BY wave, batch, expert)
        JOIN ({_BACKLOG}) b ON number = batch AND expert = named ORDER BY wave, number"""
    found: dict[int, list[Backlog]] = {}
    for wave, *row in db.rows(query):
        found.setdefault(wave, []).append(Backlog(*row))
    return found


def count_begin(db: Database, wave: int, change: int = 1) -> int:
    """Count that a wave is begun, or take that back with -1; return how often it was begun and did not end."""
    query = "INSERT INTO waves VALUES (?, ?) ON CONFLICT DO UPDATE SET begun = begun + excluded.begun RETURNING begun"
    with db.transaction() as con:
        return int(con.execute(query, (wave, change)).fetchone()[0])


def begun(db: Database, wave: int) -> int:
    """Return how often a wave was begun and did not end."""
    rows = db.rows("SELECT begun FROM waves WHERE number = ?", wave)
    return int(rows[0][0]) if rows else 0


def split(db: Database, wave: int, parts: int) -> list[int]:
    """Give the unanswered lines of a wave to new ones, each counted as begun once, and return their numbers."""
    with db.transaction() as con:
        query = "SELECT batch, line FROM lines WHERE wave = ? AND status IS NULL ORDER BY batch, line"
        lines = con.execute(query, (wave,)).fetchall()
        found = [lines[i::parts] for i in range(min(parts, len(lines)))]
        numbers = [time.time_ns() + i for i in range(len(found))]
        for number, part in zip(numbers, found, strict=True):
            con.execute("INSERT INTO waves VALUES (?, 1)", (number,))
            con.executemany(
                "UPDATE lines SET wave = ? WHERE batch = ? AND line = ?", ((number, *each) for each in part)
            )
    return numbers


def claim(db: Database, portions: Iterable[tuple[Backlog, int]]) -> int:
    """Claim a number of lines of each backlog for a wave, and return the number of the wave."""
    wave = time.time_ns()
    with db.transaction() as con:
        for backlog, lines in portions:
            claimed = con.execute(
                "UPDATE lines SET wave = ? WHERE batch = ? AND line IN (SELECT line FROM lines"
                " WHERE batch = ? AND expert = ? AND wave IS NULL AND status IS NULL ORDER BY turn LIMIT ?)",
                (wave, backlog.batch, backlog.batch, backlog.expert, lines),
            ).rowcount
            _change_backlog(con, backlog.batch, backlog.expert, -claimed)
    return wave


def _change_backlog(con: sqlite3.Connection, batch: int, expert: str, change: int) -> None:
    con.execute("UPDATE backlog SET lines = lines + ? WHERE batch = ? AND expert = ?", (change, batch, expert))


def claimed(db: Database, wave: int) -> dict[int, list[ClaimedLine]]:
    """Return the lines of a wave that have no answer yet, by batch."""
    found: dict[int, list[ClaimedLine]] = {}
    query = "SELECT batch, line, asked, tries FROM lines WHERE wave = ? AND status IS NULL ORDER BY batch, line"
    for row in db.rows(query, wave):
        found.setdefault(row["batch"], []).append(ClaimedLine(row["line"], json.loads(row["asked"]), row["tries"]))
    return found


def release(db: Database, wave: int, *, tried: bool) -> None:
    """Let the unanswered lines of a wave wait again; with `tried` this counts as a try of each."""
    mine = "wave = ? AND status IS NULL"
    with db.transaction() as con:
        query = f"SELECT batch, expert, count(*) FROM lines WHERE {mine} GROUP BY batch, expert"
        for batch, expert, lines in con.execute(query, (wave,)).fetchall():
            _change_backlog(con, batch, expert, lines)
        con.execute(f"UPDATE lines SET wave = NULL, tries = tries + ? WHERE {mine}", (tried, wave))
        con.execute("DELETE FROM waves WHERE number = ?", (wave,))


def claims(db: Database, batch: int) -> bool:
    """Return whether a wave has claimed lines of a batch."""
    query = "SELECT 1 FROM lines WHERE batch = ? AND wave IS NOT NULL AND status IS NULL LIMIT 1"
    return bool(db.rows(query, batch))


def open_lines(db: Database, batch: int) -> int:
    """Count the lines of a batch that have no answer yet, claimed or not."""
    rows = db.rows("SELECT count(*) FROM lines WHERE batch = ? AND status IS NULL", batch)
    return int(rows[0][0])


def keep_answers(db: Database, answers: Iterable[NewAnswer]) -> None:
    """Keep the answers of claimed lines, all of them or none."""
    by_batch: dict[int, list[tuple[int, LineAnswer]]] = {}
    for batch, line, answer in answers:
        by_batch.setdefault(batch, []).append((line, answer))
    with db.transaction() as con:
        for batch, lines in by_batch.items():
            con.executemany(
                "UPDATE lines SET status = ?, told = ? WHERE batch = ? AND line = ?",
                ((OK if a["error"] is None else FAILED, json.dumps(a), batch, line) for line, a in lines),
            )
            _count(con, batch, [answer for _, answer in lines])


def fail(db: Database, batch: int, answer: LineAnswer) -> None:
    """Give this answer, an error, to all lines of a batch that have none."""
    rows = db.rows("SELECT line FROM lines WHERE batch = ? AND status IS NULL", batch)
    keep_answers(db, [(batch, row["line"], answer) for row in rows])
    with db.transaction() as con:
        con.execute("DELETE FROM backlog WHERE batch = ?", (batch,))


def _count(con: sqlite3.Connection, batch: int, answers: list[LineAnswer]) -> None:
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
        (now(), batch),
    )


def _sums(answers: list[LineAnswer], names: Sequence[str]) -> list[float]:
    return [sum(answer[name] or 0 for answer in answers) for name in names]


_SUMS = ("cost_usd", "list_cost_usd", "prompt_tokens", "completion_tokens")
_SHARED = ("cost_usd", "prompt_tokens", "completion_tokens")
