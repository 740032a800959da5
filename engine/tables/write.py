"""Tables out: one file, a folder of Parquet parts, or a stream."""

from __future__ import annotations

import os
import re
from pathlib import Path

import duckdb
import pyarrow as pa

from leeroo.engine.errors import OutputError
from leeroo.engine.tables.outputs import Keep, check_place, is_stream, new_file
from leeroo.engine.tables.parts import check_folder, write_folder, write_parquet
from leeroo.engine.tables.values import for_csv, for_json, quoted

_COPY = {
    ".csv": "FORMAT csv, HEADER",
    ".tsv": "FORMAT csv, HEADER, DELIMITER '\t'",
    ".jsonl": "FORMAT json",
    ".ndjson": "FORMAT json",
}
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
        check_folder(out, keep)
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
            return write_folder(reader, out)
        with new_file(out) as part:
            suffix = _suffix(out)
            return write_parquet(reader, part) if suffix == ".parquet" else _write_text(reader, part, suffix)
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
    value = for_json if suffix in (".jsonl", ".ndjson") else for_csv
    # Positions for names: DuckDB would rename columns that differ by case only.
    names = [f"c{i}" for i in range(len(reader.schema))]
    columns = (
        f"{value(name, field)} AS {quoted(field.name)}" for name, field in zip(names, reader.schema, strict=True)
    )
    renamed = pa.schema([field.with_name(name) for name, field in zip(names, reader.schema, strict=True)])
    con = duckdb.connect()
    con.register("answers", pa.RecordBatchReader.from_batches(renamed, (_renamed(b, renamed) for b in reader)))
    file = str(part).replace("'", "''")
    con.execute(f"COPY (SELECT {', '.join(columns)} FROM answers) TO '{file}' ({_COPY[suffix]})")
    return int(con.fetchall()[0][0])


def _renamed(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(batch.columns, schema=schema)
