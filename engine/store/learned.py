"""What tables have taught: in `learned/POOL/BATCH/`, the outcomes and the router of each batch that learned.

A batch that is under way holds a lock beside its folder. Knows nothing of what is in the folders.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from leeroo.engine import locks

FOLDER = "learned"


class LearnedBatch(NamedTuple):
    """The folder of a batch, when something was last written there (seconds of the epoch), and its bytes."""

    folder: Path
    written: float
    bytes: int


def batches(store: Path) -> list[LearnedBatch]:
    """Return all batches that learned, the oldest first."""
    return sorted(_found(store), key=lambda each: (each.written, each.folder))


@contextlib.contextmanager
def under_way(folder: Path) -> Iterator[None]:
    """Keep a batch, whose folder is there, from being removed while the block runs."""
    lock = locks.take(_lock_of(folder))
    try:
        yield
    finally:
        if lock is not None:  # another process runs the same batch
            locks.give_back(lock)


def drop(folder: Path) -> bool:
    """Remove a batch; return whether it could be: not while it is under way."""
    lock = locks.take(_lock_of(folder))
    if lock is None:
        return False
    try:
        shutil.rmtree(folder)
    finally:
        locks.give_back(lock)
    with contextlib.suppress(OSError):  # others are there
        folder.parent.rmdir()
    return True


def _lock_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.lock")


def _found(store: Path) -> Iterator[LearnedBatch]:
    for folder in (store / FOLDER).glob("*/*"):
        if folder.is_dir():
            stats = [folder.stat(), *_stats(folder)]
            yield LearnedBatch(folder, max(each.st_mtime for each in stats), sum(each.st_size for each in stats))


def _stats(folder: Path) -> Iterator[os.stat_result]:
    """Return those of all files and folders in it; some may vanish meanwhile."""
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            with contextlib.suppress(FileNotFoundError):
                yield Path(place, name).stat()
