"""Tables in and out: files, standard input and data frames. DuckDB and Arrow do the reading and writing."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import duckdb
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from leeroo.engine.errors import InputError, OutputError

_READERS = {
    ".parquet": "read_parquet",
    ".csv": "read_csv",
    ".tsv": "read_csv",
    ".jsonl": "read_json",
    ".ndjson": "read_json",
    ".json": "read_json",
}
_COPY = {".csv": "FORMAT csv, HEADER", ".jsonl": "FORMAT json", ".ndjson": "FORMAT json"}
_BATCH_ROWS = 16_384
_ROW_GROUP_ROWS = 131_072
_PART_ROWS = 1_048_576

# A JSON escape of half a character: the other half does not follow, or did not come before.
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPE = re.compile(
    rb"\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u[dD][89a-fA-F][0-9a-fA-F]{2}|.)"
)


def open_input(source: str | Path, limit: int | None = None) -> pa.RecordBatchReader:
    """Read Parquet, CSV or JSONL, a glob of them, or JSONL from standard input ('-'), row order kept.

    Half characters that JSON may escape but text cannot hold become U+FFFD.

    Raises:
        InputError: nothing is there, or it cannot be read as what its name says.
    """
    held: IO[bytes] | None = None
    name = str(source)
    if name == "-":
        held = _copy(sys.stdin.buffer)
        paths, reader, shown = [held.name], "read_json", "standard input"
    else:
        paths, reader, shown = _paths(name), _READERS.get(Path(name).suffix.lower(), ""), name
        if not reader:
            raise InputError(f"{name}: cannot tell what kind of file this is; name it {', '.join(_READERS)}")
    mended = [_mended(path) for path in paths] if reader == "read_json" else []
    files = [copy.name if copy else path for copy, path in zip(mended, paths, strict=True)] if mended else paths
    options = ", format = 'newline_delimited'" if reader == "read_json" and not name.endswith(".json") else ""
    query = f"FROM {reader}(getvariable('files'){options})" + (f" LIMIT {int(limit)}" if limit is not None else "")
    try:
        con = duckdb.connect()
        # No parameter: with one DuckDB 1.5 would hold the whole table in memory; DuckDB 2 would after `execute`.
        con.execute("SET VARIABLE files = $files", {"files": files})
        stream = con.sql(query).to_arrow_reader(_BATCH_ROWS)
    except duckdb.Error as error:
        raise InputError(_unreadable(shown, files, reader, error)) from error
    return pa.RecordBatchReader.from_batches(stream.schema, _batches(stream, shown, files, reader, [held, *mended]))


def _batches(
    stream: pa.RecordBatchReader, shown: str, files: list[str], reader: str, held: list[IO[bytes] | None]
) -> Iterator[pa.RecordBatch]:
    """The batches of a stream; its temporary files go when it ends."""
    try:
        yield from stream
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise InputError(_unreadable(shown, files, reader, error)) from error
    finally:
        for file in held:
            if file is not None:
                file.close()


def _paths(name: str) -> list[str]:
    path = Path(name)
    if path.is_dir():
        raise InputError(f"{name} is a folder; name a file, or a pattern such as '{name.rstrip('/')}/*.parquet'")
    if path.exists():
        return [name]
    if any(mark in name for mark in "*?["):
        found = [row[0] for row in duckdb.connect().execute("FROM glob($name)", {"name": name}).fetchall()]
        if found:
            return found
        raise InputError(f"no file matches {name}")
    raise InputError(f"there is no file {name}")


def _copy(stream: IO[bytes]) -> IO[bytes]:
    """A temporary file with what comes from a stream."""
    file = tempfile.NamedTemporaryFile(prefix="leeroo-", suffix=".jsonl")  # noqa: SIM115 (closed by the reader)
    shutil.copyfileobj(stream, file)
    file.flush()
    return file


def _mended(path: str) -> IO[bytes] | None:
    """A copy of a JSON file with half characters replaced, None when it has none and can be read as it is."""
    with open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            if _SURROGATE.search(text) is None:
                return None
        copy = tempfile.NamedTemporaryFile(prefix="leeroo-", suffix=".jsonl")  # noqa: SIM115 (closed by the reader)
        copy.writelines(_ESCAPE.sub(_whole, line) for line in file)
        copy.flush()
        return copy


def _whole(escape: re.Match[bytes]) -> bytes:
    """An escape as it is, or U+FFFD where it is half a character."""
    text = escape.group(0)
    return b"\\ufffd" if escape.group(1) is None and _SURROGATE.match(text) else text


def _unreadable(shown: str, files: list[str], reader: str, error: BaseException) -> str:
    if reader == "read_json":
        for file in files:
            if (bad := _bad_line(file)) is not None:
                return f"{shown}: line {bad[0]} is not JSON ({bad[1]}); mend or remove that line"
    kind = {"read_parquet": "Parquet", "read_csv": "CSV", "read_json": "JSON"}[reader]
    why = str(error).strip().splitlines()[0]
    return f"{shown} cannot be read as {kind}: {why}"


def _bad_line(path: str) -> tuple[int, str] | None:
    """Number and complaint of the first line that is not JSON."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    json.loads(line)
                except ValueError as error:
                    return number, str(error)
    return None


def check_output(out: str | Path) -> None:
    """Check that a table can be written to `out`, before anything is spent on what goes there.

    Raises:
        OutputError: its folder does not exist or may not be written, or the name has a suffix that is not known.
    """
    path = Path(out)
    if path.suffix and path.suffix.lower() not in (".parquet", *_COPY):
        raise OutputError(f"{out}: answers are written as .parquet, .csv or .jsonl, or as a folder of Parquet parts")
    if path.suffix and path.is_dir():
        raise OutputError(f"{out} is a folder; name a file in it")
    if not path.suffix and path.is_file():
        raise OutputError(f"{out} is a file; name it .parquet, or name a folder")
    folder = path.resolve().parent
    if not folder.is_dir():
        raise OutputError(f"the folder {folder} does not exist; make it first")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"cannot write in the folder {folder}: {error.strerror}") from error


def write_table(reader: pa.RecordBatchReader, out: str | Path) -> int:
    """Write a stream of rows, to be seen under its name only when it is whole.

    A name that ends in .parquet, .csv or .jsonl is one file; one without a suffix is a folder of Parquet parts.
    What stood there before stays until then.

    Returns:
        The number of rows.

    Raises:
        OutputError: the disk is full, or the place cannot be written.
    """
    path = Path(out)
    _sweep(path)
    part = path.parent / f".{path.name}.{os.getpid()}.part"
    try:
        rows = _write(reader, part, path.suffix.lower())
        if path.is_dir() and part.is_dir():
            shutil.rmtree(path)
        part.replace(path)
    except (OSError, duckdb.IOException) as error:
        why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise OutputError(f"cannot write {out}: {why}") from error
    finally:
        _remove(part)
    return rows


def _write(reader: pa.RecordBatchReader, part: Path, suffix: str) -> int:
    if suffix == ".parquet":
        return _write_parquet(reader, part, None)
    if suffix:
        con = duckdb.connect()
        con.register("answers", reader)
        con.execute(f"COPY (FROM answers) TO '{str(part).replace(chr(39), chr(39) * 2)}' ({_COPY[suffix]})")
        return int(con.fetchall()[0][0])
    part.mkdir()
    rows = 0
    for number in range(sys.maxsize):
        written = _write_parquet(reader, part / f"part-{number:05}.parquet", _PART_ROWS)
        rows += written
        if written < _PART_ROWS:
            return rows
    return rows


def _write_parquet(reader: pa.RecordBatchReader, path: Path, most: int | None) -> int:
    """Write up to `most` rows (at least one batch passes it) and sync them to the disk."""
    rows = 0
    with open(path, "wb") as file:
        with pq.ParquetWriter(file, reader.schema, compression="zstd") as writer:
            for group in _groups(reader, most):
                writer.write_table(group)
                rows += group.num_rows
        file.flush()
        os.fsync(file.fileno())
    return rows


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


def _sweep(path: Path) -> None:
    """Remove what killed processes have left of the same table."""
    for part in path.parent.glob(f".{path.name}.*.part"):
        owner = part.name.split(".")[-2]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            _remove(part)


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def from_frame(frame: Any) -> pa.RecordBatchReader:
    """The rows of a Polars, pandas or Arrow table, or of a DuckDB relation.

    Half characters in Python strings, which text cannot hold, become U+FFFD.

    Raises:
        InputError: it is none of these, or a relation that DuckDB cannot read.
    """
    if isinstance(frame, pa.RecordBatchReader):
        return frame
    if isinstance(frame, duckdb.DuckDBPyRelation):
        try:
            return frame.to_arrow_reader(_BATCH_ROWS)
        except duckdb.Error as error:
            raise InputError(f"the relation cannot be read: {str(error).splitlines()[0]}") from error
    kind = type(frame).__module__.partition(".")[0]
    if kind == "pandas":
        return _from_pandas(frame).to_reader(_BATCH_ROWS)
    if kind == "polars" and hasattr(frame, "collect"):
        frame = frame.collect()
    if hasattr(frame, "__arrow_c_stream__"):
        return pa.RecordBatchReader.from_stream(frame)
    raise InputError(
        f"cannot read rows from {type(frame).__name__}; give a Polars, pandas or Arrow table or a DuckDB relation"
    )


def _from_pandas(frame: Any) -> pa.Table:
    try:
        return pa.Table.from_pandas(frame, preserve_index=False)
    except UnicodeEncodeError:
        whole = frame.copy()
        for name in whole.columns[whole.dtypes.map(lambda kind: kind.kind == "O")]:
            whole[name] = whole[name].map(lambda v: _text(v) if isinstance(v, str) else v)
        return pa.Table.from_pandas(whole, preserve_index=False)
    except pa.ArrowException as error:
        raise InputError(f"the data frame cannot be read: {str(error).splitlines()[0]}") from error


def _text(value: str) -> str:
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def like_frame(reader: pa.RecordBatchReader, frame: Any) -> Any:
    """The rows of a reader as the same kind of table as `frame`; an Arrow table where there is no such kind."""
    table = reader.read_all()
    kind = type(frame).__module__.partition(".")[0]
    if isinstance(frame, duckdb.DuckDBPyRelation):
        return duckdb.from_arrow(table)
    if kind == "polars":
        import polars

        return polars.from_arrow(table)
    if kind == "pandas":
        answered = table.to_pandas()
        answered.index = frame.index
        return answered
    return table
