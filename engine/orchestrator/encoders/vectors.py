"""Vectors on disk, so that a text is encoded once: one SQLite file for all encoders, processes and runs.

In write-ahead mode it survives kill -9 at any moment. Nothing depends on it: where it is damaged or cannot be written,
a warning says so once and texts are encoded again. Knows nothing of encoders: a key stands for encoder and text.

Processes that encode the same texts at the same time share the work: one claims some texts, and the others wait for
their vectors. A claim lasts as long as its owner lives. Versions before know of no claims: they encode, and are not
waited for.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import uuid
import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
from filelock import BaseFileLock

from leeroo.engine import locks
from leeroo.engine.arrays import Float32s, Int64s
from leeroo.engine.errors import RouterError
from leeroo.engine.paths import cache_folder
from leeroo.engine.sqlite import open_sqlite

_GIB = 4.0
# The part of all vectors that is dropped at a time when there are too many.
_DROPPED = 1 / 64
_WAIT_S = 30

# Rows are numbered as they come in, so the lowest numbers are the oldest.
_TABLE = "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL, crc INTEGER NOT NULL)"
_WANTED = "CREATE TEMP TABLE wanted (number INTEGER PRIMARY KEY, key BLOB)"
# What each process encodes just now: its keys of 32 bytes, one after another.
_CLAIMS = "CREATE TABLE IF NOT EXISTS claims (owner TEXT PRIMARY KEY, keys BLOB NOT NULL)"

_unusable: set[Path] = set()


def read(keys: Sequence[bytes]) -> tuple[Int64s, Float32s | None]:
    """Return the stored vectors: indices of their keys, [k], and the vectors, [k, d]; None where there are none.

    All these keys must be of one encoder.
    """
    file, found = cache_folder() / "vectors.sqlite", []
    if most_bytes() and file not in _unusable:
        try:
            db = _open(file, os.getpid())
            with db:
                db.execute("DELETE FROM wanted")
                db.executemany("INSERT INTO wanted VALUES (?, ?)", enumerate(keys))
            found = db.execute("SELECT number, vector, crc FROM wanted CROSS JOIN vectors USING (key)").fetchall()
        except (sqlite3.Error, OSError) as error:
            _give_up(file, error)
    whole = [(number, vector) for number, vector, crc in found if zlib.crc32(vector) == crc]
    if not whole:
        return np.empty(0, np.int64), None
    numbers, vectors = zip(*whole, strict=True)
    return np.array(numbers), np.frombuffer(b"".join(vectors), np.float32).reshape(len(numbers), -1)


def store(rows: Iterable[tuple[bytes, Float32s]]) -> None:
    """Add vectors [d] under their keys, all in one transaction, and drop the oldest when they are too many."""
    file, most = cache_folder() / "vectors.sqlite", most_bytes()
    if not most or file in _unusable:
        return
    blobs = ((key, vector.tobytes()) for key, vector in rows)
    try:
        db = _open(file, os.getpid())
        with db:
            # A vector that is there already was damaged, or came from another process and is the same.
            db.executemany(
                "INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)",
                ((key, blob, zlib.crc32(blob)) for key, blob in blobs),
            )
        while _bytes(db) > most and _drop_oldest(db):
            pass
    except (sqlite3.Error, OSError) as error:
        _give_up(file, error)


class Claims:
    """What one caller encodes, some texts at a time, until `release` or the end of its process."""

    def __init__(self) -> None:
        self._owner = uuid.uuid4().hex
        self._lock: BaseFileLock | None = None

    def claim(self, keys: Sequence[bytes]) -> bytes | None:
        """Claim texts by their keys; return the claim of a living other that has one of them, None when it is granted.

        Where the file cannot be used everything is granted.
        """
        file, joined = cache_folder() / "vectors.sqlite", b"".join(keys)
        if not most_bytes() or file in _unusable:
            return None
        try:
            db = _open(file, os.getpid())
            if self._lock is None:
                _lock_of(self._owner).parent.mkdir(exist_ok=True)
                self._lock = locks.take(_lock_of(self._owner))
            with db:
                db.execute("BEGIN IMMEDIATE")
                for owner, theirs in db.execute("SELECT * FROM claims WHERE owner != ?", (self._owner,)).fetchall():
                    if not locks.is_held(_lock_of(owner)):
                        db.execute("DELETE FROM claims WHERE owner = ?", (owner,))
                    elif np.isin(_beginnings(joined), _beginnings(theirs)).any():
                        return bytes(theirs)
                db.execute("INSERT OR REPLACE INTO claims VALUES (?, ?)", (self._owner, joined))
        except (sqlite3.Error, OSError) as error:
            _give_up(file, error)
        return None

    def release(self) -> None:
        """Let others have what is claimed."""
        if self._lock is None:
            return
        with contextlib.suppress(sqlite3.Error, OSError):
            db = _open(cache_folder() / "vectors.sqlite", os.getpid())
            with db:
                db.execute("DELETE FROM claims WHERE owner = ?", (self._owner,))
        locks.give_back(self._lock)


def _lock_of(owner: str) -> Path:
    return cache_folder() / "claims" / f"{owner}.lock"


def _beginnings(keys: bytes) -> npt.NDArray[np.uint64]:
    """Return the first eight of the 32 bytes of each key, which are enough to tell texts apart."""
    return np.frombuffer(keys, np.uint64)[::4]


def most_bytes() -> int:
    """Return how large the vectors may grow: LEEROO_VECTORS_GIB in GiB, default 4; at 0 none are stored or read.

    Raises:
        RouterError: the variable is no size.
    """
    given = os.environ.get("LEEROO_VECTORS_GIB") or _GIB
    try:
        return max(0, int(float(given) * 2**30))
    except (ValueError, OverflowError) as error:
        raise RouterError(f"LEEROO_VECTORS_GIB is {given!r}, which is no size in GiB: give a number, as 4") from error


@lru_cache(maxsize=4)
def _open(file: Path, process: int) -> sqlite3.Connection:  # noqa: ARG001  # a connection must not outlive a fork
    file.parent.mkdir(parents=True, exist_ok=True)
    db = open_sqlite(file, wait_s=_WAIT_S, durable=False)
    with db:
        db.execute(_TABLE)
        db.execute(_CLAIMS)
        db.execute(_WANTED)
    return db


def _bytes(db: sqlite3.Connection) -> int:
    pages, unused, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - unused) * size)


def _drop_oldest(db: sqlite3.Connection) -> bool:
    """Drop a part of the vectors; return False when none were left."""
    oldest = "SELECT min(rowid) + CAST((max(rowid) - min(rowid)) * ? AS INTEGER) FROM vectors"
    with db:
        return db.execute(f"DELETE FROM vectors WHERE rowid <= ({oldest})", (_DROPPED,)).rowcount > 0


def _give_up(file: Path, error: Exception) -> None:
    _unusable.add(file)
    logging.getLogger("leeroo").warning(
        "warning: the cache of vectors %s cannot be used (%s); texts are encoded anew: remove that file or permit "
        "writing there, or name another folder in LEEROO_CACHE",
        file,
        error,
    )
