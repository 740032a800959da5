"""Question, expert and answer of each line of ended batches, by custom_id: what feedback on a line needs.

They are kept as long as the record of the batch, so that its files may be deleted. Lines that version 2 of the database
answered are read from the files, once.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from leeroo.serve.database import Database
from leeroo.serve.lines.bodies import read_body
from leeroo.serve.lines.read import OK
from leeroo.serve.work import files
from leeroo.serve.work.batches import Batch

# Lines in one transaction.
_CHUNK = 1000


class AnsweredLine(NamedTuple):
    """A line that was answered; a blank question has neither expert nor answer."""

    custom_id: str
    question: str
    expert: str | None
    answer: str | None


def keep(db: Database, batch: Batch) -> None:
    """Keep the answered lines of a batch that is about to end."""
    query = (
        "SELECT line, custom_id, asked, told FROM lines WHERE batch = ? AND line > ? AND status = ?"
        " AND custom_id IS NOT NULL AND asked IS NOT NULL ORDER BY line LIMIT ?"
    )
    after = -1
    while rows := db.rows(query, batch.number, after, OK, _CHUNK):
        requests, answers = ([json.loads(row[name]) for row in rows] for name in ("asked", "told"))
        _insert(
            db,
            batch,
            (
                AnsweredLine(row["custom_id"], request.get("question", ""), answer["expert"], answer["answer"])
                for row, request, answer in zip(rows, requests, answers, strict=True)
            ),
        )
        after = rows[-1]["line"]


def ensure(db: Database, batch: Batch) -> None:
    """Read the answered lines of a batch from its files, unless they were kept.

    Raises:
        FileNotFoundError: the files were deleted.

    """
    if db.rows("SELECT count(*) FROM answered WHERE batch = ?", batch.number)[0][0] < batch.completed:
        lines = _read_files(db, batch)
        while chunk := list(itertools.islice(lines, _CHUNK)):
            _insert(db, batch, chunk)


def find(db: Database, batch: Batch, custom_id: str) -> AnsweredLine | None:
    """Return an answered line of a batch."""
    query = "SELECT custom_id, question, expert, answer FROM answered WHERE batch = ? AND custom_id = ?"
    rows = db.rows(query, batch.number, custom_id)
    return AnsweredLine(*rows[0]) if rows else None


def _insert(db: Database, batch: Batch, lines: Iterable[AnsweredLine]) -> None:
    with db.transaction() as con:
        con.executemany(
            "INSERT OR REPLACE INTO answered VALUES (?, ?, ?, ?, ?)", ((batch.number, *line) for line in lines)
        )


def _read_files(db: Database, batch: Batch) -> Iterator[AnsweredLine]:
    if batch.output_file_id is None:
        return
    with (
        files.path_of(db, batch.input_file_id).open("rb") as requests,
        files.path_of(db, batch.output_file_id).open("rb") as results,
    ):
        bodies = {line["custom_id"]: line["response"]["body"] for line in map(json.loads, results)}
        for line in map(json.loads, filter(bytes.strip, requests)):
            body = bodies.get(line["custom_id"])
            if body is not None:
                choice = body["choices"][0]
                answer = choice["message"]["content"] if "message" in choice else choice["text"]
                question = read_body(batch.endpoint, line["body"]).get("question", "")
                yield AnsweredLine(line["custom_id"], question, body["model"], answer)
