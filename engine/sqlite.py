"""SQLite files: one way to open all of them.

In write-ahead mode a file survives kill -9 at any moment, and others read it while one process writes.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock


def open_sqlite(file: Path, *, wait_s: float = 60, durable: bool = True) -> sqlite3.Connection:
    """Open a SQLite file, made if needed, which only its owner may read; threads take turns with the connection.

    Args:
        file: Its folder exists.
        wait_s: How long to wait while another process writes.
        durable: Each commit waits for the disk, and so survives a power failure too.

    Raises:
        sqlite3.Error: it cannot be opened, or is no such file.

    """
    try:
        # Switching to write-ahead mode does not wait for others who do the same, so they take turns.
        with FileLock(f"{file}.lock", timeout=wait_s, mode=0o600):
            file.touch(mode=0o600)
            for part in file.parent.glob(f"{file.name}*"):
                keep_private(part)
            db = sqlite3.connect(file, timeout=wait_s, check_same_thread=False)
            db.execute("PRAGMA journal_mode = WAL")
    except OSError as error:
        raise sqlite3.OperationalError(error.strerror or str(error)) from error
    db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    db.execute("PRAGMA temp_store = MEMORY")
    return db


def read_rows(
    db: sqlite3.Connection, query: str, given: Sequence[object] | Mapping[str, object] = ()
) -> list[dict[str, Any]]:
    """Return the rows of a query by the names of its columns."""
    cursor = db.execute(query, given)
    columns = [column[0] for column in cursor.description]
    return [dict(zip(columns, row, strict=True)) for row in cursor]


def keep_private(path: Path) -> None:
    """Take a file or folder of ours away from all other users; what belongs to another user stays as it is.

    Another process may remove it meanwhile, as SQLite does with its log.
    """
    with contextlib.suppress(PermissionError, FileNotFoundError):
        path.chmod(0o700 if path.is_dir() else 0o600)
