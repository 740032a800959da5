"""One answer for the texts of a group."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.jobs.aggregate.aggregate import count_texts
from leeroo.engine.schema import SQL_AGGREGATE
from leeroo.udfs.functions.forms.form import TEXT, TEXTS, Columns, Form, RowQuestions, arguments_of, distinct

_BLANK = "the task is blank: say in words what to answer from the texts"


def read_aggregates(columns: Columns) -> RowQuestions:
    """Read the columns of `leeroo_agg`: texts (a list), task, and its arguments.

    The question is a JSON object of the task and the distinct texts with their counts, in the order of their content.
    """
    lists, tasks, *given = columns
    codes, rows = distinct(given, len(lists))
    questions = [_question(*row) for row in zip(lists.to_pylist(), tasks.to_pylist(), strict=True)]
    arguments = [arguments_of("aggregates", row) for row in rows]
    return RowQuestions(pa.array(questions, pa.string()), codes, arguments)


def _question(texts: list[str | None] | None, task: str | None) -> str | None:
    counted = count_texts(texts or ())
    if not counted or task is None or not task.strip():
        return None
    return json.dumps({"task": task.strip(), "texts": counted}, ensure_ascii=False)


def as_aggregates(known: pa.StructArray, columns: Columns) -> pa.Array:
    """Return structs of `SQL_AGGREGATE`; a blank task is an error of its rows."""
    lists, tasks = columns[0], columns[1]
    blank = pc.and_(pc.equal(pc.utf8_trim_whitespace(tasks), ""), lists.is_valid())
    if not pc.any(blank).as_py():
        return known
    why = pa.array([{"requests": 0, "levels": 0, "cut": 0, "cost_usd": 0.0, "error": _BLANK}], SQL_AGGREGATE)
    both = pa.concat_arrays([known, why])
    at = [len(known) if is_blank else i for i, is_blank in enumerate(blank.to_pylist())]
    return both.take(pa.array(at))


FORMS = {"aggregates": Form("aggregates", read_aggregates, as_aggregates, (TEXTS, TEXT), SQL_AGGREGATE, "aggregates")}
