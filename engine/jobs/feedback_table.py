"""Feedback from a table: answers as `leeroo run` wrote them, with columns of scores or right answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import duckdb
import pyarrow as pa

from leeroo.engine.batch.prompts import first_line
from leeroo.engine.errors import InputError
from leeroo.engine.jobs.feedback import complete
from leeroo.engine.store.feedback import Feedback
from leeroo.engine.store.store import Store
from leeroo.engine.tables.streams import take_columns

_ROWS = 50_000

_READ = """
SELECT question::VARCHAR AS question, expert::VARCHAR AS expert, answer::VARCHAR AS answer,
       TRY_CAST(score AS DOUBLE) AS score, nullif(trim(gold::VARCHAR), '') AS gold,
       TRY_CAST(predicted_score AS DOUBLE) AS predicted_score, nullif(trim(score::VARCHAR), '') AS said
FROM source
"""


@dataclass
class TableFeedback:
    """The outcome of reading a table.

    Attributes:
        pairs: Question and expert of each kept row; the expert is None where a gold holds for all who answered.
        failed: Of each row that could not be judged its number, from 1, and the reason.
        passed_over: How many rows had neither gold nor score.
    """

    pairs: set[tuple[str, str | None]] = field(default_factory=set)
    failed: list[tuple[int, str]] = field(default_factory=list)
    passed_over: int = 0


def take_table(
    store: Store,
    reader: pa.RecordBatchReader,
    *,
    gold: str | None = None,
    score: str | None = None,
    column: str = "question",
    answer: str | None = None,
    expert: str | None = None,
) -> TableFeedback:
    """Keep the feedback of a table.

    Args:
        store: Where it is kept; it fills in what the table does not have.
        reader: The table; its column `predicted_score` (with the prefix of the answers) is kept too.
        gold, score: The columns with what would have been right, and with scores in [0, 1]; one of them at least.
        column: That with the questions.
        answer, expert: Those with the answers and their experts; by default 'answer' and 'expert' where they exist.

    Raises:
        InputError: a column is not there, or the table breaks off.
        OutputError: the store cannot be written.

    """
    columns = _columns(reader.schema, gold, score, column, answer, expert)
    taken = TableFeedback()
    for start, batch in _batches(reader, columns):
        _take(store, start, batch, taken)
    return taken


def _columns(
    schema: pa.Schema, gold: str | None, score: str | None, question: str, answer: str | None, expert: str | None
) -> dict[str, str | None]:
    """Return the name of each column in the table."""
    prefix = answer.removesuffix("answer") if answer else ""
    default = {"answer": "answer", "expert": f"{prefix}expert", "predicted_score": f"{prefix}predicted_score"}
    named = {"question": question, "gold": gold, "score": score, "answer": answer, "expert": expert}
    there = schema.names
    for name in filter(None, named.values()):
        if name not in there:
            raise InputError(f"the input has no column {name!r}; its columns are: {', '.join(there) or 'none'}")
    found = {what: name if name in there else None for what, name in default.items()}
    return found | {what: name for what, name in named.items() if name is not None or what not in default}


def _batches(
    reader: pa.RecordBatchReader, columns: Mapping[str, str | None]
) -> Iterator[tuple[int, list[tuple[Feedback, str | None]]]]:
    """Read rows as feedback, with the score as it was written, and the number of the first of them."""
    with duckdb.connect() as con:
        con.register("source", take_columns(reader, columns))
        start = 1
        try:
            for batch in con.sql(_READ).to_arrow_reader(_ROWS):
                rows = zip(*(column.to_pylist() for column in batch.columns), strict=True)
                yield start, [(Feedback(question or "", *rest), said) for question, *rest, said in rows]
                start += batch.num_rows
        except duckdb.Error as error:
            raise InputError(f"the input cannot be read to its end: {first_line(error)}") from error


def _take(store: Store, start: int, batch: list[tuple[Feedback, str | None]], taken: TableFeedback) -> None:
    numbers, rows = [], []
    for number, (row, said) in enumerate(batch, start):
        if row.score is None and said is not None:
            taken.failed.append((number, f"the score {said!r} is no number"))
        elif row.score is None and row.gold is None:
            taken.passed_over += 1
        else:
            numbers.append(number)
            rows.append(row)
    kept, complaints = complete(store, rows)
    store.give(kept)
    taken.pairs.update((row.question, row.expert) for row in kept)
    taken.failed += [(numbers[at], reason) for at, reason in complaints]
