"""The log: the latest answers in the store, with the texts of their questions where these are known.

The store keeps questions as hashes. Texts come from feedback, and from tables that the user gives.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any

from leeroo.engine.sqlite import read_rows
from leeroo.engine.store.feedback import question_hash

_TEXTS = """
CREATE TEMP TABLE IF NOT EXISTS texts (question_hash BLOB PRIMARY KEY, question TEXT NOT NULL) WITHOUT ROWID;
DELETE FROM texts;
INSERT OR IGNORE INTO texts SELECT question_hash, question FROM feedback;
"""
_LATEST = """
SELECT a.created, a.run, a.expert, t.question, a.answer, a.reasoning, a.predicted_score, a.prompt_tokens,
    a.completion_tokens, a.list_cost_usd, a.latency_ms, a.finish_reason
FROM answers a LEFT JOIN texts t USING (question_hash)
WHERE (:run IS NULL OR substr(a.run, 1, length(:run)) = :run) AND (:expert IS NULL OR a.expert = :expert)
    AND (:search IS NULL OR instr(casefold(a.answer), :search) OR instr(casefold(t.question), :search))
ORDER BY a.rowid DESC LIMIT :most
"""


def read_log(
    db: sqlite3.Connection,
    most: int,
    *,
    run: str | None = None,
    expert: str | None = None,
    search: str | None = None,
    questions: Iterable[str] = (),
) -> list[dict[str, Any]]:
    """Return the latest answers, the latest last; `created` is seconds of the epoch.

    Args:
        db: The store.
        most: How many.
        run: Only those of runs whose name begins so.
        expert: Only those of this expert.
        search: Only those with this text in the answer, or in the question where it is known; case does not matter.
        questions: Texts that may have been sent.

    """
    for statement in _TEXTS.split(";"):
        db.execute(statement)
    db.executemany("INSERT OR IGNORE INTO texts VALUES (?, ?)", ((question_hash(each), each) for each in questions))
    db.create_function("casefold", 1, lambda text: text and text.casefold(), deterministic=True)
    wanted = {"run": run, "expert": expert, "search": search and search.casefold(), "most": most}
    return read_rows(db, _LATEST, wanted)[::-1]
