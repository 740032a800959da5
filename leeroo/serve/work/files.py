"""Files: uploads and outputs of batches, each under an identifier that nobody guesses.

Knows nothing of their content.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from leeroo.engine.tables.outputs import sync
from leeroo.serve.clock import now
from leeroo.serve.database import Database, new_id
from leeroo.serve.work.batches import IS_OPEN, Batch

Purpose = Literal["batch", "batch_output"]


@dataclass(frozen=True)
class StoredFile:
    """A row of the table `files`; times are seconds of the epoch."""

    id: str
    owner: str
    filename: str
    purpose: Purpose
    bytes: int
    created: int
    expires: int | None


@dataclass(frozen=True)
class Draft:
    """A file that is being written, and has no record yet."""

    path: Path
    file: BinaryIO


@contextlib.contextmanager
def open_new(db: Database) -> Iterator[Draft]:
    """Open a new file, which is removed at the end unless it is kept."""
    path = db.files / f".{secrets.token_hex(16)}"
    try:
        with path.open("wb") as file:
            yield Draft(path, file)
    finally:
        path.unlink(missing_ok=True)


def sweep(db: Database) -> None:
    """Remove what a killed server left: files without a record in the database."""
    known = {row["id"] for row in db.rows("SELECT id FROM files")}
    for path in db.files.iterdir():
        if path.name not in known:
            path.unlink(missing_ok=True)


def expire(db: Database, keep_s: float | None) -> None:
    """Delete files past their own time or older than `keep_s`; inputs of open batches stay."""
    query = "SELECT * FROM files WHERE (expires < ? OR created < ?)"
    oldest = -1 if keep_s is None else now() - keep_s
    in_use = f"SELECT input_file_id FROM batches WHERE {IS_OPEN}"
    for row in db.rows(f"{query} AND id NOT IN ({in_use})", now(), oldest):
        delete(db, StoredFile(*row))


def used_bytes(db: Database, owner: str) -> int:
    """Return the bytes of all files of an owner."""
    return int(db.rows("SELECT coalesce(sum(bytes), 0) FROM files WHERE owner = ?", owner)[0][0])


def keep(db: Database, draft: Draft, batch: Batch, filename: str) -> str:
    """Make a draft a file of a batch's owner, and return its id."""
    if not draft.file.closed:
        draft.file.close()
    return add(db, draft.path, batch.owner, filename, "batch_output", batch.output_expires_s).id


def add(
    db: Database, path: Path, owner: str, filename: str, purpose: Purpose, expires_s: int | None = None
) -> StoredFile:
    """Move a file here, and record it when it is on the disk for good."""
    sync(path)
    created = int(now())
    expires = None if expires_s is None else created + expires_s
    file = StoredFile(new_id("file-"), owner, filename, purpose, path.stat().st_size, created, expires)
    path.rename(db.files / file.id)
    sync(db.files)
    with db.transaction() as con:
        con.execute("INSERT INTO files VALUES (?, ?, ?, ?, ?, ?, ?)", astuple(file))
    return file


def get(db: Database, owner: str, file: str) -> StoredFile | None:
    """Return a file of an owner; None if there is none."""
    rows = db.rows("SELECT * FROM files WHERE id = ? AND owner = ?", file, owner)
    return StoredFile(*rows[0]) if rows else None


def list_files(
    db: Database, owner: str, purpose: str | None, after: StoredFile | None, limit: int, newest: bool
) -> list[StoredFile]:
    """Return the files of an owner in the order of their creation, from the one after `after`."""
    order, beyond = ("DESC", "<") if newest else ("ASC", ">")
    query = (
        "SELECT * FROM files WHERE owner = ? AND coalesce(?, purpose) = purpose"
        f" AND (? OR (created, id) {beyond} (?, ?)) ORDER BY created {order}, id {order} LIMIT ?"
    )
    place = (after.created, after.id) if after else (0, "")
    return [StoredFile(*row) for row in db.rows(query, owner, purpose, after is None, *place, limit)]


def delete(db: Database, file: StoredFile) -> None:
    """Forget a file and its content."""
    with db.transaction() as con:
        con.execute("DELETE FROM files WHERE id = ?", (file.id,))
    path_of(db, file.id).unlink(missing_ok=True)


def path_of(db: Database, file: str) -> Path:
    """Return the path of a file's content; `file` is an id from the database."""
    return db.files / file
