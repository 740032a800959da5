"""Locks live as long as their owner, and leave nothing behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from leeroo.engine import locks
from leeroo.engine.store.runs import release
from leeroo.engine.store.store import Store
from tests.store.conftest import Beside

_TAKING = """
import os, sys, time
from pathlib import Path
from leeroo.engine import locks
file, inside, until, taken = Path(sys.argv[1]), Path(sys.argv[2]), time.monotonic() + 3, 0
while time.monotonic() < until:
    lock = locks.take(file)
    if lock is not None:
        os.close(os.open(inside, os.O_CREAT | os.O_EXCL))
        inside.unlink()
        locks.give_back(lock)
        taken += 1
print(taken)
"""


def test_a_lock_is_held_by_one_though_its_file_comes_and_goes(tmp_path: Path) -> None:
    """Processes that take it and give it back as fast as they can never hold it at the same time."""
    command = [sys.executable, "-c", _TAKING, str(tmp_path / "a.lock"), str(tmp_path / "inside")]
    takers = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for taker in takers:
        out, wrong = taker.communicate(timeout=60)
        assert wrong == ""
        assert int(out) > 0
    assert list(tmp_path.iterdir()) == []


def test_runs_leave_no_locks(tmp_path: Path, beside: Beside) -> None:
    """Runs that end or are given up leave none; those of killed ones are removed when the store is opened again."""
    store = Store(tmp_path)
    for at in range(5):
        store.finish(store.begin(f"job {at}", 1), 0, 0)
        release(store.begin(f"given up {at}", 1))
    assert list((tmp_path / "runs").iterdir()) == []
    other = beside(tmp_path, "run = store.begin('killed', 1)")
    assert len(list((tmp_path / "runs").iterdir())) == 1
    Store(tmp_path).close()
    assert len(list((tmp_path / "runs").iterdir())) == 1
    other.kill()
    other.wait()
    Store(tmp_path).close()
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_lock_that_is_held_is_seen(tmp_path: Path) -> None:
    """The thread that holds a lock sees it too, and looking does not take it."""
    lock = locks.take(tmp_path / "a.lock")
    assert lock is not None
    assert locks.is_held(tmp_path / "a.lock")
    assert locks.take(tmp_path / "a.lock") is None
    locks.give_back(lock)
    assert not locks.is_held(tmp_path / "a.lock")
    assert not (tmp_path / "a.lock").exists()


def test_folders_of_dead_owners_are_removed(tmp_path: Path) -> None:
    """A folder whose owner has ended is removed with its lock; one in use stays."""
    lock = locks.take(tmp_path / "living.lock")
    for name in ("living", "dead"):
        (tmp_path / name).mkdir()
    (tmp_path / "dead.lock").touch()
    locks.sweep(tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {"living", "living.lock"}
    assert lock is not None
    locks.give_back(lock)
