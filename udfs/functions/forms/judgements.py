"""Judgements about a text: if a condition holds, and a place on a scale from 0 to 1.

Both are choices, so a model scores their tokens and writes nothing. Text and condition may also be one sentence with
{names} of fields.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.errors import UsageError
from leeroo.engine.schema import SQL_FILTER, SQL_SCORE
from leeroo.udfs.functions.forms.fields import read_fields
from leeroo.udfs.functions.forms.form import NUMBER, TEXT, Columns, Form, RowQuestions, arguments_of, distinct
from leeroo.udfs.functions.requests import Arguments


class Judgement(NamedTuple):
    """How a judgement is asked for: {about} is the condition or quality.

    It stands behind the text: small models rank texts better so, and several judgements of a text share its prefix.
    """

    name: str  # of the function
    choices: tuple[str, ...]
    scale: tuple[float | None, ...]  # the place of each choice, None for one that is no judgement
    of_text: str  # follows the text
    of_fields: str  # {about} has the fields in it


_TEXT = "Text: "
_THRESHOLD = 0.5
FILTER = Judgement(
    "leeroo_filter",
    ("yes", "no", "unclear"),
    (1.0, 0.0, None),
    "\n\nCondition: the text {about}.\nDoes the text meet the condition? Answer yes, no or unclear.",
    "Is this true? Answer yes, no or unclear.\n\n{about}",
)
SCORE = Judgement(
    "leeroo_score",
    ("1", "2", "3", "4", "5"),
    (0.0, 0.25, 0.5, 0.75, 1.0),
    "\n\nRate the text on a scale from 1 to 5: {about}? 1 is not at all, 5 is as much as can be."
    " Answer with the number.",
    "Rate on a scale from 1 to 5: 1 is not at all, 5 is as much as can be. Answer with the number.\n\n{about}?",
)


def read_filters(columns: Columns) -> RowQuestions:
    """Read the columns of `leeroo_filter`: text, condition (as JSON), its type, threshold, and its arguments.

    Raises:
        UsageError: a threshold is out of its range, a condition is blank, or a field is not there.

    """
    texts, conditions, kinds, thresholds, *given = columns
    for threshold in pc.unique(thresholds).to_pylist():
        if threshold is not None and not 0 <= threshold <= 1:
            raise UsageError(f"threshold must be from 0 to 1, not {threshold:g}")
    return _read(FILTER, "filters", texts, conditions, kinds, given)


def read_scored(columns: Columns) -> RowQuestions:
    """Read the columns of `leeroo_score`: text, quality (as JSON), its type, and its arguments.

    Raises:
        UsageError: a quality is blank, or a field is not there.

    """
    texts, qualities, kinds, *given = columns
    return _read(SCORE, "scored", texts, qualities, kinds, given)


def _read(
    judgement: Judgement, takes: str, texts: pa.Array, abouts: pa.Array, kinds: pa.Array, given: Columns
) -> RowQuestions:
    """Read texts and what is asked about them: a JSON string, or a JSON object of the fields that the text names."""
    rows = list(zip(texts.to_pylist(), abouts.to_pylist(), strict=True))
    of_fields = [about is not None and about.startswith("{") for _, about in rows]
    named = [(text, about) if there else (None, None) for (text, about), there in zip(rows, of_fields, strict=True)]
    fields = read_fields([text for text, _ in named], [about for _, about in named], kinds)
    tasks = [text and judgement.of_fields.format(about=_checked(text)) for text, _ in named]
    questions = [
        fields.objects[at] if of_fields[at] else _question(judgement, text, about)
        for at, (text, about) in enumerate(rows)
    ]
    codes, distinct_rows = distinct([*given, tasks, fields.pictures], len(questions))
    arguments = [_arguments(judgement, takes, row, task, shown) for *row, task, shown in distinct_rows]
    return RowQuestions(pa.array(questions, pa.string()), codes, arguments, fields.images)


def _question(judgement: Judgement, text: str | None, about: str | None) -> str | None:
    if text is None or about is None or about == "null":
        return None
    return f"{_TEXT}{text}{_behind(judgement, about)}"


@functools.lru_cache(maxsize=256)
def _behind(judgement: Judgement, about: str) -> str:
    """Return what stands behind a text."""
    value = json.loads(about)
    return judgement.of_text.format(about=_checked(value if isinstance(value, str) else str(value)))


def _checked(about: str) -> str:
    if not about.strip():
        raise UsageError("there is nothing to judge by: the second argument is blank")
    return about.strip().rstrip(".?")


def _arguments(
    judgement: Judgement, takes: str, row: Sequence[Any], task: str | None, pictures: tuple[str, ...]
) -> Arguments:
    return arguments_of(takes, row, choices=judgement.choices, scale=judgement.scale, task=task, pictures=pictures)


def as_filters(known: pa.StructArray, columns: Columns) -> pa.Array:
    """Return structs of `SQL_FILTER`: the value, and the probability of that value against its opposite."""
    yes = pc.cast(known.field("answer"), pa.float64())
    values = pc.greater_equal(yes, pc.fill_null(columns[3], _THRESHOLD))
    # A server that returns no probabilities has made its choice.
    sure = pc.if_else(known.field("confidence").is_valid(), pc.if_else(values, yes, pc.subtract(1.0, yes)), None)
    return _as(SQL_FILTER, known, values, sure)


def as_scores(known: pa.StructArray, _: Columns) -> pa.Array:
    """Return structs of `SQL_SCORE`."""
    return _as(SQL_SCORE, known, pc.cast(known.field("answer"), pa.float64()), known.field("confidence"))


def _as(kind: pa.StructType, known: pa.StructArray, values: pa.Array, sure: pa.Array) -> pa.Array:
    columns = [values, sure, *(known.field(name) for name in kind.names[2:])]
    return pa.StructArray.from_arrays(columns, fields=list(kind), mask=known.is_null())


FORMS = {
    "filters": Form("answers", read_filters, as_filters, (TEXT, TEXT, TEXT, NUMBER), SQL_FILTER, "filters"),
    "scored": Form("answers", read_scored, as_scores, (TEXT, TEXT, TEXT), SQL_SCORE, "scored"),
}
