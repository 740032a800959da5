"""Stages: the folder of a loop of self-play, in which every stage of every round leaves one file, whole or not at all.

The cost of a stage is in its file's metadata, `cost_usd`, so the cost of a loop is the sum over its files. The rest
of the contents is not known here.
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

# Makes the table of a stage, and returns it with its cost in USD.
Stage = Callable[[], tuple[pa.Table, float]]

_LOCK = "selfplay.lock"
_OURS = ("held-out", "rounds", "store", _LOCK)


def once(engine: Engine, file: Path, make: Stage) -> pa.Table:
    """Return the table in a file; if the file is not there, make it, and deliver the answers in it."""
    if not file.is_file():
        with engine.delivery():
            table, cost = make()
            file.parent.mkdir(parents=True, exist_ok=True)
            write_table(table.replace_schema_metadata({"cost_usd": repr(cost)}).to_reader(), file)
    return pq.read_table(file)


def rows(file: Path) -> int:
    """Return the number of rows of a file."""
    return int(pq.read_metadata(file).num_rows)


def spent_usd(out: Path) -> float:
    """Return the cost of the stages in a folder, and in the folders in it."""
    return sum(float((pq.read_schema(file).metadata or {}).get(b"cost_usd", 0.0)) for file in out.glob("**/*.parquet"))


def round_folder(out: Path, number: int) -> Path:
    """Return the folder of a round; 0 is the start."""
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
    """Hold the folder for this process; it is made when it does not exist.

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
