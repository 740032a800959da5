"""A folder of Parquet parts, which only ever replaces parts that an earlier run wrote.

Each part carries a mark in its metadata: where its footer begins. It fits no file that has been changed since.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from leeroo.engine.errors import OutputError
from leeroo.engine.tables.outputs import Keep, check_place, part_path, remove_parts, sweep, sync

PART_ROWS = 1_048_576
_ROW_GROUP_ROWS = 131_072
_NAME = re.compile(r"part-\d{5,}\.parquet")
_MARK = b"leeroo.footer_at"
_FOOTER_LENGTH_BYTES = 8  # after the footer: its length, and "PAR1"


def check_folder(out: str | Path, keep: Keep) -> None:
    """Check that a folder of parts can be written, before anything is spent on what goes there.

    Raises:
        OutputError: it holds something that no earlier run wrote, or as `check_place`.
    """
    path = check_place(out, keep)
    if path.is_file():
        raise OutputError(f"{out} is a file: name it .parquet, or name a folder")
    _check_own(out, path)


def write_folder(reader: pa.RecordBatchReader, out: str | Path) -> int:
    """Write a stream of rows as a folder of parts, to be seen when it is whole; return the number of rows.

    Raises:
        OutputError: the place cannot be written, or something else has come into the folder.
    """
    path = Path(os.path.realpath(out))
    fresh = part_path(path / "part") if path.is_dir() else part_path(path)
    sweep(path / "part" if path.is_dir() else path)
    try:
        fresh.mkdir()
        rows = _write_parts(reader, fresh)
        _publish(out, fresh, path)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        remove_parts(fresh)
    return rows


def write_parquet(reader: pa.RecordBatchReader, path: Path, most: int | None = None) -> int:
    """Write up to `most` rows (at least one batch passes it); return how many it were."""
    rows = 0
    with open(path, "wb") as file, pq.ParquetWriter(file, reader.schema, compression="zstd") as writer:
        for group in _groups(reader, most):
            writer.write_table(group)
            rows += group.num_rows
        if most is not None:
            writer.add_key_value_metadata({_MARK: str(file.tell())})
    return rows


def is_part(path: Path) -> bool:
    """Return whether a file is a part as a run wrote it."""
    if path.is_symlink() or not path.is_file() or not _NAME.fullmatch(path.name):
        return False
    with contextlib.suppress(pa.ArrowException, OSError):
        found = pq.read_metadata(path)
        begins = path.stat().st_size - _FOOTER_LENGTH_BYTES - found.serialized_size
        return bool((found.metadata or {}).get(_MARK) == str(begins).encode())
    return False


def _check_own(out: str | Path, path: Path) -> None:
    for each in sorted(path.iterdir()) if path.is_dir() else ():
        if not is_part(each) and not each.match(".part.*.part"):
            raise OutputError(f"{out} holds {each.name}, which no run wrote: name another folder, or move it away")


def _write_parts(reader: pa.RecordBatchReader, folder: Path) -> int:
    rows = 0
    for number in range(sys.maxsize):
        part = folder / f"part-{number:05}.parquet"
        written = write_parquet(reader, part, PART_ROWS)
        sync(part)
        rows += written
        if written < PART_ROWS:
            break
    sync(folder)
    return rows


def _publish(out: str | Path, fresh: Path, path: Path) -> None:
    """Put fresh parts into the place of the old ones; a folder that is there stays, with its rights and its mounts."""
    if not path.is_dir():
        fresh.rename(path)
        sync(path.parent)
        return
    _check_own(out, path)
    new = sorted(fresh.iterdir())
    for part in new:
        part.replace(path / part.name)
    for old in {each for each in path.iterdir() if is_part(each)} - {path / part.name for part in new}:
        old.unlink()
    sync(path)


def _groups(reader: pa.RecordBatchReader, most: int | None) -> Iterator[pa.Table]:
    """Tables of the size of a row group."""
    batches: list[pa.RecordBatch] = []
    taken = waiting = 0
    while most is None or taken < most:
        batch = next(reader, None)
        if batch is None:
            break
        batches.append(batch)
        taken += batch.num_rows
        waiting += batch.num_rows
        if waiting >= _ROW_GROUP_ROWS:
            yield pa.Table.from_batches(batches, reader.schema)
            batches, waiting = [], 0
    if batches:
        yield pa.Table.from_batches(batches, reader.schema)
