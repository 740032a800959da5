"""Transactions of many threads: kept when they say so, undone alone, and on the disk together."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from leeroo.engine.errors import OutputError
from leeroo.serve.database import Database


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    """Open an empty database."""
    with closing(Database(tmp_path / "serve")) as db:
        yield db


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Start threads."""
    with ThreadPoolExecutor(12) as threads:
        yield threads


def _add(db: Database, wave: int) -> None:
    with db.transaction() as con:
        con.execute("INSERT INTO waves VALUES (?, 1)", (wave,))


def _waves(db: Database) -> list[int]:
    """Return what another process sees."""
    with closing(sqlite3.connect(db.folder / "serve.sqlite")) as other:
        return [number for (number,) in other.execute("SELECT number FROM waves ORDER BY number")]


def _hold(db: Database, threads: ThreadPoolExecutor, do: threading.Event) -> Future[None]:
    """Begin a transaction in another thread that ends when `do` is set; others wait for it meanwhile."""
    begun = threading.Event()

    def body() -> None:
        with db.transaction() as con:
            con.execute("INSERT INTO waves VALUES (0, 1)")
            begun.set()
            do.wait()

    first = threads.submit(body)
    begun.wait()
    return first


def _run_behind(db: Database, threads: ThreadPoolExecutor, *pieces: Callable[[], None]) -> list[BaseException | None]:
    """Run transactions that all wait for another; return the error of each, that of the other first."""
    do = threading.Event()
    ends = [_hold(db, threads, do), *map(threads.submit, pieces)]
    while len(db._coming) < len(pieces):
        threading.Event().wait(0.01)
    do.set()
    return [end.exception() for end in ends]


def _commits(db: Database) -> list[str]:
    found: list[str] = []
    db._db.set_trace_callback(lambda statement: found.append(statement) if statement == "COMMIT" else None)
    return found


def test_a_transaction_is_there_when_it_ends(db: Database) -> None:
    """Another process sees it at once."""
    _add(db, 1)
    assert _waves(db) == [1]


def test_transactions_that_wait_share_one_commit(db: Database, threads: ThreadPoolExecutor) -> None:
    """Ten that came while another was under way wait for the disk far less often than ten times."""
    commits = _commits(db)
    assert _run_behind(db, threads, *(partial(_add, db, wave) for wave in range(1, 11))) == [None] * 11
    assert _waves(db) == list(range(11))
    assert 1 <= len(commits) <= 3


def test_a_transaction_that_fails_is_undone_alone(db: Database, threads: ThreadPoolExecutor) -> None:
    """Others of its group are kept."""

    def fail() -> None:
        with db.transaction() as con:
            con.execute("INSERT INTO waves VALUES (98, 1)")
            raise ZeroDivisionError

    errors = _run_behind(db, threads, partial(_add, db, 1), fail, partial(_add, db, 2))
    assert [type(error) for error in errors] == [type(None), type(None), ZeroDivisionError, type(None)]
    assert _waves(db) == [0, 1, 2]


def test_a_transaction_that_fails_leaves_no_lock(db: Database) -> None:
    """Another process writes at once after it."""

    def fail() -> None:
        with db.transaction() as con:
            con.execute("INSERT INTO waves VALUES (99, 1)")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with closing(sqlite3.connect(db.folder / "serve.sqlite", timeout=0)) as other, other:
        other.execute("INSERT INTO waves VALUES (50, 1)")
    assert _waves(db) == [50]


def test_a_full_disk_keeps_nothing_that_it_reports(db: Database, threads: ThreadPoolExecutor) -> None:
    """Whoever got no error is kept, whoever got one is not, and later ones are kept again."""
    [pages] = db._db.execute("PRAGMA page_count").fetchone()
    db._db.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        with db.transaction() as con:
            con.executemany("INSERT INTO waves VALUES (?, 1)", ((n,) for n in range(1000, 100_000)))

    errors = _run_behind(db, threads, fill, partial(_add, db, 1))
    db._db.execute("PRAGMA max_page_count = 1000000")
    assert isinstance(errors[1], OutputError)
    assert _waves(db) == [wave for wave, error in zip((0, 1000, 1), errors, strict=True) if error is None]
    _add(db, 7)
    assert 7 in _waves(db)


def test_reading_waits_for_no_transaction(db: Database, threads: ThreadPoolExecutor) -> None:
    """Rows are read while another thread writes, as they were before."""
    do = threading.Event()
    first = _hold(db, threads, do)
    assert db.rows("SELECT count(*) FROM waves")[0][0] == 0
    do.set()
    first.result()
    assert db.rows("SELECT count(*) FROM waves")[0][0] == 1
