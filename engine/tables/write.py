"""Tables out: one file, a folder of Parquet parts, or a stream.

A folder only ever replaces parts that an earlier run wrote. Each part carries a mark in its metadata: where its footer
begins. It fits no file that has been changed since.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from leeroo.engine.errors import OutputError
from leeroo.engine.tables.outputs import Keep, check_place, is_stream, new_file, part_path, remove_parts, sweep, sync
from leeroo.engine.tables.values import for_csv, for_json, quote_text

# The names of columns are written as values: DuckDB would rename those that differ only by case.
_LINES = "FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\n'"
_COPY = {
    ".csv": "FORMAT csv, HEADER false",
    ".tsv": "FORMAT csv, HEADER false, DELIMITER '\t'",
    ".jsonl": _LINES,
    ".ndjson": _LINES,
}
PART_ROWS = 1_048_576
_ROW_GROUP_ROWS = 131_072
_NAME = re.compile(r"part-\d{5,}\.parquet")
_MARK = b"leeroo.footer_at"
_FOOTER_LENGTH_BYTES = 8  # after the footer: its length, and "PAR1"
# 'results_2024.05' is the name of a folder.
_NO_SUFFIX = re.compile(r"(\.\d*)?")


def check_output(out: str | Path, keep: Keep = Keep()) -> None:  # noqa: B008 (immutable)
    """Check that a table can be written to `out`, before anything is spent on what goes there.

    Raises:
        OutputError: its folder does not exist or may not be written, its suffix is not known, or something that must
            be kept is there.
    """
    path = Path(out)
    if is_stream(out):
        _suffix(out)
    elif _is_folder(path):
        _check_folder(out, keep)
    elif path.suffix.lower() not in (".parquet", *_COPY):
        raise OutputError(
            f"{out}: answers are written as .parquet, .csv, .tsv or .jsonl, or as a folder of Parquet parts"
        )
    elif check_place(out, keep).is_dir():
        raise OutputError(f"{out} is a folder; name a file in it")


def write_table(reader: pa.RecordBatchReader, out: str | Path) -> int:
    """Write a stream of rows, to be seen under its name only when it is whole and on the disk.

    A name that ends in .parquet, .csv, .tsv or .jsonl is one file; one without a suffix is a folder of Parquet parts.
    '-' is JSONL on standard output. What stood there before stays until then.

    Returns:
        The number of rows.

    Raises:
        OutputError: the disk is full, or the place cannot be written.
    """
    try:
        if not is_stream(out) and _is_folder(Path(out)):
            return _write_folder(reader, out)
        with new_file(out) as part:
            suffix = _suffix(out)
            return _write_parquet(reader, part) if suffix == ".parquet" else _write_text(reader, part, suffix)
    except duckdb.Error as error:
        raise OutputError(f"cannot write {out}: {str(error).splitlines()[0]}") from error


def _is_folder(path: Path) -> bool:
    known = path.suffix.lower() in (".parquet", *_COPY)
    return not known and (os.path.isdir(path) or bool(_NO_SUFFIX.fullmatch(path.suffix)))


def _suffix(out: str | Path) -> str:
    """Return the suffix that says how a file or stream is written; streams without one are JSONL."""
    suffix = Path(out).suffix.lower()
    if is_stream(out) and suffix not in (".parquet", *_COPY):
        return ".jsonl"
    return suffix


def _write_text(reader: pa.RecordBatchReader, part: Path, suffix: str) -> int:
    """Write CSV or JSONL."""
    names = [f"c{i}" for i in range(len(reader.schema))]
    renamed = pa.schema([field.with_name(name) for name, field in zip(names, reader.schema, strict=True)])
    con = duckdb.connect()
    con.register(
        "answers", pa.RecordBatchReader.from_batches(renamed, (batch.rename_columns(names) for batch in reader))
    )
    is_json = _COPY[suffix] == _LINES
    query = _json_query(reader.schema) if is_json else _csv_query(reader.schema)
    con.execute(f"COPY ({query}) TO {quote_text(str(part))} ({_COPY[suffix]})")
    return int(con.fetchall()[0][0]) - (0 if is_json else 1)


def _csv_query(schema: pa.Schema) -> str:
    """Return SQL for the cells of a file, the names of its columns first; columns are `c0`, `c1`, ..."""
    names = ", ".join(quote_text(name) for name in schema.names)
    cells = ", ".join(f"({for_csv(f'c{i}', field)})::VARCHAR" for i, field in enumerate(schema))
    return f"SELECT {names} UNION ALL SELECT {cells} FROM answers"


def _json_query(schema: pa.Schema) -> str:
    """Return SQL for the lines of a file; of several columns of one name the later have numbers."""
    keys: list[str] = []
    for name in schema.names:
        tried = itertools.chain([name], (f"{name}_{i}" for i in itertools.count(1)))
        keys.append(next(key for key in tried if key not in keys))
    values = [for_json(f"c{i}", field) for i, field in enumerate(schema)]
    pairs = (f"{quote_text(key)}, {value}" for key, value in zip(keys, values, strict=True))
    return f"SELECT json_object({', '.join(pairs)}) FROM answers"


def _check_folder(out: str | Path, keep: Keep) -> None:
    """Check that a folder of parts can be written, before anything is spent on what goes there.

    Raises:
        OutputError: it holds something that no earlier run wrote, or as `check_place`.
    """
    path = check_place(out, keep)
    if path.is_file():
        raise OutputError(f"{out} is a file: name it .parquet, or name a folder")
    _check_own(out, path)


def _write_folder(reader: pa.RecordBatchReader, out: str | Path) -> int:
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


def _write_parquet(reader: pa.RecordBatchReader, path: Path, most: int | None = None) -> int:
    """Write up to `most` rows (at least one batch passes it); return how many it were."""
    rows = 0
    with open(path, "wb") as file, pq.ParquetWriter(file, reader.schema, compression="zstd") as writer:
        for group in _groups(reader, most):
            writer.write_table(group)
            rows += group.num_rows
        if most is not None:
            writer.add_key_value_metadata({_MARK: str(file.tell())})
    return rows


def _is_part(path: Path) -> bool:
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
        if not _is_part(each) and not each.match(".part.*.part"):
            raise OutputError(f"{out} holds {each.name}, which no run wrote: name another folder, or move it away")


def _write_parts(reader: pa.RecordBatchReader, folder: Path) -> int:
    rows = 0
    for number in range(sys.maxsize):
        part = folder / f"part-{number:05}.parquet"
        written = _write_parquet(reader, part, PART_ROWS)
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
    for old in {each for each in path.iterdir() if _is_part(each)} - {path / part.name for part in new}:
        old.unlink()
    sync(path)


def _groups(reader: pa.RecordBatchReader, most: int | None) -> Iterator[pa.Table]:
    """Yield tables of the size of a row group."""
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
