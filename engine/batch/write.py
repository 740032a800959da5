"""Write: the rows of the input, in their order, with columns appended."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

from leeroo.engine.batch.prompts import Input
from leeroo.engine.errors import InputError


def append_columns(
    source: Input, columns: pa.RecordBatchReader, added: pa.Schema, prefix: str, done: Callable[[], None]
) -> pa.RecordBatchReader:
    """Return the input with columns appended.

    Args:
        source: The input, as it was kept.
        columns: One row for each row of the input, in its order.
        added: The fields to append, by name.
        prefix: Goes before the names of the added columns.
        done: Called when the last batch was taken, or the reader given up.

    """
    names = [prefix + name for name in added.names]
    schema = pa.schema([*source.schema, *(f.with_name(n) for f, n in zip(added, names, strict=True))])
    return pa.RecordBatchReader.from_batches(schema, _zip(source, columns, added, schema, done))


def check_names(schema: pa.Schema, added: pa.Schema, prefix: str) -> None:
    """Check that the added columns do not hide a column of the input (names differ by more than case).

    Raises:
        InputError: they would.

    """
    there = {name.casefold() for name in schema.names}
    clash = [prefix + name for name in added.names if (prefix + name).casefold() in there]
    if clash:
        raise InputError(
            f"the input already has the column {clash[0]!r}: give a prefix for the added columns (prefix=)"
        )


def _zip(
    source: Input, columns: pa.RecordBatchReader, added: pa.Schema, schema: pa.Schema, done: Callable[[], None]
) -> Iterator[pa.RecordBatch]:
    try:
        rest = added.empty_table()  # read, and not written yet
        with pa.OSFile(str(source.kept)) as file, pa.ipc.open_stream(file) as kept:
            for batch in kept:
                while rest.num_rows < batch.num_rows:
                    more = pa.Table.from_batches([columns.read_next_batch()]).select(added.names)
                    rest = pa.concat_tables([rest, more.cast(added)])
                own = [column.combine_chunks() for column in rest.slice(0, batch.num_rows).columns]
                rest = rest.slice(batch.num_rows)
                yield pa.RecordBatch.from_arrays([*batch.columns, *own], schema=schema)
    finally:
        done()
