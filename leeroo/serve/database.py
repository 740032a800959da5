"""The database: keys, files, batches and their lines, in one SQLite file that survives kill -9 at any moment.

Knows its tables and their versions, and nothing of what the rows mean.
"""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from leeroo.engine.errors import OutputError, UsageError
from leeroo.engine.paths import default_store
from leeroo.engine.sqlite import open_sqlite

# Times are seconds of the epoch. `asked` is a line's request and `told` its answer, both JSON. `turn` is its place in a
# random order: any part of a batch is then like the whole, and has that part of its budget. `wave` is the wave that has
# claimed a line, NULL while it waits.
_TABLES = """
CREATE TABLE keys (
    id TEXT PRIMARY KEY, name TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, created INTEGER NOT NULL, revoked INTEGER);
CREATE TABLE sessions (hash TEXT PRIMARY KEY, key TEXT NOT NULL, expires INTEGER NOT NULL);
CREATE TABLE files (
    id TEXT PRIMARY KEY, owner TEXT NOT NULL, filename TEXT NOT NULL, purpose TEXT NOT NULL, bytes INTEGER NOT NULL,
    created INTEGER NOT NULL);
CREATE INDEX files_by_owner ON files (owner, created);
CREATE TABLE batches (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, owner TEXT NOT NULL, endpoint TEXT NOT NULL,
    input_file_id TEXT NOT NULL, form TEXT NOT NULL, completion_window TEXT NOT NULL, metadata TEXT,
    max_cost_usd REAL, cost_weight REAL NOT NULL, latency_weight REAL NOT NULL, private INTEGER NOT NULL,
    status TEXT NOT NULL, errors TEXT, output_file_id TEXT, error_file_id TEXT,
    total INTEGER NOT NULL DEFAULT 0, completed INTEGER NOT NULL DEFAULT 0, failed INTEGER NOT NULL DEFAULT 0,
    cost_usd REAL NOT NULL DEFAULT 0, list_cost_usd REAL NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0, completion_tokens INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL, in_progress_at INTEGER, expires_at INTEGER NOT NULL, finalizing_at INTEGER,
    completed_at INTEGER, failed_at INTEGER, expired_at INTEGER, cancelling_at INTEGER, cancelled_at INTEGER);
CREATE INDEX batches_by_owner ON batches (owner, number);
CREATE INDEX batches_open ON batches (status) WHERE status IN ('validating', 'in_progress', 'finalizing', 'cancelling');
CREATE TABLE lines (
    batch INTEGER NOT NULL, line INTEGER NOT NULL, turn INTEGER NOT NULL, wave INTEGER, custom_id TEXT, asked TEXT,
    status INTEGER, told TEXT, PRIMARY KEY (batch, line)) WITHOUT ROWID;
CREATE INDEX lines_waiting ON lines (batch, turn) WHERE wave IS NULL AND status IS NULL;
CREATE INDEX lines_riding ON lines (wave, batch) WHERE wave IS NOT NULL AND status IS NULL;
CREATE TABLE shares (
    batch INTEGER NOT NULL, expert TEXT NOT NULL, rows INTEGER NOT NULL, cost_usd REAL NOT NULL,
    prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL, PRIMARY KEY (batch, expert)) WITHOUT ROWID;
CREATE TABLE history (batch INTEGER NOT NULL, at REAL NOT NULL, done INTEGER NOT NULL, cost_usd REAL NOT NULL);
CREATE INDEX history_by_batch ON history (batch, at);
"""

# `expert` is the one that a line names, '' for any; `backlog` counts the lines that wait for each. `attempts` counts
# how often a stage of a batch was begun, `tries` how often a line went back to waiting.
_SINCE_2 = """
ALTER TABLE files ADD COLUMN expires INTEGER;
ALTER TABLE batches ADD COLUMN output_expires_s INTEGER;
ALTER TABLE batches ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lines ADD COLUMN tries INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lines ADD COLUMN expert TEXT NOT NULL DEFAULT '';
UPDATE lines SET expert = coalesce(json_extract(asked, '$.expert'), ''), wave = NULL WHERE status IS NULL;
DROP INDEX lines_waiting;
CREATE INDEX lines_waiting ON lines (batch, expert, turn) WHERE wave IS NULL AND status IS NULL;
CREATE TABLE backlog (
    batch INTEGER NOT NULL, expert TEXT NOT NULL, lines INTEGER NOT NULL, PRIMARY KEY (batch, expert)) WITHOUT ROWID;
INSERT INTO backlog SELECT batch, expert, count(*) FROM lines WHERE status IS NULL GROUP BY batch, expert;
"""

# Answers of ended batches, for feedback by custom_id. Lines keep their requests until the batch ends.
_SINCE_3 = """
CREATE TABLE answered (
    batch INTEGER NOT NULL, custom_id TEXT NOT NULL, question TEXT NOT NULL, expert TEXT, answer TEXT,
    PRIMARY KEY (batch, custom_id));
"""

# `begun` counts how often a wave was begun and neither ended nor was stopped.
_SINCE_4 = """
CREATE TABLE waves (number INTEGER PRIMARY KEY, begun INTEGER NOT NULL);
"""

# The statements of each version; a new file runs all of them.
_VERSIONS = (_TABLES, _SINCE_2, _SINCE_3, _SINCE_4)
VERSION = len(_VERSIONS)

# The most seconds that a commit waits for transactions that wait to be part of it: a few times what the disk takes.
_GATHER_S = 0.01
# Connections for reading that are kept open while nobody uses them, and the KiB of the file that each keeps in memory.
_READERS, _READER_KIB = 32, 256


@dataclass
class _Group:
    """Transactions that are committed together; an error is that of all of them."""

    shared: bool = False  # one of them is complete, and waits for the disk
    ended: bool = False
    error: BaseException | None = None


class Database:
    """One connection that writes, for one thread at a time, and some that read meanwhile.

    Args:
        folder: Created if needed; only its owner may look into it.

    Raises:
        OutputError: it cannot be created or written.
        UsageError: the database there is of a newer version, or none of a server.

    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files = folder / "files"
        self._writing, self._committing = threading.Condition(), threading.Lock()
        self._coming: deque[None] = deque()  # one for each thread that waits to write
        self._readers: deque[sqlite3.Connection] = deque()  # those that nobody uses now
        self._group = _Group()
        try:
            self.files.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.chmod(0o700)
        except OSError as error:
            raise OutputError(f"the server's folder {folder} cannot be made: {error.strerror or error}") from error
        with self._errors_mapped():
            # Durable: what a client was promised survives a power cut.
            self._db = open_sqlite(folder / "serve.sqlite", durable=True)
            self._db.isolation_level = None  # transactions begin and end where this says so
            with self.transaction() as db:
                [version] = db.execute("PRAGMA user_version").fetchone()
                for statement in "".join(_VERSIONS[version:]).split(";"):
                    db.execute(statement)
                if version < VERSION:
                    db.execute(f"PRAGMA user_version = {VERSION}")
            if version > VERSION:
                raise UsageError(f"{folder} was written by a newer leeroo; upgrade, or give another --store")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Read and write; all that is written is on the disk when this ends without an error, and nothing otherwise.

        The disk takes longer than most transactions. Those that end while it writes share the next wait for it.
        """
        with self._errors_mapped():
            self._coming.append(None)
            with self._writing:
                self._coming.pop()
                group = self._join_group()
                try:
                    yield self._db
                except BaseException as error:
                    self._undo(group, error)
                    raise
                self._db.execute("RELEASE one")
                group.shared = True
                self._writing.notify_all()
            self._commit(group)

    def _join_group(self) -> _Group:
        """Begin a transaction of one thread within that of its group, which begins with it if there is none."""
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")
            self._group = _Group()
        self._db.execute("SAVEPOINT one")
        return self._group

    def _undo(self, group: _Group, error: BaseException) -> None:
        """Undo the transaction of one thread; a full disk undoes those of its whole group, which then all fail."""
        if not self._db.in_transaction:
            group.ended, group.error = True, error
        elif group.shared:
            self._db.execute("ROLLBACK TO one")
            self._db.execute("RELEASE one")
        else:  # nobody is there to end it
            self._db.execute("ROLLBACK")

    def _commit(self, group: _Group) -> None:
        """Wait until a group is on the disk.

        Raises:
            sqlite3.Error: it is not, and nothing of it was kept.

        """
        with self._committing:
            if not group.ended:
                with self._writing:
                    # Those who wait to write come first: they share this wait for the disk.
                    self._writing.wait_for(lambda: not self._coming or group.ended, timeout=_GATHER_S)
                    if not group.ended:
                        self._end(group)
        if group.error is not None:
            raise sqlite3.OperationalError(str(group.error)) from group.error

    def _end(self, group: _Group) -> None:
        group.ended = True
        try:
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            group.error = error
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """Return the rows of a query, which waits for no transaction and no other query."""
        with self._errors_mapped():
            try:
                reader = self._readers.pop()
            except IndexError:
                reader = self._open_reader()
            found = reader.execute(query, values).fetchall()
            if len(self._readers) < _READERS:
                self._readers.append(reader)
            else:
                reader.close()
            return found

    def _open_reader(self) -> sqlite3.Connection:
        reader = sqlite3.connect(self.folder / "serve.sqlite", timeout=60, check_same_thread=False)
        reader.execute(f"PRAGMA cache_size = -{_READER_KIB}")
        reader.row_factory = sqlite3.Row
        return reader

    def close(self) -> None:
        """Close the file."""
        with self._writing:
            self._db.close()
        while self._readers:
            self._readers.pop().close()

    @contextlib.contextmanager
    def _errors_mapped(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise OutputError(
                f"the server's database in {self.folder} cannot be used ({error}); what was answered is safe: make "
                "room or permit writing there"
            ) from error
        except sqlite3.DatabaseError as error:
            raise UsageError(f"{self.folder / 'serve.sqlite'} is not a server's database ({error})") from error


def folder_of(store: Path | None) -> Path:
    """Return the folder of a server's files and database, which is within the answer store."""
    return (store or default_store()) / "serve"


def new_id(kind: str) -> str:
    """Return an identifier that cannot be guessed."""
    return kind + secrets.token_hex(16)
