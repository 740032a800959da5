"""Files: what was uploaded and what batches came to, each under an identifier that nobody guesses."""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from leeroo.serve.database import Database, new_id

if TYPE_CHECKING:
    from leeroo.serve.batches import Batch

Purpose = Literal["batch", "batch_output"]


@dataclass(frozen=True)
class File:
    """A row of the table `files`; `created` is in seconds of the epoch."""

    id: str
    owner: str
    filename: str
    purpose: Purpose
    bytes: int
    created: int


@dataclass(frozen=True)
class Draft:
    """A file that is being written, and that nobody knows yet."""

    path: Path
    file: BinaryIO


@contextlib.contextmanager
def writing(db: Database) -> Iterator[Draft]:
    """A new file; it goes again unless it is kept."""
    path = db.files / f".{secrets.token_hex(16)}"
    try:
        with path.open("wb") as file:
            yield Draft(path, file)
    finally:
        path.unlink(missing_ok=True)


def sweep(db: Database) -> None:
    """Remove what a killed server was writing."""
    for path in db.files.glob(".*"):
        path.unlink(missing_ok=True)


def keep(db: Database, draft: Draft, batch: Batch, filename: str) -> str:
    """Make a draft a file of a batch's owner; tells its id."""
    if not draft.file.closed:
        draft.file.close()
    return add(db, draft.path, batch.owner, filename, "batch_output").id


def add(db: Database, path: Path, owner: str, filename: str, purpose: Purpose) -> File:
    """Take a file over, on the disk for good before anyone is told of it."""
    with path.open("rb") as written:
        os.fsync(written.fileno())
    file = File(new_id("file-"), owner, filename, purpose, path.stat().st_size, int(time.time()))
    path.rename(db.files / file.id)
    with db.turn() as con:
        con.execute(
            "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?)",
            (file.id, file.owner, file.filename, file.purpose, file.bytes, file.created),
        )
    return file


def get(db: Database, owner: str, file: str) -> File | None:
    """A file of an owner's."""
    rows = db.rows("SELECT * FROM files WHERE id = ? AND owner = ?", file, owner)
    return File(*rows[0]) if rows else None


def listed(db: Database, owner: str, purpose: str | None, after: File | None, limit: int, newest: bool) -> list[File]:
    """An owner's files in the order of their making, from the one after `after`."""
    order, beyond = ("DESC", "<") if newest else ("ASC", ">")
    query = (
        "SELECT * FROM files WHERE owner = ? AND coalesce(?, purpose) = purpose"
        f" AND (? OR (created, id) {beyond} (?, ?)) ORDER BY created {order}, id {order} LIMIT ?"
    )
    place = (after.created, after.id) if after else (0, "")
    return [File(*row) for row in db.rows(query, owner, purpose, after is None, *place, limit)]


def delete(db: Database, file: File) -> None:
    """Forget a file and its content."""
    with db.turn() as con:
        con.execute("DELETE FROM files WHERE id = ?", (file.id,))
    path_of(db, file.id).unlink(missing_ok=True)


def path_of(db: Database, file: str) -> Path:
    """Where the content of a file lies; `file` is an id out of the database."""
    return db.files / file
