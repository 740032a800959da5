"""The answer store: every answer is kept here before anyone sees it, so that none is paid for twice.

One SQLite file in write-ahead mode, which survives kill -9 at any moment and is shared by any number of
processes. The modules beside this one hold its tables.
"""

from __future__ import annotations

import contextlib
import functools
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from leeroo.engine import locks
from leeroo.engine.errors import OutputError, UsageError
from leeroo.engine.sqlite import keep_private, open_sqlite, read_rows
from leeroo.engine.store import answers, batches, caps, feedback, learned, prune, runs, spending, timings
from leeroo.engine.store.answers import append, lengths, look_up, mark_private
from leeroo.engine.store.batches import (
    batch_seconds,
    drop_batch,
    end_lines,
    find_lines,
    keep_batch,
    lines_of_run,
    note_created,
    note_look,
    note_sending,
    read_batch,
    read_batches,
)
from leeroo.engine.store.caps import Cap, read_caps, remove_caps, set_caps
from leeroo.engine.store.feedback import keep_feedback, keep_verdicts, latest_answers, read_feedback, read_verdicts
from leeroo.engine.store.log import read_log
from leeroo.engine.store.prune import Pruned
from leeroo.engine.store.runs import Run, claim, in_flight, of_job, of_run, read_runs, release_claims
from leeroo.engine.store.spending import keep_charges, read_charges, read_spend
from leeroo.engine.store.timings import keep_timing, read_timings

VERSION = 12

_ROOMS = (answers, batches, spending, caps, runs, timings, feedback)
_ADDED = {"answers": answers.ADDED, "runs": runs.ADDED, "claims": runs.CLAIMS_ADDED, "waves": timings.ADDED}
# All that is ever in the folder.
_OURS = ("answers.sqlite", "opening.lock", learned.FOLDER, "runs", "scratch", "serve")

# Seconds between two looks at whether a batch is still being submitted by another.
_BATCH_HELD_S = 0.1

_ENDS = (("min", "oldest_answer"), ("max", "newest_answer"))

P = ParamSpec("P")
R = TypeVar("R")


def _method(
    function: Callable[Concatenate[sqlite3.Connection, P], R], *, writes: bool = False, durable: bool = True
) -> Callable[Concatenate[Store, P], R]:
    """Make a method of the store from a function over its database; one that writes keeps all of it, or nothing."""

    @functools.wraps(function)
    def method(store: Store, /, *args: P.args, **kwargs: P.kwargs) -> R:
        with store._write(durable=durable) if writes else store._read() as db:
            return function(db, *args, **kwargs)

    return method


_reads, _writes = _method, functools.partial(_method, writes=True)


class Store:
    """The answers and runs in one folder; the functions that are its methods tell what each does.

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
        db.create_function("alive", 1, lambda run: runs.is_alive(self._runs, run))
        with db:
            db.execute("BEGIN IMMEDIATE")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version < VERSION:
                _upgrade(db, version)
        if version > VERSION:
            raise UsageError(f"the store {self.folder} was written by a newer leeroo; upgrade, or give another store=")
        return db

    look_up = _reads(look_up)
    append = _writes(append)
    mark_private = _writes(mark_private)
    lengths = _reads(lengths)
    of_run = _reads(of_run)
    of_job = _reads(of_job)
    in_flight = _reads(in_flight)
    # Claims end with their process anyway: they need not survive a power failure.
    claim = _writes(claim, durable=False)
    release_claims = _writes(release_claims, durable=False)
    charge = _writes(keep_charges)
    keep_batch = _writes(keep_batch)
    note_sending = _writes(note_sending)
    note_created = _writes(note_created)
    note_look = _writes(note_look, durable=False)
    drop_batch = _writes(drop_batch)
    end_lines = _writes(end_lines, durable=False)
    find_lines = _reads(find_lines)
    lines_of_run = _reads(lines_of_run)
    read_batch = _reads(read_batch)
    batches = _reads(read_batches)
    batch_seconds = _reads(batch_seconds)
    charges = _reads(read_charges)
    give = _writes(keep_feedback)
    latest_answers = _reads(latest_answers)
    log = _reads(read_log)
    feedback = _reads(read_feedback)
    verdicts = _reads(read_verdicts)
    keep_verdicts = _writes(keep_verdicts, durable=False)
    measured = _writes(keep_timing, durable=False)
    engine = _reads(read_timings)
    runs = _reads(read_runs)
    spend = _reads(read_spend)
    set_caps = _writes(set_caps)
    remove_caps = _writes(remove_caps)
    _caps = _reads(read_caps)
    _drop_runs = _writes(prune.drop_runs)
    _drop_part = _writes(prune.drop_answers)
    _too_many = _reads(prune.too_many)
    _used_bytes = _reads(prune.used_bytes)

    def begin(self, job: str, rows: int, prices: str = "", *, owner: str = "") -> Run:
        """Start a run of a job over a number of rows, or resume one that was killed; see `runs.begin`."""
        with self._write() as db:
            return runs.begin(db, self._runs, job, rows, prices, owner=owner)

    def caps(self, owner: str | None = None) -> list[Cap]:
        """Return the spending caps that count what an owner spends (None: all caps), as they stand now."""
        if not self._caps(owner):
            return []
        with self._write(durable=False) as db:
            runs.lose_dead(db)  # they hold nothing any more
            return read_caps(db, owner)

    def finish(self, run: Run, cost_usd: float, list_cost_usd: float) -> None:
        """Note that the answers of a run are where they should be: the next run of its job is a new one."""
        with self._write() as db:
            runs.finish(db, run, cost_usd, list_cost_usd)
        runs.release(run)

    @contextlib.contextmanager
    def submitting(self, token: str, stop: threading.Event) -> Iterator[None]:
        """Hold a batch while it is submitted, so that no other thread or process submits it too.

        Returns at once where `stop` is set.
        """
        file = self._runs / f"batch-{token}.lock"
        while (lock := locks.take(file)) is None and not stop.wait(_BATCH_HELD_S):
            pass
        try:
            yield
        finally:
            if lock is not None:
                locks.give_back(lock)

    def info(self) -> dict[str, int | str | None]:
        """Return what is in the store: bytes on the disk, counts, and the days (UTC) of the first and last answer.

        `learned` counts the batches that left their outcomes and a router there.
        """
        counts = ", ".join(f"(SELECT count(*) FROM {name}) AS {name}" for name in ("answers", "feedback", "runs"))
        days = ", ".join(f"date({which}(created), 'unixepoch') AS {name}" for which, name in _ENDS)
        with self._wall():
            [found] = read_rows(self._db, f"SELECT {counts}, {days} FROM answers")
            taught = learned.batches(self.folder)
            size = sum(part.stat().st_size for part in self.folder.glob("answers.sqlite*"))
        return {"bytes": size + sum(each.bytes for each in taught), **found, "learned": len(taught)}

    def prune(self, before: float | None = None, max_bytes: int | None = None) -> Pruned:
        """Remove what is older than a time (seconds of the epoch), and the oldest beyond a number of bytes.

        What a run under way needs stays, and so do feedback, the answers that it is about, and the sums of what was
        spent. Where a run is under way, the file keeps its size, and only what is too old goes.
        """
        dropped_runs = 0 if before is None else self._drop_runs(before)
        dropped = 0 if before is None else self._drop_answers(before)
        forgotten = 0 if before is None else self._drop_learned(before)
        compact = self._shrink()
        if max_bytes is not None and compact:
            more = self._drop_beyond(max_bytes)
            dropped, forgotten = dropped + more[0], forgotten + more[1]
        return Pruned(dropped, dropped_runs, forgotten, self._used_bytes() + self._learned_bytes())

    def _drop_beyond(self, max_bytes: int) -> tuple[int, int]:
        """Remove the oldest answers, and batches that learned, beyond a number of bytes; return how many went."""
        dropped, forgotten, compact = 0, 0, True
        for oldest in [*self._learned(), None]:
            before = time.time() if oldest is None else oldest.written
            while compact and (most := self._too_many(max(0, max_bytes - self._learned_bytes()))):
                part = self._drop_answers(before, most)
                dropped += part
                compact = self._shrink()
                if not part:
                    break
            if oldest is not None and compact and self._used_bytes() + self._learned_bytes() > max_bytes:
                forgotten += learned.drop(oldest.folder)
        return dropped, forgotten

    def _drop_learned(self, before: float) -> int:
        with self._wall():
            return sum(learned.drop(each.folder) for each in self._learned() if each.written < before)

    def _learned(self) -> list[learned.LearnedBatch]:
        with self._wall():
            return learned.batches(self.folder)

    def _learned_bytes(self) -> int:
        return sum(each.bytes for each in self._learned())

    def _drop_answers(self, before: float, most: int = sys.maxsize) -> int:
        """Remove answers a part at a time, so that other processes do not wait long."""
        dropped = 0
        while dropped < most and (part := self._drop_part(before, min(most - dropped, prune.AT_ONCE))):
            dropped += part
        return dropped

    def _shrink(self) -> bool:
        """Give space back to the disk, which takes the whole file for a while: not while a run is under way."""
        with self._write() as db:
            under_way = "SELECT 1 FROM runs WHERE finished IS NULL AND alive(run)"
            busy = db.execute(under_way).fetchone() is not None
        with self._wall():
            if not busy:
                self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return not busy

    def close(self) -> None:
        """Close the database file."""
        self._db.close()

    @contextlib.contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with self._wall(), self._db:
            yield self._db

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
    for since, table, statements in ((7, "feedback", feedback.MOVED), (9, "spent", spending.MOVED)):
        if version < since and table in there:
            for statement in statements:
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
    if version < 9:
        for billed in spending.BILLED:
            spending.count_new(db, billed, 0)
    if version < 10:
        spending.recount_used(db)
    db.execute(f"PRAGMA user_version = {VERSION}")
