"""The answer store: every answer is kept here before anyone sees it, so that none is paid for twice.

One SQLite file in write-ahead mode, which survives kill -9 at any moment and is shared by any number of
processes. The modules beside this one hold its tables.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import FileLock

from leeroo.engine import locks
from leeroo.engine.errors import OutputError, UsageError
from leeroo.engine.store import answers, feedback, runs, timings
from leeroo.engine.store.runs import Run
from leeroo.engine.store.timings import Measured, WaveTime

VERSION = 6

_TABLES = f"{answers.TABLES}{runs.TABLES}{timings.TABLES}{feedback.TABLES} PRAGMA user_version = {VERSION};"
_ADDED = {"answers": answers.ADDED, "waves": timings.ADDED}


class Store:
    """The answers and runs in one folder.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.
        UsageError: what is there is not a store, or one of a newer version.

    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scratch = folder / "scratch"
        self._runs = folder / "runs"
        self._turn = threading.RLock()
        with self._wall():
            self.scratch.mkdir(parents=True, exist_ok=True)
            self._runs.mkdir(exist_ok=True)
            # Going over to write-ahead mode does not wait for others who do the same, so they take turns.
            with FileLock(folder / "opening.lock"):
                self._db = self._open()
        locks.sweep(self.scratch)
        self._seen = -1

    def _open(self) -> sqlite3.Connection:
        # Several threads use it, one at a time.
        db = sqlite3.connect(self.folder / "answers.sqlite", timeout=60, check_same_thread=False)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA temp_store = MEMORY")
        # Keys fall all over their index: in 64 MiB its pages are changed many times before they are written back once.
        db.execute("PRAGMA cache_size = -65536")
        db.execute("PRAGMA wal_autocheckpoint = 16384")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise UsageError(f"the store {self.folder} was written by a newer leeroo; upgrade, or give another --store")
        if version < VERSION:
            _upgrade(db)
        return db

    def look_up(self, keys: pa.Array) -> pa.Table:
        """The stored answers of these keys (binary, distinct), as a table with `STORED`, in any order."""
        with self._wall(), self._db:
            self._seen = self._version()
            return answers.look_up(self._db, keys)

    def of_run(self, run: Run) -> pa.Table:
        """All answers that a run has paid for so far, as a table with `STORED`."""
        with self._wall():
            return answers.of_run(self._db, run.run)

    def changed(self) -> bool:
        """Whether another process has added answers since the last look-up."""
        with self._wall():
            return self._version() != self._seen

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def append(self, rows: pa.Table) -> None:
        """Keep answers (`KEPT`) for good; one whose key is there already is left as it is."""
        with self._wall(), self._db:
            answers.append(self._db, rows)

    def give(self, rows: Iterable[feedback.Feedback]) -> None:
        """Keep feedback, all of it or none; one on the same question and expert is replaced."""
        with self._wall(), self._db:
            feedback.keep(self._db, rows)

    def latest_answers(self, questions: Iterable[str]) -> list[dict[str, Any]]:
        """Of every expert the latest answer to each of the questions, in any order; `question_hash` tells which."""
        with self._wall(), self._db:
            return _dicts(feedback.latest_answers(self._db, questions))

    def feedback(self) -> list[dict[str, Any]]:
        """All feedback, golds spread over the experts that have answered, in the order in which they did.

        `score` is None where `gold` decides; `answered` and `at`, when it was given, are seconds of the epoch.
        """
        with self._wall():
            return _dicts(feedback.read(self._db))

    def measured(self, wave: WaveTime) -> None:
        """Remember what an engine did in a wave, and how long it took."""
        with self._wall(), self._db:
            timings.keep(self._db, wave)

    def engine(self, engine: str) -> Measured:
        """What is known of an engine (`engine_key`)."""
        with self._wall():
            return timings.measured(self._db, engine)

    def begin(self, job: str, rows: int) -> Run:
        """Start a run of a job over so many rows, or take up the one that was killed; see `runs.begin`."""
        with self._wall(), self._db:
            return runs.begin(self._db, self._runs, job, rows)

    def finish(self, run: Run, cost_usd: float, list_cost_usd: float) -> None:
        """Note that the answers of a run are where they should be: the next run of its job is a new one."""
        with self._wall(), self._db:
            runs.finish(self._db, run, cost_usd, list_cost_usd)
        runs.release(run)

    def runs(self) -> list[dict[str, Any]]:
        """All runs, the earliest first; times are seconds of the epoch, `finished` None while there is work left."""
        with self._wall():
            return _dicts(runs.read(self._db))

    def spend(self) -> list[dict[str, Any]]:
        """What was paid by day (UTC, as text) and expert, the earliest first."""
        with self._wall():
            return _dicts(answers.spend(self._db))

    def close(self) -> None:
        """Close the database file."""
        self._db.close()

    @contextlib.contextmanager
    def _wall(self) -> Iterator[None]:
        """Take turns with other threads; turn what SQLite and the disk say into errors of ours."""
        try:
            with self._turn:
                yield
        except sqlite3.OperationalError as error:
            raise OutputError(
                f"the answer store in {self.folder} cannot be used ({error}); answers kept so far are safe:"
                " make room or permit writing there, or give another --store"
            ) from error
        except sqlite3.DatabaseError as error:
            raise UsageError(f"{self.folder / 'answers.sqlite'} is not an answer store ({error})") from error
        except OSError as error:
            raise OutputError(f"the answer store {self.folder} cannot be made: {error.strerror or error}") from error


def _upgrade(db: sqlite3.Connection) -> None:
    """Make the tables of this version, and the columns that an older one lacks."""
    db.executescript(_TABLES)
    for table, columns in _ADDED.items():
        there = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
        for column, kind in columns.items():
            if column not in there:
                db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
    db.commit()


def _dicts(cursor: sqlite3.Cursor) -> list[dict[str, Any]]:
    """The rows of a query by the names of its columns."""
    columns = [column[0] for column in cursor.description]
    return [dict(zip(columns, row, strict=True)) for row in cursor]
