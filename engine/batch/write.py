"""Write: the input's own rows, in their order, with the answers beside them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa

from leeroo.engine.batch.prompts import Spool
from leeroo.engine.batch.scratch import Scratch
from leeroo.engine.errors import InputError

# What a distinct question cost is paid by the first row that asked it.
ANSWERED = """
SELECT s.answer, e.name AS expert, s.predicted_score, s.prompt_tokens, s.completion_tokens,
       CASE WHEN q.first_row = r.row THEN s.cost_usd ELSE 0 END AS cost_usd,
       coalesce(s.list_cost_usd, 0) AS list_cost_usd, s.latency_ms, s.finish_reason, s.error, s.recorded_score,
       1 / list_sum([exp(each - list_max(s.choice_logprobs)) for each in s.choice_logprobs]) AS confidence,
       s.choice_logprobs, s.logprobs
FROM row_keys r LEFT JOIN questions q USING (key) LEFT JOIN settled s ON q.id = s.id
     LEFT JOIN experts e ON s.expert = e.expert
ORDER BY r.row
"""
ROUTED = """
SELECT e.name AS expert, a.predicted_score, a.expected AS expected_cost_usd
FROM row_keys r LEFT JOIN questions q USING (key) LEFT JOIN assigned a ON q.id = a.id
     LEFT JOIN experts e ON a.expert = e.expert
ORDER BY r.row
"""


def beside(
    scratch: Scratch, spool: Spool, query: str, added: pa.Schema, prefix: str, done: Callable[[], None]
) -> pa.RecordBatchReader:
    """The input with the columns `added`, read from `query`, which gives one row for each row of the input.

    Args:
        prefix: Goes before the names of the added columns.
        done: Called when the last batch was taken, or the reader given up.

    """
    names = [prefix + name for name in added.names]
    schema = pa.schema([*spool.schema, *(f.with_name(n) for f, n in zip(added, names, strict=True))])
    return pa.RecordBatchReader.from_batches(schema, _zip(scratch, spool, query, added, schema, done))


def check_names(schema: pa.Schema, added: pa.Schema, prefix: str) -> None:
    """Check that the added columns do not hide any of the input's (names differ by more than case).

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
    scratch: Scratch, spool: Spool, query: str, added: pa.Schema, schema: pa.Schema, done: Callable[[], None]
) -> Iterator[pa.RecordBatch]:
    try:
        answers = _Slices(scratch.cursor().sql(query).to_arrow_reader(65_536), added)
        with pa.OSFile(str(spool.kept)) as file, pa.ipc.open_stream(file) as kept:
            for batch in kept:
                columns = answers.take(batch.num_rows)
                yield pa.RecordBatch.from_arrays([*batch.columns, *columns], schema=schema)
    finally:
        done()


class _Slices:
    """Takes any number of rows at a time from a reader."""

    def __init__(self, reader: pa.RecordBatchReader, schema: pa.Schema) -> None:
        self._reader = reader
        self._schema = schema
        self._rest: pa.Table = schema.empty_table()

    def take(self, rows: int) -> list[pa.Array]:
        parts = [self._rest]
        have = self._rest.num_rows
        while have < rows:
            batch = self._reader.read_next_batch()
            parts.append(pa.Table.from_batches([batch]).select(self._schema.names).cast(self._schema))
            have += batch.num_rows
        table = pa.concat_tables(parts)
        self._rest = table.slice(rows)
        return [column.combine_chunks() for column in table.slice(0, rows).columns]
