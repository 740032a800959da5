"""Output files: the answers of a batch as JSON lines, or as columns after those of its Parquet file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from leeroo.engine.schema import ANSWERS
from leeroo.serve.database import Database
from leeroo.serve.lines.read import BATCH_ROWS, OK
from leeroo.serve.lines.results import LineAnswer, LineResult, no_answer, result_line
from leeroo.serve.work import files
from leeroo.serve.work.batches import Batch

# Code and message of lines that were not reached.
_CANCELLED = "batch_cancelled", "the batch was cancelled before this line was reached"
_EXPIRED = "batch_expired", "the batch was past its completion window before this line was reached"


def write(db: Database, batch: Batch, results: Iterable[LineResult]) -> tuple[str | None, str | None]:
    """Write the output file and the error file of a batch, and return their ids; None for one with nothing in it."""
    unreached = _CANCELLED if batch.status == "cancelling" else _EXPIRED
    if batch.form == "parquet":
        return _write_parquet(db, batch, results, unreached[1]), None
    return _write_jsonl(db, batch, results, unreached)


def _write_jsonl(
    db: Database, batch: Batch, results: Iterable[LineResult], unreached: tuple[str, str]
) -> tuple[str | None, str | None]:
    created = batch.in_progress_at or batch.created_at
    with files.open_new(db) as output, files.open_new(db) as errors:
        for result in results:
            text = result_line(batch.id, batch.endpoint, created, result, unreached)
            (output if result.status == OK else errors).file.write(text.encode() + b"\n")
        return (
            files.keep(db, output, batch, f"{batch.id}_output.jsonl") if output.file.tell() else None,
            files.keep(db, errors, batch, f"{batch.id}_errors.jsonl") if errors.file.tell() else None,
        )


def _write_parquet(db: Database, batch: Batch, results: Iterable[LineResult], unreached: str) -> str | None:
    """Write the input with the columns of the answers after its own, a few rows in memory at a time."""
    source = files.path_of(db, batch.input_file_id)
    if not source.exists() or not batch.total:
        return None
    rows = _answers(results, unreached)
    with pq.ParquetFile(source) as table, files.open_new(db) as output:
        output.file.close()
        names = _free_names(table.schema_arrow)
        schema = pa.schema([*table.schema_arrow, *(f.with_name(n) for f, n in zip(ANSWERS, names, strict=True))])
        with pq.ParquetWriter(output.path, schema, compression="zstd") as writer:
            for part in table.iter_batches(BATCH_ROWS):
                answers = pa.RecordBatch.from_pylist([next(rows) for _ in range(part.num_rows)], schema=ANSWERS)
                writer.write_batch(pa.RecordBatch.from_arrays([*part.columns, *answers.columns], schema=schema))
        return files.keep(db, output, batch, f"{batch.id}_output.parquet")


def _free_names(schema: pa.Schema) -> list[str]:
    """Return names for the columns of the answers that the table does not have, in upper or lower case."""
    there = {name.casefold() for name in schema.names}
    prefix = ""
    while {prefix + name for name in ANSWERS.names} & there:
        prefix += "leeroo_"
    return [prefix + name for name in ANSWERS.names]


def _answers(results: Iterable[LineResult], unreached: str) -> Iterator[LineAnswer]:
    for result in results:
        yield no_answer(unreached) if result.answer is None else result.answer
