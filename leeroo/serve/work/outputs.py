"""Outputs: the files that a batch comes to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from leeroo.engine.schema import ANSWERS
from leeroo.serve.database import Database
from leeroo.serve.work import files
from leeroo.serve.work.batches import Batch
from leeroo.serve.work.lines import BATCH_ROWS, FAILED, OK
from leeroo.serve.work.results import result_line
from leeroo.serve.work.waves import nothing

# Line, custom_id, status and result of a line, see `batches.results`.
Result = tuple[int, str | None, int | None, dict[str, Any] | None]

_CANCELLED = "batch_cancelled", "the batch was cancelled before this line was reached"
_EXPIRED = "batch_expired", "the batch was past its completion window before this line was reached"


def write(db: Database, batch: Batch, results: Iterable[Result]) -> tuple[str | None, str | None]:
    """Write the output file and the error file of a batch, and return their ids; None for one with nothing in it."""
    writer = _write_parquet if batch.form == "parquet" else _write_jsonl
    return writer(db, batch, results, _CANCELLED if batch.status == "cancelling" else _EXPIRED)


def _write_jsonl(
    db: Database, batch: Batch, results: Iterable[Result], undone: tuple[str, str]
) -> tuple[str | None, str | None]:
    created = batch.in_progress_at or batch.created_at
    with files.writing(db) as output, files.writing(db) as errors:
        for line, custom_id, status, told in results:
            if status is None:
                status, told = FAILED, {"code": undone[0], "error": undone[1]}
            elif status == FAILED:
                told = {"code": "request_failed", **(told or {})}
            text = result_line(batch.id, batch.endpoint, created, line, custom_id, status, told or {})
            (output if status == OK else errors).file.write(text.encode() + b"\n")
        return (
            files.keep(db, output, batch, f"{batch.id}_output.jsonl") if output.file.tell() else None,
            files.keep(db, errors, batch, f"{batch.id}_errors.jsonl") if errors.file.tell() else None,
        )


def _write_parquet(
    db: Database, batch: Batch, results: Iterable[Result], undone: tuple[str, str]
) -> tuple[str | None, str | None]:
    """Write the input with the columns of the answers after its own, a few rows in memory at a time."""
    source = files.path_of(db, batch.input_file_id)
    if not source.exists() or not batch.total:
        return None, None
    rows = _answers(results, undone)
    with pq.ParquetFile(source) as table, files.writing(db) as output:
        output.file.close()
        names = _free_names(table.schema_arrow)
        schema = pa.schema([*table.schema_arrow, *(f.with_name(n) for f, n in zip(ANSWERS, names, strict=True))])
        with pq.ParquetWriter(output.path, schema, compression="zstd") as writer:
            for part in table.iter_batches(BATCH_ROWS):
                told = [next(rows) for _ in range(part.num_rows)]
                answers = pa.RecordBatch.from_pylist(told, schema=ANSWERS)
                writer.write_batch(pa.RecordBatch.from_arrays([*part.columns, *answers.columns], schema=schema))
        return files.keep(db, output, batch, f"{batch.id}_output.parquet"), None


def _free_names(schema: pa.Schema) -> list[str]:
    """Return names for the columns of the answers that the table does not have, in upper or lower case."""
    there = {name.casefold() for name in schema.names}
    prefix = ""
    while {prefix + name for name in ANSWERS.names} & there:
        prefix += "leeroo_"
    return [prefix + name for name in ANSWERS.names]


def _answers(results: Iterable[Result], undone: tuple[str, str]) -> Iterator[dict[str, Any]]:
    for *_, told in results:
        if told is None:
            yield nothing(undone[1])
        else:
            yield told if "answer" in told else nothing(told["error"])
