"""Stages: the folder of a loop of self-play, in which every stage of every round leaves one file, whole or not at all.

What a stage cost is told in its file's metadata, `cost_usd`, so that what a loop has spent is the sum over its files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from leeroo.engine.answer import Engine
from leeroo.engine.errors import UsageError
from leeroo.engine.tables import write_table
from leeroo.engine.tables.outputs import check_own

# Makes the table of a stage, and tells what it cost in USD.
Stage = Callable[[], tuple[pa.Table, float]]

_LOCK = "selfplay.lock"
_OURS = ("held-out", "rounds", "store", _LOCK)


def once(engine: Engine, file: Path, make: Stage) -> pa.Table:
    """The table in a file; it is made when the file is not there, and what was answered for it is delivered."""
    if not file.is_file():
        with engine.delivery():
            table, cost = make()
            file.parent.mkdir(parents=True, exist_ok=True)
            write_table(table.replace_schema_metadata({"cost_usd": repr(cost)}).to_reader(), file)
    return pq.read_table(file)


def rows(file: Path) -> int:
    """How many rows a file has."""
    return int(pq.read_metadata(file).num_rows)


def spent_usd(out: Path) -> float:
    """What the stages in a folder, and in the folders in it, have cost."""
    return sum(float((pq.read_schema(file).metadata or {}).get(b"cost_usd", 0.0)) for file in out.glob("**/*.parquet"))


def round_folder(out: Path, number: int) -> Path:
    """The folder of a round; 0 is the start."""
    return out / "rounds" / f"{number:04}"


def check_folder(out: Path) -> None:
    """Check that a loop may be played in a folder, before anything is written there.

    Raises:
        UsageError: something else is there.
    """
    if out.is_file():
        raise UsageError(f"{out} is a file: name a new folder, or one that self-play has made")
    check_own(out, _OURS)


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """The folder is this process's while it is entered; it is made when it does not exist.

    Raises:
        UsageError: it is not that of a loop, or another process plays in it.
    """
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / _LOCK, timeout=0):
            yield
    except Timeout:
        raise UsageError(f"another process plays in {out}: wait for it, or name another folder") from None
