"""Locks on files that live as long as their owner: the system frees them when a process ends, by kill -9 too.

A lock's file goes when its owner is done. What is left in a folder of locks belongs to the living or to the dead, and
`sweep` removes what the dead have left.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout


def take(file: Path) -> BaseFileLock | None:
    """Lock a file, made if needed; None while another owner holds it, in this process or another."""
    # Any thread may give it back.
    lock = FileLock(file, mode=0o600, thread_local=False)
    while True:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            if file.exists():
                return None
            continue  # its owner has ended just now
        return lock


def give_back(lock: BaseFileLock) -> None:
    """Remove the file of a lock that is held, and free the lock: a file cannot be locked while it is removed."""
    if lock.is_locked:
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def is_held(file: Path) -> bool:
    """Return whether a living owner holds a lock; the file of a dead one goes."""
    lock = take(file) if file.exists() else None
    if lock is not None:
        give_back(lock)
    return lock is None and file.exists()


def sweep(folder: Path) -> None:
    """Remove the locks of dead owners in a folder, and the folders beside them that have their names."""
    for file in folder.glob("*.lock"):
        try:
            lock = take(file)
        except OSError:
            continue
        if lock is not None:
            shutil.rmtree(file.with_suffix(""), ignore_errors=True)
            give_back(lock)
