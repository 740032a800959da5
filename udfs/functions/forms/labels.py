"""One of some labels, which a classifier may learn from the experts."""

from __future__ import annotations

import functools

import pyarrow as pa

from leeroo.engine.errors import UsageError
from leeroo.engine.schema import SQL_LABEL
from leeroo.udfs.functions.forms.form import TEXT, TEXTS, Columns, Form, RowQuestions, arguments_of, as_named, distinct
from leeroo.udfs.functions.requests import label_task


def read_labels(columns: Columns) -> RowQuestions:
    """Read the columns of `leeroo_label`: text, labels (a list of texts), and its arguments.

    Raises:
        UsageError: the labels are not two or more different texts.

    """
    texts, lists, *given = columns
    among = [None if each is None else tuple(each) for each in lists.to_pylist()]
    codes, rows = distinct([*given, among], len(texts))
    for *_, each in rows:
        if each is not None:
            _check_labels(each)
    questions = [
        None if text is None or each is None else f"{label_task(each)}{text}"
        for text, each in zip(texts.to_pylist(), among, strict=True)
    ]
    arguments = [arguments_of("labels", row, choices=each, labels=True) for *row, each in rows]
    return RowQuestions(pa.array(questions, pa.string()), codes, arguments)


@functools.lru_cache(maxsize=64)
def _check_labels(among: tuple[str | None, ...]) -> None:
    if len(among) < 2 or any(label is None or not label.strip() for label in among) or len(set(among)) < len(among):
        raise UsageError(f"labels must be at least two different texts, not {list(among)}")


FORMS = {
    "labels": Form("answers", read_labels, functools.partial(as_named, SQL_LABEL), (TEXT, TEXTS), SQL_LABEL, "labels")
}
