"""Answers as text, to a question or to a task with the fields of a row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from leeroo.udfs.functions.forms.fields import read_fields
from leeroo.udfs.functions.forms.form import NUMBER, TEXT, Columns, Form, RowQuestions, arguments_of, distinct
from leeroo.udfs.functions.requests import Arguments, answer_type


def read_questions(columns: Columns) -> RowQuestions:
    """Read the columns of `leeroo_answer` and `leeroo`: question, fields, their types, temperature, and arguments.

    Raises:
        UsageError: a task names a field that is not there.

    """
    questions, values, kinds, *given = columns
    if values.null_count < len(values):
        return _read_tasks(questions, values, kinds, given)
    codes, rows = distinct(given, len(questions))
    return RowQuestions(questions, codes, [_sampled(row) for row in rows])


def _read_tasks(tasks: pa.Array, values: pa.Array, kinds: pa.Array, given: Columns) -> RowQuestions:
    """Read questions built from fields: the question is the JSON object of those that the task names."""
    fields = read_fields(tasks.to_pylist(), values.to_pylist(), kinds)
    codes, rows = distinct([tasks, fields.pictures, *given], len(tasks))
    arguments = [_sampled(row, task=task, pictures=shown) for task, shown, *row in rows]
    return RowQuestions(pa.array(fields.objects, pa.string()), codes, arguments, fields.images)


def _sampled(row: Sequence[Any], **own: Any) -> Arguments:
    temperature, *given = row
    # The temperature 0 is the default of an expert.
    return arguments_of("answers", given, temperature=temperature or None, **own)


def as_answers(known: pa.StructArray, _: Columns) -> pa.Array:
    """Return answers with all their columns but the confidence, which they have none of."""
    kept = [field for field in known.type if field.name != "confidence"]
    columns = known.flatten()[: len(kept)]
    return pa.StructArray.from_arrays(columns, fields=kept, mask=known.is_null())


def as_texts(known: pa.Array, _: Columns) -> pa.Array:
    """Return texts, each as the field of a struct."""
    return pa.StructArray.from_arrays([known], names=["answer"])


_TAKES = (TEXT, TEXT, TEXT, NUMBER)
# Text comes as a struct. DuckDB evaluates a function that gives plain text for a whole dictionary of compressed
# questions, also for those of rows that nobody wants.
_ANSWER = pa.struct([pa.field("answer", TEXT)])
_ANSWERS = Form("answers", read_questions, as_answers, _TAKES, answer_type, "answers")

FORMS = {
    "answers": _ANSWERS,
    "samples": _ANSWERS._replace(side_effects=True),
    "texts": Form("answers", read_questions, as_texts, _TAKES, _ANSWER, "answers", field="answer"),
}
