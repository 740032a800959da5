"""Vectors on disk, so that a text is encoded once: one SQLite file for all encoders, processes and runs.

In write-ahead mode it survives kill -9 at any moment. Nothing depends on it: where it is damaged or cannot be written,
a warning says so once and texts are encoded again. Knows nothing of encoders: a key stands for encoder and text.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import zlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

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
