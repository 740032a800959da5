"""The answer store: every answer is kept here before anyone sees it, so that none is paid for twice.

One SQLite file in write-ahead mode, which survives kill -9 at any moment and is shared by any number of
processes. Answers are only ever added, under a key made of everything that made the answer.

It also knows the runs. A run that did not come to its end is taken up again by the next run of the same job,
which then counts what the killed one paid as its own: a job costs what it costs, however often it was killed.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
from filelock import BaseFileLock, FileLock, Timeout

from leeroo.engine.batch import feedback
from leeroo.engine.batch.scratch import sweep
from leeroo.engine.errors import OutputError, UsageError

VERSION = 6

STORED = pa.schema(
    [
        pa.field("key", pa.binary(), nullable=False),
        pa.field("run", pa.string()),
        pa.field("asked", pa.string()),  # names the question in its run, whoever was asked
        pa.field("expert", pa.string()),
        pa.field("fingerprint", pa.string()),
        pa.field("answer", pa.string()),
        pa.field("prompt_tokens", pa.int64()),
        pa.field("completion_tokens", pa.int64()),
        pa.field("list_cost_usd", pa.float64()),
        pa.field("latency_ms", pa.float64()),
        pa.field("finish_reason", pa.string()),
        pa.field("recorded_score", pa.float64()),
        pa.field("choice_logprobs", pa.list_(pa.float64())),
    ]
)
_COLUMNS = ", ".join(STORED.names)

# What is kept of an answer: also what feedback on it is found by, and is compared with.
KEPT = pa.schema([*STORED, pa.field("question_hash", pa.binary()), pa.field("predicted_score", pa.float64())])

_TABLES = f"""
CREATE TABLE IF NOT EXISTS answers (
    key BLOB NOT NULL, run TEXT, asked TEXT, expert TEXT, fingerprint TEXT, answer TEXT,
    prompt_tokens INTEGER, completion_tokens INTEGER, list_cost_usd REAL, latency_ms REAL,
    finish_reason TEXT, recorded_score REAL, choice_logprobs TEXT, created REAL, question_hash BLOB,
    predicted_score REAL);
CREATE UNIQUE INDEX IF NOT EXISTS answers_by_key ON answers (key);
CREATE TABLE IF NOT EXISTS runs (
    run TEXT PRIMARY KEY, job TEXT, started REAL, finished REAL, rows INTEGER, cost_usd REAL, list_cost_usd REAL);
CREATE TABLE IF NOT EXISTS waves (
    engine TEXT, ended REAL, requests INTEGER, prompt_tokens INTEGER, completion_tokens INTEGER, load_s REAL,
    generate_s REAL, memory_bytes INTEGER);
CREATE INDEX IF NOT EXISTS waves_by_engine ON waves (engine);
{feedback.TABLES}
PRAGMA user_version = {VERSION};
"""

# Columns that stores of older versions lack.
_ADDED = (
    ("answers", "choice_logprobs", "TEXT"),
    ("waves", "memory_bytes", "INTEGER"),
    ("answers", "question_hash", "BLOB"),
    ("answers", "predicted_score", "REAL"),
)

# The speed of an engine is that of its latest waves.
_WAVES_COUNTED = 20


@dataclass(frozen=True)
class WaveTime:
    """What an engine did in one wave."""

    engine: str  # `backends.base.engine_key`
    requests: int
    prompt_tokens: int
    completion_tokens: int
    load_s: float | None  # None when it was loaded already
    generate_s: float
    memory_bytes: int | None  # of the device; None when it takes none


@dataclass(frozen=True)
class Measured:
    """What is known of an engine from its latest waves; None where nothing is."""

    tokens_per_s: float | None = None  # read and written
    load_s: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Run:
    """One run of a job; `resumed` when it goes on where a killed one left off."""

    run: str
    resumed: bool
    lock: BaseFileLock | None


class Store:
    """The answers and runs in one folder.

    Raises:
        OutputError: the folder cannot be made or written, or the disk is full.
        UsageError: what is there is not a store, or one of a newer version.

    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.scratch = folder / "scratch"
        self._turn = threading.RLock()
        with self._wall():
            self.scratch.mkdir(parents=True, exist_ok=True)
            (folder / "runs").mkdir(exist_ok=True)
            # Going over to write-ahead mode does not wait for others who do the same, so they take turns.
            with FileLock(folder / "opening.lock"):
                self._db = self._open()
        sweep(self.scratch)
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
            db.executescript(_TABLES)
            for table, column, kind in _ADDED:
                if column not in [row[1] for row in db.execute(f"PRAGMA table_info({table})")]:
                    db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
        db.execute("CREATE TEMP TABLE wanted (key BLOB PRIMARY KEY) WITHOUT ROWID")
        db.commit()
        return db

    def look_up(self, keys: pa.Array) -> pa.Table:
        """The stored answers of these keys (binary, distinct), as a table with `STORED`, in any order."""
        with self._wall():
            self._seen = self._version()
            if self._db.execute("SELECT 1 FROM answers LIMIT 1").fetchone() is None:
                return STORED.empty_table()
            self._db.execute("DELETE FROM wanted")
            self._db.executemany("INSERT INTO wanted VALUES (?)", zip(keys.to_pylist(), strict=True))
            columns = ", ".join("a." + name for name in STORED.names)
            found = self._db.execute(f"SELECT {columns} FROM wanted JOIN answers a USING (key)").fetchall()
            self._db.commit()
        return _table(found)

    def of_run(self, run: Run) -> pa.Table:
        """All answers that a run has paid for so far, as a table with `STORED`."""
        with self._wall():
            return _table(self._db.execute(f"SELECT {_COLUMNS} FROM answers WHERE run = ?", (run.run,)).fetchall())

    def changed(self) -> bool:
        """Whether another process has added answers since the last look-up."""
        with self._wall():
            return self._version() != self._seen

    def _version(self) -> int:
        return int(self._db.execute("PRAGMA data_version").fetchone()[0])

    def append(self, answers: pa.Table) -> None:
        """Keep answers (`KEPT`) for good; one whose key is there already is left as it is."""
        now = time.time()
        columns = {name: answers.column(name).to_pylist() for name in KEPT.names}
        columns["choice_logprobs"] = [told and json.dumps(told) for told in columns["choice_logprobs"]]
        rows = zip(*columns.values(), strict=True)
        places = ", ".join("?" * len(KEPT))
        with self._wall(), self._db:
            self._db.executemany(
                f"INSERT OR IGNORE INTO answers ({', '.join(KEPT.names)}, created) VALUES ({places}, {now!r})", rows
            )

    def give(self, rows: Iterable[feedback.Feedback]) -> None:
        """Keep feedback, all of it or none; one on the same question and expert is replaced."""
        with self._wall(), self._db:
            feedback.keep(self._db, rows)

    def latest_answers(self, questions: Iterable[str]) -> list[dict[str, Any]]:
        """Of every expert the latest answer to each of the questions, in any order; `question_hash` tells which."""
        with self._wall(), self._db:
            return feedback.as_dicts(feedback.latest_answers(self._db, questions))

    def feedback(self) -> list[dict[str, Any]]:
        """All feedback, golds spread over the experts that have answered, in the order in which they did.

        `score` is None where it is for `gold` to tell; `answered` and `at`, when it was given, are seconds of the
        epoch.
        """
        with self._wall():
            return feedback.as_dicts(feedback.read(self._db))

    def measured(self, wave: WaveTime) -> None:
        """Remember what an engine did in a wave, and how long it took."""
        columns = ", ".join(f.name for f in fields(wave))
        values = (*astuple(wave), time.time())
        with self._wall(), self._db:
            self._db.execute(f"INSERT INTO waves ({columns}, ended) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)

    def engine(self, engine: str) -> Measured:
        """What is known of an engine (`engine_key`)."""
        query = (
            "SELECT sum(prompt_tokens + completion_tokens) / nullif(sum(generate_s), 0), avg(load_s), max(memory_bytes)"
            f" FROM (SELECT * FROM waves WHERE engine = ? ORDER BY ended DESC LIMIT {_WAVES_COUNTED})"
        )
        with self._wall():
            return Measured(*self._db.execute(query, (engine,)).fetchone())

    def begin(self, job: str, rows: int) -> Run:
        """Start a run of a job, or take up the one that was killed.

        Args:
            job: Names what is asked of which rows; the same command on the same input has the same job.
            rows: How many rows the input has.

        """
        with self._wall():
            lock = _try_lock(self.folder / "runs" / f"{job}.lock")
            query = "SELECT run FROM runs WHERE job = ? AND finished IS NULL ORDER BY started LIMIT 1"
            killed = lock and self._db.execute(query, (job,)).fetchone()
            if killed:
                return Run(killed[0], True, lock)
            run = uuid.uuid4().hex
            # A run beside another of the same job can't be told from it when killed, so it is not taken up.
            owned = job if lock else None
            with self._db:
                self._db.execute(
                    "INSERT INTO runs (run, job, started, rows) VALUES (?, ?, ?, ?)",
                    (run, owned, time.time(), rows),
                )
            return Run(run, False, lock)

    def finish(self, run: Run, cost_usd: float, list_cost_usd: float) -> None:
        """The answers of a run are where they should be: the next run of its job is a new one."""
        with self._wall(), self._db:
            self._db.execute(
                "UPDATE runs SET finished = ?, cost_usd = ?, list_cost_usd = ? WHERE run = ?",
                (time.time(), cost_usd, list_cost_usd, run.run),
            )
        release(run)

    def runs(self) -> list[dict[str, Any]]:
        """All runs, the earliest first; times are seconds of the epoch, `finished` None while there is work left."""
        return self._rows(
            "SELECT run, started, finished, rows, coalesce(cost_usd, paid) AS cost_usd,"
            " coalesce(list_cost_usd, paid) AS list_cost_usd FROM (SELECT *, CASE WHEN finished IS NULL THEN"
            " (SELECT coalesce(sum(list_cost_usd), 0.0) FROM answers a WHERE a.run = r.run) END AS paid FROM runs r)"
            " ORDER BY started"
        )

    def spend(self) -> list[dict[str, Any]]:
        """What was paid by day (UTC, as text) and expert, the earliest first."""
        return self._rows(
            "SELECT date(created, 'unixepoch') AS day, expert, count(*) AS answers,"
            " sum(prompt_tokens) AS prompt_tokens, sum(completion_tokens) AS completion_tokens,"
            " sum(list_cost_usd) AS cost_usd FROM answers"
            " GROUP BY day, expert ORDER BY day, expert"
        )

    def _rows(self, query: str) -> list[dict[str, Any]]:
        with self._wall():
            return feedback.as_dicts(self._db.execute(query))

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


def _table(rows: list[tuple[Any, ...]]) -> pa.Table:
    """Rows of `_COLUMNS` as Arrow."""
    columns = dict(zip(STORED.names, zip(*rows, strict=True) if rows else [()] * len(STORED), strict=True))
    columns["choice_logprobs"] = tuple(told and json.loads(told) for told in columns["choice_logprobs"])
    return pa.Table.from_arrays([pa.array(columns[f.name], f.type) for f in STORED], schema=STORED)


def _try_lock(path: Path) -> BaseFileLock | None:
    """The lock, or None when another process, or thread, has it."""
    lock = FileLock(path)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


def release(run: Run) -> None:
    """Let go of a run without finishing it: the next run of its job takes it up."""
    if run.lock is not None:
        run.lock.release()
