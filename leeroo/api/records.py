"""Typed fields of texts, and decisions about them, for data frames and lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Unpack

import pyarrow as pa

from leeroo.api.job import run_job
from leeroo.api.options import RunOptions
from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.jobs.records.decided import decide_rows, write_questions
from leeroo.engine.jobs.records.wanted import extract_wanted, read_wanted


def extract(
    frame: Any,
    schema: str | Mapping[str, Any] | type | pa.Schema,
    *,
    prompt: str | None = None,
    system: str | None = None,
    max_tokens: int | None = None,
    **options: Unpack[RunOptions],
) -> Any:
    """Extract typed fields, or JSON that is valid under a schema, from every row of a table.

    It does what `leeroo_record` and `leeroo_extract` do in SQL; the options are those of `leeroo extract`.

    Examples:
        >>> import dataclasses, leeroo
        >>> Person = dataclasses.make_dataclass("Person", [("name", str), ("city", str)])
        >>> found = leeroo.extract(["I am Ann, and I live in Rome."], Person)
        >>> found.schema.field("city").type, found.column("city").to_pylist()
        (DataType(string), ['Rome'])

    Args:
        frame: A Polars, pandas or Arrow table, or a DuckDB relation, with texts; or a list of texts.
        schema: A Pydantic model, a dataclass, an Arrow schema, or fields as text (`"name VARCHAR, due DATE"`): a typed
            column for each field. Or a JSON schema, as a dictionary or as text: JSON in the column `answer`.
        prompt: Text with the names of columns in braces, such as "From: {sender}. {text}", in place of a column.
        system: Instructions, such as "Amounts are in dollars."
        max_tokens: Longest answer, in place of that of the experts.
        options: See `RunOptions`; the column is 'text' by default.

    Returns:
        The same kind of table (Arrow for a list) with a column for each field after its own, null where the text does
        not say it, in the place of `answer` of the columns of `schema.ANSWERS`. A row without such values has nulls,
        and `error` says why.

    Raises:
        UsageError: an option, the schema, the pool, the router or the table is wrong.
    """
    wanted = read_wanted(schema)

    def work(engine: Engine, rows: pa.RecordBatchReader, criteria: Criteria) -> pa.Table:
        return extract_wanted(engine, rows, wanted, criteria)

    own: Any = {"prompt": prompt, "system": system, "max_tokens": max_tokens}
    return run_job("extract", work, frame, {"column": "text", **options}, **own)


def decide(
    frame: Any,
    questions: Mapping[str, Sequence[Any]],
    *,
    prompt: str | None = None,
    system: str | None = None,
    **options: Unpack[RunOptions],
) -> Any:
    """Decide several questions about every row of a table in one request, as `leeroo_decide` does in SQL.

    Examples:
        >>> import leeroo
        >>> questions = {"team": ["billing", "bug"], "stars": [1, 2, 3]}
        >>> decided = leeroo.decide(["I was charged twice for May."], questions)
        >>> decided.column("team").to_pylist(), str(decided.schema.field("stars").type)
        (['billing'], 'int32')

    Args:
        frame: A Polars, pandas or Arrow table, or a DuckDB relation, with texts; or a list of texts.
        questions: Names, each with two or more choices: texts, numbers, True and False.
        prompt: Text with the names of columns in braces, such as "From: {sender}. {text}", in place of a column.
        system: Instructions, such as "A ticket is urgent if somebody cannot work."
        options: See `RunOptions`; the column is 'text' by default.

    Returns:
        The same kind of table (Arrow for a list) with a column for each question after its own, and one of its
        confidence (`NAME_confidence`), in the place of `answer` of the columns of `schema.ANSWERS`.

    Raises:
        UsageError: an option, the questions, the pool, the router or the table is wrong.
    """
    wanted = write_questions(questions)

    def work(engine: Engine, rows: pa.RecordBatchReader, criteria: Criteria) -> pa.Table:
        return decide_rows(engine, rows, wanted, criteria)

    own: Any = {"prompt": prompt, "system": system}
    return run_job("decide", work, frame, {"column": "text", **options}, **own)
