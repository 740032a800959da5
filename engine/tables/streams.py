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
    return con.sql(query).to_arrow_reader(BATCH_ROWS)
