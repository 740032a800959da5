"""Feedback: what users say of answers, kept beside them in the answer store.

One row for a question and an expert, with a score or with what would have been right (gold); given again, it is
replaced. Gold given for a question alone is of every expert that has answered it, or will. What a gold comes to is not
kept but told anew each time, so this knows nothing of how answers are compared.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterable
from typing import NamedTuple

TABLES = """
CREATE TABLE IF NOT EXISTS feedback (
    question_hash BLOB NOT NULL, expert TEXT NOT NULL, question TEXT NOT NULL, answer TEXT, score REAL, gold TEXT,
    predicted_score REAL, at REAL NOT NULL, PRIMARY KEY (question_hash, expert));
"""

# Only stores that get feedback look answers up by question, and pay for that when answers are appended.
_INDEX = "CREATE INDEX IF NOT EXISTS answers_by_question ON answers (question_hash)"

# Of every expert the latest answer to each of the questions in the table in the place of {asked}.
_LATEST = """
SELECT question_hash, expert, answer, predicted_score, prompt_tokens, completion_tokens, list_cost_usd, latency_ms,
       created
FROM (SELECT *, row_number() OVER (PARTITION BY question_hash, expert ORDER BY created DESC, rowid DESC) AS back
      FROM (SELECT a.*, a.rowid FROM {asked} CROSS JOIN answers a USING (question_hash)))
WHERE back = 1
"""

# A gold counts where the user did not say a score; of several for a question, the one given last.
_READ = f"""
WITH latest AS MATERIALIZED ({_LATEST.format(asked="(SELECT DISTINCT question_hash FROM feedback)")}),
golds AS (
    SELECT question_hash, question, gold, at
    FROM (SELECT *, row_number() OVER (PARTITION BY question_hash ORDER BY at DESC, rowid DESC) AS back
          FROM feedback WHERE gold IS NOT NULL)
    WHERE back = 1)
SELECT f.question, f.expert, f.answer, f.score, g.gold, f.predicted_score, l.prompt_tokens, l.completion_tokens,
       l.list_cost_usd AS cost_usd, l.latency_ms, coalesce(l.created, f.at) AS answered, f.at
FROM feedback f LEFT JOIN golds g USING (question_hash) LEFT JOIN latest l USING (question_hash, expert)
WHERE f.expert != ''
UNION ALL
SELECT g.question, l.expert, l.answer, NULL, g.gold, l.predicted_score, l.prompt_tokens, l.completion_tokens,
       l.list_cost_usd, l.latency_ms, l.created, g.at
FROM golds g JOIN latest l USING (question_hash)
WHERE NOT EXISTS (SELECT 1 FROM feedback f WHERE f.question_hash = g.question_hash AND f.expert = l.expert)
ORDER BY answered, 1, 2
"""


class Feedback(NamedTuple):
    """What a user says of the answer to a question.

    Attributes:
        question: As it was asked.
        expert: Who answered; None with gold alone is everyone who has.
        answer: What is judged; None where it is not known.
        score: In [0, 1].
        gold: What would have been right; of one that has a score, it is of use for the other experts.
        predicted_score: What the router had expected.
    """

    question: str
    expert: str | None = None
    answer: str | None = None
    score: float | None = None
    gold: str | None = None
    predicted_score: float | None = None


def question_hash(question: str) -> bytes:
    """How answers and feedback know a question; `plan` computes the same in SQL."""
    return hashlib.md5(question.encode("utf-8", "replace"), usedforsecurity=False).digest()


def keep(db: sqlite3.Connection, rows: Iterable[Feedback]) -> None:
    """Keep rows; one on the same question and expert is replaced."""
    now = time.time()
    db.executemany(
        "INSERT OR REPLACE INTO feedback VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            (question_hash(r.question), r.expert or "", r.question, r.answer, r.score, r.gold, r.predicted_score, now)
            for r in rows
        ),
    )


def latest_answers(db: sqlite3.Connection, questions: Iterable[str]) -> sqlite3.Cursor:
    """Of every expert the latest answer to each of the questions, in any order: hash, expert, answer, ..."""
    db.execute(_INDEX)
    db.execute("CREATE TEMP TABLE IF NOT EXISTS asked (question_hash BLOB PRIMARY KEY) WITHOUT ROWID")
    db.execute("DELETE FROM asked")
    db.executemany("INSERT OR IGNORE INTO asked VALUES (?)", ((question_hash(question),) for question in questions))
    return db.execute(_LATEST.format(asked="asked"))


def read(db: sqlite3.Connection) -> sqlite3.Cursor:
    """All feedback, golds spread over the experts that have answered, in the order in which they did."""
    db.execute(_INDEX)
    return db.execute(_READ)
