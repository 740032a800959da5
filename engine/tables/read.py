"""Tables in: Parquet, CSV and JSON, from files, patterns, folders, URLs and streams; DuckDB reads them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from leeroo.engine.errors import InputError
from leeroo.engine.tables.csv_files import csv_streams, why_no_csv
from leeroo.engine.tables.inputs import Files, Layout, find, is_url, pattern_of, plain
from leeroo.engine.tables.json_files import bad_line, json_streams
from leeroo.engine.tables.streams import Stream, read

_EXTENSION = re.compile(r"[Ee]xtension ['\"](\w+)")
_PARQUET = "FROM read_parquet(getvariable('files'), union_by_name = true, hive_types_autocast = false)"


def open_input(source: str | Path, limit: int | None = None, layout: Layout = Layout()) -> pa.RecordBatchReader:  # noqa: B008 (immutable)
    """Read Parquet, CSV or JSON: a file, a pattern, a folder, a URL, or a stream ('-' is standard input).

    The order of rows is kept. Values of CSV are text as it is written; an empty cell is NULL. The columns of all files
    and lines are united. Values of JSON keep their types; a column of several types, or of nested values, is JSON.

    Raises:
        InputError: nothing is there, or it cannot be read as what it is said to be.
    """
    with ExitStack() as held:
        files = find(source, layout, held)
        try:
            streams = _streams(files, layout, held)
        except (duckdb.Error, pa.ArrowException) as error:
            raise _unreadable(files, error) from error
        # The columns of all, in the order in which they first come.
        fields = {field.name: field for stream in streams for field in stream.schema}
        schema = streams[0].schema if len(streams) == 1 else pa.schema(fields.values())
        return pa.RecordBatchReader.from_batches(schema, _batches(files, streams, schema, limit, held.pop_all()))


def _streams(files: Files, layout: Layout, held: ExitStack) -> list[Stream]:
    if files.kind == "parquet":
        return _parquet_streams(files.paths)
    local = [plain(path, files.kind, layout.encoding, held) for path in files.paths]
    return csv_streams(local, files.kind, layout) if files.kind in ("csv", "tsv") else json_streams(local, files.kind)


def _parquet_streams(paths: Sequence[str]) -> list[Stream]:
    """Return a stream of all files; one of each where names differ only by case, which DuckDB would change."""
    names = [_parquet_names(path) for path in paths]
    if not any(len({name.casefold() for name in each}) < len(each) for each in names):
        return [_stream(read(_PARQUET, [pattern_of(path) for path in paths]))]
    return [_stream(read(_PARQUET, [pattern_of(path)]), each) for path, each in zip(paths, names, strict=True)]


def _parquet_names(path: str) -> list[str]:
    """Return the names of the columns of a file; none where they are not to be had, or where two are the same."""
    with contextlib.suppress(pa.ArrowException, OSError):
        names: list[str] = [] if is_url(path) else pq.read_schema(path).names
        return names if len(set(names)) == len(names) else []
    return []


def _stream(reader: pa.RecordBatchReader, names: Sequence[str] = ()) -> Stream:
    """Return the stream of a reader whose first columns get these names."""
    if not names:
        return Stream(reader.schema, lambda: reader)
    named = [*names, *reader.schema.names[len(names) :]]
    schema = pa.schema([field.with_name(name) for field, name in zip(reader.schema, named, strict=True)])
    return Stream(schema, lambda: (batch.rename_columns(named) for batch in reader))


def _batches(
    files: Files, streams: list[Stream], schema: pa.Schema, limit: int | None, held: ExitStack
) -> Iterator[pa.RecordBatch]:
    """Yield the batches of all streams up to a number of rows; the copies that were read go when it ends."""
    left = limit
    with held:
        try:
            for stream in streams:
                for batch in stream.batches():
                    if left is not None:
                        batch = batch.slice(0, left)
                        left -= batch.num_rows
                    yield batch if len(streams) == 1 else _with_columns(batch, schema)
                    if left == 0:
                        return
        except (duckdb.Error, pa.ArrowException, OSError) as error:
            raise _unreadable(files, error) from error


def _with_columns(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    there = dict(zip(batch.schema.names, batch.columns, strict=True))
    columns = [there[f.name] if f.name in there else pa.nulls(batch.num_rows, f.type) for f in schema]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _unreadable(files: Files, error: BaseException) -> InputError:
    """Return the error of the input, in one line."""
    if (extension := _EXTENSION.search(str(error))) is not None:
        name = extension.group(1)
        how = f'install it once with leeroo sql "INSTALL {name}", or download the file'
        return InputError(f"{files.shown} needs DuckDB's extension {name}, which is not installed: {how}")
    if files.kind in ("jsonl", "json"):
        for path in (path for path in files.paths if not is_url(path)):
            if (bad := bad_line(path)) is not None:
                return InputError(f"{files.shown}: line {bad[0]} is not JSON ({bad[1]}); mend or remove that line")
    kind = {"parquet": "Parquet", "csv": "CSV", "tsv": "CSV"}.get(files.kind, "JSON")
    why = why_no_csv(error) if kind == "CSV" else str(error).strip().splitlines()[0]
    return InputError(f"{files.shown} cannot be read as {kind}: {why}")
