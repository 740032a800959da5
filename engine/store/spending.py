"""Spending: what was paid by day, expert and owner, also for requests without an answer, and for answers that are gone.

Days are those of UTC. The sums grow with every answer and charge, in the same transaction: nothing is ever added up
over all answers. Beside what was billed they have what may have been: requests under way when their run was killed.
Spending caps read one row each of `used`, which has the sums of days and months, of each expert and owner and of all.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from leeroo.engine.sqlite import read_rows
from leeroo.engine.store.batches import end_lines

if TYPE_CHECKING:
    from leeroo.engine.store.runs import Run

_SPENT = """
CREATE TABLE IF NOT EXISTS spent (
    day TEXT NOT NULL, expert TEXT NOT NULL, owner TEXT NOT NULL, answers INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, cost_usd REAL NOT NULL,
    unsure_usd REAL NOT NULL, PRIMARY KEY (day, expert, owner)) WITHOUT ROWID;
"""
# A period is a day or a month, as text; '' is all experts, or all owners.
_USED = """
CREATE TABLE IF NOT EXISTS used (
    period TEXT NOT NULL, expert TEXT NOT NULL, owner TEXT NOT NULL, usd REAL NOT NULL,
    PRIMARY KEY (period, expert, owner)) WITHOUT ROWID;
"""
TABLES = f"""
CREATE TABLE IF NOT EXISTS charges (
    run TEXT, asked TEXT, expert TEXT, prompt_tokens INTEGER, completion_tokens INTEGER, cost_usd REAL, created REAL);
CREATE INDEX IF NOT EXISTS charges_by_run ON charges (run);
{_SPENT}{_USED}
"""

# Until version 9 there were sums of removed answers alone, for all owners together.
MOVED = (
    "ALTER TABLE spent RENAME TO spent_without_owner",
    _SPENT,
    "INSERT INTO spent SELECT day, expert, '', answers, coalesce(prompt_tokens, 0), coalesce(completion_tokens, 0),"
    " coalesce(cost_usd, 0.0), 0.0 FROM spent_without_owner",
    "DROP TABLE spent_without_owner",
)

_ADD = """
INSERT INTO spent VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET answers = answers + excluded.answers,
    prompt_tokens = prompt_tokens + excluded.prompt_tokens,
    completion_tokens = completion_tokens + excluded.completion_tokens,
    cost_usd = cost_usd + excluded.cost_usd, unsure_usd = unsure_usd + excluded.unsure_usd
"""
_USE = "INSERT INTO used VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET usd = usd + excluded.usd"

# What is added to the sums: rows with the columns of `spent`.
_ROWS = """
SELECT coalesce(date(t.created, 'unixepoch'), '1970-01-01'), coalesce(t.expert, ''), coalesce(r.owner, ''), {answers},
       coalesce(sum(t.prompt_tokens), 0), coalesce(sum(t.completion_tokens), 0), coalesce(sum(t.{cost}), 0.0), 0.0
FROM {table} t LEFT JOIN runs r USING (run) WHERE t.rowid > ? GROUP BY 1, 2, 3
"""
_NEW = {
    "answers": _ROWS.format(table="answers", answers="count(*)", cost="list_cost_usd"),
    "charges": _ROWS.format(table="charges", answers="0", cost="cost_usd"),
}
_UNSURE = """
SELECT date(coalesce(created, :now), 'unixepoch'), coalesce(expert, ''), coalesce(owner, ''), 0, 0, 0, 0.0,
       sum(at_most_usd)
FROM claims WHERE run = :run AND at_most_usd > 0 AND key NOT IN (SELECT key FROM batch_lines) GROUP BY 1, 2, 3
"""

_SUMS = ("answers", "prompt_tokens", "completion_tokens", "cost_usd")

SpentBy = Literal["day", "expert", "owner"]
Billed = Literal["answers", "charges"]
# The tables of what was billed.
BILLED: tuple[Billed, ...] = ("answers", "charges")


class Charge(NamedTuple):
    """One request that was billed and brought no answer.

    Attributes:
        run: Who pays.
        asked: The name of the question in its run, as with answers.
        expert: Its name.
        key: The claim on this key ends with the charge; None while the request is still being tried.
    """

    run: str
    asked: str
    expert: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    key: bytes | None = None


def keep_charges(db: sqlite3.Connection, charges: Iterable[Charge], now: float | None = None) -> None:
    """Keep what was billed and brought no answer; the claims that the charges name end."""
    created, before = time.time() if now is None else now, last_row(db, "charges")
    kept = list(charges)
    for charge in kept:
        db.execute("INSERT INTO charges VALUES (?, ?, ?, ?, ?, ?, ?)", (*charge[:-1], created))
        db.execute("DELETE FROM claims WHERE key = ? AND run = ?", (charge.key, charge.run))
    count_new(db, "charges", before)
    end_lines(db, [charge.key for charge in kept if charge.key is not None])


def read_charges(db: sqlite3.Connection, run: Run) -> list[Charge]:
    """Return what a run was charged so far without an answer: a resumed run starts from there."""
    columns = ", ".join(Charge._fields[:-1])
    return [Charge(*row) for row in db.execute(f"SELECT {columns} FROM charges WHERE run = ?", (run.run,))]


def last_row(db: sqlite3.Connection, table: Billed) -> int:
    """Return the number of the last row; later ones have higher numbers."""
    return int(db.execute(f"SELECT coalesce(max(rowid), 0) FROM {table}").fetchone()[0])


def count_new(db: sqlite3.Connection, table: Billed, after: int) -> None:
    """Add the answers or charges after a row to the sums."""
    _add(db, db.execute(_NEW[table], (after,)).fetchall())


def count_unsure(db: sqlite3.Connection, run: str) -> None:
    """Count the most that the claims of a killed run may have cost, on the days when its requests were sent.

    Lines of open batches are still claimed.
    """
    _add(db, db.execute(_UNSURE, {"run": run, "now": time.time()}).fetchall())


def recount_used(db: sqlite3.Connection) -> None:
    """Compute the sums of `used` from those of days."""
    db.execute("DELETE FROM used")
    _use(db, db.execute("SELECT * FROM spent").fetchall())


def _add(db: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
    """Add rows with the columns of `spent` to all sums."""
    db.executemany(_ADD, rows)
    _use(db, rows)


def _use(db: sqlite3.Connection, rows: list[tuple[Any, ...]]) -> None:
    db.executemany(
        _USE,
        [
            (period, of_expert, of_owner, cost + unsure)
            for day, expert, owner, *_, cost, unsure in rows
            for period in (day, day[: len("2026-12")])
            for of_expert in {expert, ""}
            for of_owner in {owner, ""}
        ],
    )


def read_spend(
    db: sqlite3.Connection, by: Sequence[SpentBy] = ("day", "expert"), since: str | None = None
) -> list[dict[str, Any]]:
    """Return what was spent, in the order of the columns that it is grouped by; failed requests are in it.

    Args:
        db: The store.
        by: One row for each combination of these.
        since: The first day, as text.

    """
    sums = ", ".join(f"sum({name}) AS {name}" for name in _SUMS)
    named = ", ".join(by)
    # A row may have nothing but what is unsure.
    query = f"SELECT {named}, {sums} FROM spent WHERE day >= ? AND (answers > 0 OR cost_usd > 0) GROUP BY {named}"
    return read_rows(db, f"{query} ORDER BY {named}", (since or "",))
