"""Streams of rows out of DuckDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import duckdb
import pyarrow as pa

BATCH_ROWS = 16_384


@dataclass(frozen=True)
class Stream:
    """Rows that are read when they are needed."""

    schema: pa.Schema
    batches: Callable[[], Iterator[pa.RecordBatch]]


def read(query: str, patterns: Sequence[str]) -> pa.RecordBatchReader:
    """Run a query over files, which it finds in the variable `files`."""
    con = duckdb.connect()
    # No parameter: with one DuckDB 1.5 would hold the whole table in memory; DuckDB 2 would after `execute`.
    con.execute("SET VARIABLE files = $files", {"files": list(patterns)})
    return read_relation(con.sql(query))


def read_relation(relation: duckdb.DuckDBPyRelation) -> pa.RecordBatchReader:
    """Read the rows of a relation; a column of DuckDB's type JSON has Arrow's, which DuckDB leaves out."""
    reader = relation.to_arrow_reader(BATCH_ROWS)
    fields = [
        field.with_type(pa.json_(field.type)) if str(kind) == "JSON" else field
        for field, kind in zip(reader.schema, relation.types, strict=True)
    ]
    schema = pa.schema(fields)
    return reader if schema == reader.schema else pa.RecordBatchReader.from_batches(schema, _typed(reader, schema))


def _typed(reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield batches whose columns have the types that they are stored in, with their own types."""
    for batch in reader:
        columns = [
            column if column.type == kind else pa.ExtensionArray.from_storage(kind, column)
            for column, kind in zip(batch.columns, schema.types, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)
