"""The answer store: every answer is kept here before anyone sees it, so that none is paid for twice.

One SQLite file in write-ahead mode, which survives kill -9 at any moment and is shared by any number of
processes. The modules beside this one hold its tables.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from leeroo.engine import locks
from leeroo.engine.errors import OutputError, UsageError
from leeroo.engine.sqlite import keep_private, open_sqlite
from leeroo.engine.store import answers, charges, claims, feedback, prune, runs, spending, timings, verdicts
from leeroo.engine.store.answers import Lengths
from leeroo.engine.store.charges import Charge
from leeroo.engine.store.prune import Pruned
from leeroo.engine.store.runs import Run
from leeroo.engine.store.timings import Measured, WaveTime

VERSION = 7

_ROOMS = (answers, claims, charges, spending, runs, timings, feedback, verdicts)
_ADDED = {"answers": answers.ADDED, "runs": runs.ADDED, "waves": timings.ADDED}
# All that is ever in the folder.
_OURS = ("answers.sqlite", "opening.lock", "runs", "scratch", "serve")

_ENDS = (("min", "oldest_answer"), ("max", "newest_answer"))


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
            for each in (folder, self.scratch, self._runs):
                each.mkdir(mode=0o700, parents=True, exist_ok=True)
                if each is not folder or all(part.name.startswith(_OURS) for part in folder.iterdir()):
                    keep_private(each)
            self._db = self._open()
            locks.sweep(self.scratch)
            with self._write():
                locks.sweep(self._runs)

    def _open(self) -> sqlite3.Connection:
        db = open_sqlite(self.folder / "answers.sqlite")
        # Keys fall all over their index: in 64 MiB its pages are changed many times before they are written back once.
        db.execute("PRAGMA cache_size = -65536")
        db.execute("PRAGMA wal_autocheckpoint = 4096")
        with db:
            db.execute("BEGIN IMMEDIATE")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version < VERSION:
                _upgrade(db, version)
        if version > VERSION:
            raise UsageError(f"the store {self.folder} was written by a newer leeroo; upgrade, or give another store=")
        return db

    def look_up(self, keys: pa.Array) -> pa.Table:
        """Return the stored answers of these keys (binary, distinct), as a table with `STORED`, in any order."""
        with self._wall(), self._db:
            return answers.look_up(self._db, keys)

    def of_run(self, run: Run) -> pa.Table:
        """All answers that a run has paid for so far, as a table with `STORED`."""
        with self._wall():
            return answers.of_run(self._db, run.run)

    def of_job(self, run: Run) -> pa.Table:
        """Return the latest answer to each question that other runs of the job have paid for (`STORED`)."""
        with self._wall():
            return answers.of_job(self._db, run.run)

    def claim(self, run: Run, keys: pa.Array, at_most_usd: Sequence[float]) -> pa.BooleanArray:
        """Claim keys for a run before their requests leave, so that nobody else pays for the same answers.

        A claim ends when the answer is appended, when it is charged or released, or when the run is finished. Claims of
        a run that was killed are free at once, and `in_flight` keeps what they may have cost.

        Args:
            run: Who claims; two runs are two owners, in one process too.
            keys: Of answers (binary, distinct), a hand-out at a time.
            at_most_usd: The most that each of them can cost.

        Returns:
            Which keys are granted. The others have an answer already (`look_up`), or another living run has claimed
            them: then their answers will be there later, or the keys are free again.

        """
        with self._write(durable=False) as db:
            return claims.claim(db, lambda other: runs.alive(self._runs, other), run.run, keys, at_most_usd)

    def release_claims(self, run: Run, keys: Iterable[bytes]) -> None:
        """End claims of a run whose requests are over, or never left, and brought neither answer nor charge."""
        with self._write(durable=False) as db:
            claims.release(db, keys, run.run)

    def charge(self, rows: Iterable[Charge]) -> None:
        """Keep what was billed and brought no answer; the claims of these rows end."""
        with self._write() as db:
            charges.keep(db, rows)

    def charges(self, run: Run) -> list[Charge]:
        """Return what a run was charged so far without an answer: a resumed run starts from there."""
        with self._wall():
            return charges.read(self._db, run.run)

    def in_flight(self, run: Run) -> float:
        """Return the most in USD that requests under way when the run was killed may have cost, over all its kills."""
        with self._wall():
            return runs.in_flight(self._db, run.run)

    def append(self, rows: pa.Table) -> None:
        """Keep answers (`KEPT`) for good, and end the claims on them; one whose key is there already stays as it is."""
        with self._write() as db:
            answers.append(db, rows)

    def mark_private(self, keys: pa.Array) -> None:
        """Note that a private row has the question of these stored answers too."""
        if len(keys):
            with self._write() as db:
                answers.mark_private(db, keys)

    def lengths(self, fingerprints: Iterable[str]) -> dict[str, Lengths]:
        """Return the mean tokens of prompts and answers of experts, by fingerprint; unknown ones are left out."""
        with self._wall():
            return answers.lengths(self._db, fingerprints)

    def give(self, rows: Iterable[feedback.Feedback]) -> None:
        """Keep feedback, all of it or none; one of the same owner on the same question and expert is replaced."""
        with self._write() as db:
            feedback.keep(db, rows)

    def latest_answers(self, questions: Iterable[str]) -> list[dict[str, Any]]:
        """Return the latest answer of every expert to each of the questions, in any order, with `question_hash`."""
        with self._wall(), self._db:
            return _dicts(feedback.latest_answers(self._db, questions))

    def verdicts(self, keys: Iterable[bytes]) -> dict[bytes, float]:
        """Return the stored scores of comparisons, by key."""
        with self._wall():
            return verdicts.look_up(self._db, keys)

    def keep_verdicts(self, scores: Mapping[bytes, float]) -> None:
        """Keep the scores of comparisons, by their keys."""
        with self._wall(), self._db:
            verdicts.keep(self._db, scores)

    def feedback(self, owner: str | None = None) -> list[dict[str, Any]]:
        """All feedback of an owner or of all, in the order of the answers; golds spread over the experts that answered.

        `score` is None where `gold` decides; `answered` and `at`, when it was given, are seconds of the epoch.
        The question of a row that is `private` must not be shown to remote experts.
        """
        with self._wall():
            rows = _dicts(feedback.read(self._db, owner))
        return [{**row, "private": bool(row["private"])} for row in rows]

    def measured(self, wave: WaveTime) -> None:
        """Remember what an engine did in a wave, and how long it took."""
        with self._write(durable=False) as db:
            timings.keep(db, wave)

    def engine(self, engine: str) -> Measured:
        """Return what was measured of an engine (`engine_key`)."""
        with self._wall():
            return timings.measured(self._db, engine)

    def begin(self, job: str, rows: int) -> Run:
        """Start a run of a job over a number of rows, or resume one that was killed; see `runs.begin`."""
        with self._write() as db:
            return runs.begin(db, self._runs, job, rows)

    def finish(self, run: Run, cost_usd: float, list_cost_usd: float) -> None:
        """Note that the answers of a run are where they should be: the next run of its job is a new one."""
        with self._write() as db:
            runs.finish(db, run, cost_usd, list_cost_usd)
        runs.release(run)

    def runs(self) -> list[dict[str, Any]]:
        """All runs, the earliest first; times are seconds of the epoch, `finished` None while there is work left."""
        with self._wall():
            return _dicts(runs.read(self._db))

    def spend(self) -> list[dict[str, Any]]:
        """Return the spend by day (UTC, as text) and expert, the earliest first."""
        with self._wall():
            return _dicts(spending.read(self._db))

    def info(self) -> dict[str, int | str | None]:
        """Return what is in the store: counts, bytes on the disk, and the days (UTC) of the first and last answer."""
        counts = ", ".join(f"(SELECT count(*) FROM {name}) AS {name}" for name in ("answers", "feedback", "runs"))
        days = ", ".join(f"date({which}(created), 'unixepoch') AS {name}" for which, name in _ENDS)
        with self._wall():
            [found] = _dicts(self._db.execute(f"SELECT {counts}, {days} FROM answers"))
        size = sum(part.stat().st_size for part in self.folder.glob("answers.sqlite*"))
        return {"bytes": size, **found}

    def prune(self, before: float | None = None, max_bytes: int | None = None) -> Pruned:
        """Remove what is older than a time (seconds of the epoch), and the oldest answers beyond a number of bytes.

        What a run under way needs stays, and so do feedback, the answers that it is about, and the sums of what was
        spent. Where a run is under way, the file keeps its size, and only what is too old goes.
        """
        dropped_runs = dropped = 0
        if before is not None:
            with self._write() as db:
                dropped_runs = prune.drop_runs(db, lambda run: runs.alive(self._runs, run), before)
            dropped = self._drop_answers(before)
        compact = self._shrink()
        while max_bytes is not None and compact and (most := self._too_many(max_bytes)):
            part = self._drop_answers(time.time(), most)
            compact = bool(part) and self._shrink()
            dropped += part
        with self._wall():
            return Pruned(dropped, dropped_runs, prune.used_bytes(self._db))

    def _drop_answers(self, before: float, most: int = sys.maxsize) -> int:
        """Remove answers a part at a time, so that nobody waits long."""
        dropped = 0
        while dropped < most:
            with self._write() as db:
                part = prune.drop_answers(db, before, min(most - dropped, prune.AT_ONCE))
            if not part:
                break
            dropped += part
        return dropped

    def _too_many(self, max_bytes: int) -> int:
        with self._wall():
            return prune.too_many(self._db, max_bytes)

    def _shrink(self) -> bool:
        """Give space back to the disk, which takes the whole file for a while: not while a run is under way."""
        with self._write() as db:
            unfinished = db.execute("SELECT run FROM runs WHERE finished IS NULL").fetchall()
            busy = any(runs.alive(self._runs, run) for (run,) in unfinished)
        with self._wall():
            if not busy:
                self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return not busy

    def close(self) -> None:
        """Close the database file."""
        self._db.close()

    @contextlib.contextmanager
    def _write(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Take turns with other threads and processes; all that is written in here is kept, or nothing.

        Args:
            durable: It survives a power failure too, and not only the end of this process. That takes milliseconds.

        """
        with self._wall(), self._db:
            self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._db.execute("BEGIN IMMEDIATE")
            yield self._db

    @contextlib.contextmanager
    def _wall(self) -> Iterator[None]:
        """Take turns with other threads; turn what SQLite and the disk say into errors of ours."""
        try:
            with self._turn:
                yield
        except sqlite3.OperationalError as error:
            raise OutputError(
                f"the answer store in {self.folder} cannot be used ({_one_line(error)}); answers kept so far are safe:"
                " make room or permit writing there, or give another store="
            ) from error
        except (sqlite3.DatabaseError, UnicodeError) as error:
            raise UsageError(
                f"{self.folder / 'answers.sqlite'} is damaged, or not an answer store ({_one_line(error)}):"
                " put a copy in its place, or give another store="
            ) from error
        except OSError as error:
            raise OutputError(f"the answer store {self.folder} cannot be made: {error.strerror or error}") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _upgrade(db: sqlite3.Connection, version: int) -> None:
    """Make the tables of this version, and the columns that an older one lacks."""
    there = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if version < 7 and "feedback" in there:
        for statement in feedback.MOVED:
            db.execute(statement)
    for room in _ROOMS:
        for statement in room.TABLES.split(";"):
            db.execute(statement)
    for table, columns in _ADDED.items():
        present = {row[1] for row in db.execute(f"PRAGMA table_info({table})")}
        for column in columns.keys() - present:
            db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {columns[column]}")
    if version < 7:
        # Engines were named in plain text, which may hold secrets, and those names are not used any more.
        db.execute("DELETE FROM waves")
    db.execute(f"PRAGMA user_version = {VERSION}")


def _dicts(cursor: sqlite3.Cursor) -> list[dict[str, Any]]:
    """Return the rows of a query by the names of its columns."""
    columns = [column[0] for column in cursor.description]
    return [dict(zip(columns, row, strict=True)) for row in cursor]
