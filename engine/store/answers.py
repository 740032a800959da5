"""Stored answers: only ever added, each under a key computed from everything that made it."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from leeroo.engine.store.batches import end_lines
from leeroo.engine.store.spending import count_new, last_row

TABLES = """
CREATE TABLE IF NOT EXISTS answers (
    key BLOB NOT NULL, run TEXT, asked TEXT, expert TEXT, fingerprint TEXT, answer TEXT,
    prompt_tokens INTEGER, completion_tokens INTEGER, list_cost_usd REAL, latency_ms REAL,
    finish_reason TEXT, recorded_score REAL, choice_logprobs TEXT, created REAL, question_hash BLOB,
    predicted_score REAL, private INTEGER, logprobs TEXT, reasoning_tokens INTEGER, reasoning TEXT,
    cached_tokens INTEGER);
CREATE UNIQUE INDEX IF NOT EXISTS answers_by_key ON answers (key);
CREATE INDEX IF NOT EXISTS answers_by_fingerprint ON answers (fingerprint);
"""

# Columns that stores of older versions lack.
ADDED = {
    "choice_logprobs": "TEXT",
    "question_hash": "BLOB",
    "predicted_score": "REAL",
    "private": "INTEGER",
    "logprobs": "TEXT",
    "reasoning_tokens": "INTEGER",
    "reasoning": "TEXT",
    "cached_tokens": "INTEGER",
}

STORED = pa.schema(
    [
        pa.field("key", pa.binary(), nullable=False),
        pa.field("run", pa.string()),
        pa.field("asked", pa.string()),  # the name of the question in its run
        pa.field("expert", pa.string()),
        pa.field("fingerprint", pa.string()),
        pa.field("answer", pa.string()),
        pa.field("prompt_tokens", pa.int64()),
        pa.field("completion_tokens", pa.int64()),
        pa.field("list_cost_usd", pa.float64()),
        pa.field("latency_ms", pa.float64()),
        pa.field("finish_reason", pa.string()),
        pa.field("recorded_score", pa.float64()),
        pa.field("choice_logprobs", pa.list_(pa.float64())),
        pa.field("logprobs", pa.string()),
        pa.field("reasoning_tokens", pa.int64()),
        pa.field("reasoning", pa.string()),  # where the run keeps it
    ]
)

# What is read of an answer that is found by its key.
FOUND = pa.schema([field for field in STORED if field.name not in ("run", "asked", "expert", "fingerprint")])

# What is kept of an answer: also what feedback on it is found by, and is compared with.
KEPT = pa.schema(
    [
        *STORED,
        pa.field("question_hash", pa.binary()),
        pa.field("predicted_score", pa.float64()),
        pa.field("cached_tokens", pa.int64()),
        pa.field("private", pa.bool_()),  # the question came from a row that must not leave local experts
    ]
)

# Keys looked up in one statement.
_AT_ONCE = 1000

# The length of an expert's answers is that of its latest ones.
ANSWERS_COUNTED = 1000


class Lengths(NamedTuple):
    """The mean tokens of the latest answers of one expert, and of their prompts.

    Attributes:
        cached_share: The part of the prompts' tokens that was read from a cache.

    """

    answers: int
    prompt_tokens: float
    completion_tokens: float
    cached_share: float = 0.0


def look_up(db: sqlite3.Connection, keys: pa.Array) -> pa.Table:
    """Return the stored answers of these keys (binary, distinct), as a table with `FOUND`, in any order."""
    if db.execute("SELECT 1 FROM answers LIMIT 1").fetchone() is None:
        return FOUND.empty_table()
    wanted = keys.to_pylist()
    return pa.concat_tables(
        [FOUND.empty_table(), *(_look_up(db, wanted[at : at + _AT_ONCE]) for at in range(0, len(wanted), _AT_ONCE))]
    )


def _look_up(db: sqlite3.Connection, keys: list[bytes]) -> pa.Table:
    places = ", ".join("?" * len(keys))
    return table(db.execute(f"SELECT {', '.join(FOUND.names)} FROM answers WHERE key IN ({places})", keys), FOUND)


def want(db: sqlite3.Connection, keys: pa.Array) -> None:
    """Fill the temporary table `wanted` with keys, to be joined with others."""
    db.execute("CREATE TEMP TABLE IF NOT EXISTS wanted (key BLOB PRIMARY KEY) WITHOUT ROWID")
    db.execute("DELETE FROM wanted")
    db.executemany("INSERT OR IGNORE INTO wanted VALUES (?)", zip(keys.to_pylist(), strict=True))


def append(db: sqlite3.Connection, answers: pa.Table, now: float | None = None) -> None:
    """Keep answers (`KEPT`) for good, and end the claims on them; one whose key is there already is left as it is."""
    created, before = time.time() if now is None else now, last_row(db, "answers")
    if not answers.num_rows:
        return
    given = [name for name in KEPT.names if answers.column(name).null_count < answers.num_rows]
    columns = {name: answers.column(name).to_pylist() for name in given}
    if "choice_logprobs" in columns:
        columns["choice_logprobs"] = [each and json.dumps(each) for each in columns["choice_logprobs"]]
    db.executemany(
        f"INSERT OR IGNORE INTO answers ({', '.join(given)}, created) VALUES ({'?, ' * len(given)}{created!r})",
        zip(*columns.values(), strict=True),
    )
    count_new(db, "answers", before)
    if db.execute("SELECT 1 FROM claims LIMIT 1").fetchone() is not None:
        db.executemany("DELETE FROM claims WHERE key = ?", zip(columns["key"], strict=True))
    end_lines(db, columns["key"])


def mark_private(db: sqlite3.Connection, keys: pa.Array) -> None:
    """Note that a private row has the question of these stored answers (binary keys) too."""
    db.executemany(
        "UPDATE answers SET private = 1 WHERE key = ? AND private IS NOT 1", zip(keys.to_pylist(), strict=True)
    )


def lengths(db: sqlite3.Connection, fingerprints: Iterable[str]) -> dict[str, Lengths]:
    """Return the mean tokens of prompts and answers of experts, by fingerprint; those without answers are left out.

    Answers that name one of some choices do not count: they are as long as the choices.
    """
    query = (
        "SELECT count(*), avg(prompt_tokens), avg(completion_tokens),"
        " coalesce(total(cached_tokens) / nullif(sum(prompt_tokens), 0), 0.0)"
        " FROM (SELECT * FROM answers WHERE fingerprint = ?"
        f" AND choice_logprobs IS NULL ORDER BY rowid DESC LIMIT {ANSWERS_COUNTED})"
        " WHERE prompt_tokens IS NOT NULL AND completion_tokens IS NOT NULL"
    )
    found = {each: Lengths(*db.execute(query, (each,)).fetchone()) for each in fingerprints}
    return {each: known for each, known in found.items() if known.answers}


def table(rows: Iterable[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    """Return rows of some columns of stored answers as Arrow."""
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    try:
        return pa.Table.from_arrays([_column(*each) for each in zip(columns, schema, strict=True)], schema=schema)
    except (ValueError, TypeError) as error:
        raise sqlite3.DatabaseError(f"an answer cannot be read: {error}") from error


def _column(values: Sequence[Any], field: pa.Field) -> pa.Array:
    if pa.types.is_list(field.type):
        values = [each and json.loads(each) for each in values]
    return pa.array(values, field.type)
