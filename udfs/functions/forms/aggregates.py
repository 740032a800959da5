"""One answer for the texts of a group."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.aggregate.aggregate import count_texts
from leeroo.engine.schema import SQL_AGGREGATE
from leeroo.udfs.functions.forms.form import (
    TEXT,
    TEXTS,
    Columns,
    Form,
    RowQuestions,
    arguments_of,
    as_known,
    distinct,
)


def read_aggregates(columns: Columns) -> RowQuestions:
    """Read the columns of `leeroo_agg`: texts (a list), task, and its arguments.

    The question is a JSON object of the task and the distinct texts with their counts, in the order of their content.

    Raises:
        UsageError: a task is blank.

    """
    lists, tasks, *given = columns
    if pc.any(pc.equal(pc.utf8_trim_whitespace(tasks), "")).as_py():
        raise UsageError("the task is blank: say in words what to answer from the texts")
    codes, rows = distinct(given, len(lists))
    questions = [_question(*row) for row in zip(lists.to_pylist(), tasks.to_pylist(), strict=True)]
    arguments = [arguments_of("aggregates", row) for row in rows]
    return RowQuestions(pa.array(questions, pa.string()), codes, arguments)


def _question(texts: list[str | None] | None, task: str | None) -> str | None:
    counted = count_texts(texts or ())
    if not counted or task is None:
        return None
    return json.dumps({"task": task.strip(), "texts": counted}, ensure_ascii=False)


FORMS = {"aggregates": Form("aggregates", read_aggregates, as_known, (TEXTS, TEXT), SQL_AGGREGATE, "aggregates")}
