"""Streams of rows out of DuckDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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


def take_columns(reader: pa.RecordBatchReader, names: Mapping[str, str | None]) -> pa.RecordBatchReader:
    """Return some columns of a table under other names, NULL where there is no such column.

    DuckDB takes names that differ only by case for the same, and would confuse a user's Answer with our answer.

    Args:
        reader: The table; of columns with the same name the first is taken.
        names: The name of each column in the table, by its new name.
    """
    there = reader.schema.names
    at = {new: there.index(name) if name in there else None for new, name in names.items()}
    fields = [pa.field(new, pa.null() if i is None else reader.schema.field(i).type) for new, i in at.items()]
    schema = pa.schema(fields)

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            columns = [pa.nulls(batch.num_rows) if i is None else batch.column(i) for i in at.values()]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return pa.RecordBatchReader.from_batches(schema, batches())


def _typed(reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """Yield batches whose columns have the types that they are stored in, with their own types."""
    for batch in reader:
        columns = [
            column if column.type == kind else pa.ExtensionArray.from_storage(kind, column)
            for column, kind in zip(batch.columns, schema.types, strict=True)
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=schema)
