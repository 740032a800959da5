"""Feedback: what users say of answers, kept beside them in the answer store, and scores against right answers.

One row for an owner, a question and an expert, with a score or with what would have been right (gold); given again by
the same owner, it is replaced. Gold given for a question alone holds for every expert that has answered it, or will.
How an answer scores against a gold is computed at each reading, so this module knows nothing of how they are compared.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from leeroo.engine.sqlite import read_rows

_FEEDBACK = """
CREATE TABLE IF NOT EXISTS feedback (
    owner TEXT NOT NULL, question_hash BLOB NOT NULL, expert TEXT NOT NULL, question TEXT NOT NULL, answer TEXT,
    score REAL, gold TEXT, predicted_score REAL, at REAL NOT NULL, private INTEGER NOT NULL,
    PRIMARY KEY (owner, question_hash, expert));
"""
TABLES = f"{_FEEDBACK}CREATE TABLE IF NOT EXISTS verdicts (key BLOB PRIMARY KEY, score REAL NOT NULL) WITHOUT ROWID;"

# Until version 7 all feedback had one owner; whether it is private is known from the answers.
MOVED = (
    "ALTER TABLE feedback RENAME TO feedback_without_owner",
    _FEEDBACK,
    "INSERT INTO feedback SELECT '', *, 0 FROM feedback_without_owner",
    "DROP TABLE feedback_without_owner",
)

# Only stores that get feedback look answers up by question, and pay for that when answers are appended.
_INDEX = "CREATE INDEX IF NOT EXISTS answers_by_question ON answers (question_hash)"

# The latest answer of every expert to each of the questions in the table {asked}.
_LATEST = """
SELECT question_hash, expert, answer, predicted_score, prompt_tokens, completion_tokens, list_cost_usd, latency_ms,
       created
FROM (SELECT *, row_number() OVER (PARTITION BY question_hash, expert ORDER BY created DESC, rowid DESC) AS back
      FROM (SELECT a.*, a.rowid FROM {asked} CROSS JOIN answers a USING (question_hash)))
WHERE back = 1
"""

# A gold counts where its owner gave no score; of several for a question, the one given last. A question is private once
# it was: in the feedback, or in any row that was answered. Answers of older versions did not keep that, and count as
# private.
_READ = f"""
WITH given AS MATERIALIZED (SELECT rowid, * FROM feedback WHERE :owner IS NULL OR owner = :owner),
latest AS MATERIALIZED ({_LATEST.format(asked="(SELECT DISTINCT question_hash FROM given)")}),
marked AS MATERIALIZED (
    SELECT question_hash, max(coalesce(a.private, 1)) AS private
    FROM (SELECT DISTINCT question_hash FROM given) CROSS JOIN answers a USING (question_hash) GROUP BY question_hash),
golds AS (
    SELECT owner, question_hash, question, gold, at, private
    FROM (SELECT *, row_number() OVER (PARTITION BY owner, question_hash ORDER BY at DESC, rowid DESC) AS back
          FROM given WHERE gold IS NOT NULL)
    WHERE back = 1)
SELECT f.owner, f.question, f.expert, f.answer, f.score, g.gold, f.predicted_score, l.prompt_tokens,
       l.completion_tokens, l.list_cost_usd AS cost_usd, l.latency_ms, coalesce(l.created, f.at) AS answered, f.at,
       max(f.private, coalesce(m.private, 0)) AS private
FROM given f LEFT JOIN golds g USING (owner, question_hash) LEFT JOIN latest l USING (question_hash, expert)
     LEFT JOIN marked m USING (question_hash)
WHERE f.expert != ''
UNION ALL
SELECT g.owner, g.question, l.expert, l.answer, NULL, g.gold, l.predicted_score, l.prompt_tokens, l.completion_tokens,
       l.list_cost_usd, l.latency_ms, l.created, g.at, max(g.private, m.private)
FROM golds g JOIN latest l USING (question_hash) JOIN marked m USING (question_hash)
WHERE :owner IS NULL AND NOT EXISTS (
    SELECT 1 FROM given f WHERE (f.owner, f.question_hash, f.expert) = (g.owner, g.question_hash, l.expert))
ORDER BY answered, 2, 3, 1
"""


class Feedback(NamedTuple):
    """A user's judgement of the answer to a question.

    Attributes:
        question: Its text.
        expert: Who answered; None with gold alone is everyone who has.
        answer: What is judged; None where it is not known.
        score: In [0, 1].
        gold: What would have been right; of one that has a score, it is of use for the other experts.
        predicted_score: What the router had expected.
        owner: Who gave it: a key of a server; '' for whoever uses the store directly.
        private: The question must not be shown to remote experts; one that was answered as private is so anyway.
    """

    question: str
    expert: str | None = None
    answer: str | None = None
    score: float | None = None
    gold: str | None = None
    predicted_score: float | None = None
    owner: str = ""
    private: bool = False


_COLUMNS = (*Feedback._fields, "question_hash", "at")


def question_hash(question: str) -> bytes:
    """Return the hash that identifies a question in answers and feedback; `plan` computes the same in SQL."""
    return hashlib.md5(question.encode("utf-8", "replace"), usedforsecurity=False).digest()


def keep_feedback(db: sqlite3.Connection, rows: Iterable[Feedback]) -> None:
    """Keep feedback, all of it or none; one of the same owner on the same question and expert is replaced."""
    now = time.time()
    places = ", ".join(f":{name}" for name in _COLUMNS)
    db.executemany(
        f"INSERT OR REPLACE INTO feedback ({', '.join(_COLUMNS)}) VALUES ({places})",
        (
            {**r._asdict(), "expert": r.expert or "", "question_hash": question_hash(r.question), "at": now}
            for r in rows
        ),
    )


def latest_answers(db: sqlite3.Connection, questions: Iterable[str]) -> list[dict[str, Any]]:
    """Return the latest answer of every expert to each of the questions, in any order, with `question_hash`."""
    db.execute(_INDEX)
    db.execute("CREATE TEMP TABLE IF NOT EXISTS asked (question_hash BLOB PRIMARY KEY) WITHOUT ROWID")
    db.execute("DELETE FROM asked")
    db.executemany("INSERT OR IGNORE INTO asked VALUES (?)", ((question_hash(question),) for question in questions))
    return read_rows(db, _LATEST.format(asked="asked"))


def read_feedback(db: sqlite3.Connection, owner: str | None = None) -> list[dict[str, Any]]:
    """Return feedback in the order of the answers: all, golds spread over the experts that answered, or an owner's.

    `score` is None where `gold` decides; `answered` and `at`, when it was given, are seconds of the epoch. The question
    of a row that is `private` must not be shown to remote experts. An owner's golds are not spread: that would show the
    questions of others.
    """
    db.execute(_INDEX)
    return [{**row, "private": bool(row["private"])} for row in read_rows(db, _READ, {"owner": owner})]


def read_verdicts(db: sqlite3.Connection, keys: Iterable[bytes]) -> dict[bytes, float]:
    """Return the stored scores of comparisons, by key."""
    found = ((key, db.execute("SELECT score FROM verdicts WHERE key = ?", (key,)).fetchone()) for key in set(keys))
    return {key: row[0] for key, row in found if row is not None}


def keep_verdicts(db: sqlite3.Connection, scores: Mapping[bytes, float]) -> None:
    """Keep the scores of comparisons, by their keys."""
    db.executemany("INSERT OR IGNORE INTO verdicts VALUES (?, ?)", scores.items())
