"""The forms that answers may take in SQL: each turns columns into questions, and answers into values.

A function receives columns of up to 2,048 rows. Its reader makes questions of them, NULL where there is nothing to ask,
with the `Arguments` of each. Its writer makes values of SQL of the known answers. Knows nothing of engines.
"""

from __future__ import annotations

import functools
import json
import string
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.batch.layout import field_names
from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.extract import check_schema
from leeroo.engine.jobs.solve.solve import SolveLimits
from leeroo.engine.schema import SQL_CHOICE, SQL_EXTRACT, SQL_LABEL
from leeroo.udfs.functions.requests import Arguments, label_task
from leeroo.udfs.functions.signatures import TAKES


class RowQuestions(NamedTuple):
    """The questions of n rows."""

    questions: pa.Array  # text [n], NULL where there is none
    codes: np.ndarray  # int [n]: which of the arguments each row has
    arguments: list[Arguments]


Columns = Sequence[pa.Array]
Reader = Callable[[Columns], RowQuestions]
Writer = Callable[[pa.StructArray, Columns], pa.Array]


def read_plain(columns: Columns) -> RowQuestions:
    """Read questions without arguments."""
    return RowQuestions(columns[0], np.zeros(len(columns[0]), np.int64), [Arguments()])


def read_routed(columns: Columns) -> RowQuestions:
    """Read the columns of `leeroo_route`: question, and its arguments."""
    codes, rows = _distinct(columns[1:], len(columns[0]))
    return RowQuestions(columns[0], codes, [_arguments("routes", row) for row in rows])


def read_questions(columns: Columns) -> RowQuestions:
    """Read the columns of `leeroo_answer` and `leeroo`: question, fields, temperature, and their arguments.

    Raises:
        UsageError: a task names a field that is not there.

    """
    questions, values, *given = columns
    if values.null_count < len(values):
        return _read_tasks(questions, values, given)
    codes, rows = _distinct(given, len(questions))
    return RowQuestions(questions, codes, [_sampled(row) for row in rows])


def _read_tasks(tasks: pa.Array, values: pa.Array, given: Columns) -> RowQuestions:
    """Read questions built from fields: the question is the JSON object of those that the task names."""
    codes, rows = _distinct([tasks, *given], len(tasks))
    objects = [
        None if task is None or text is None else _named_fields(task, text)
        for task, text in zip(tasks.to_pylist(), values.to_pylist(), strict=True)
    ]
    return RowQuestions(pa.array(objects, pa.string()), codes, [_sampled(row, task=task) for task, *row in rows])


def _sampled(row: Sequence[Any], **own: Any) -> Arguments:
    temperature, *given = row
    # The temperature 0 is the default of an expert.
    return _arguments("answers", given, temperature=temperature or None, **own)


def _named_fields(task: str, values: str) -> str | None:
    """Return the fields that a task names, as a JSON object; None if one of them is NULL."""
    there = json.loads(values)
    wanted = _names(task)
    missing = [name for name in wanted if name not in there]
    if missing:
        raise UsageError(f"there is no field {missing[0]!r} for {{{missing[0]}}}; the fields are: {', '.join(there)}")
    if any(there[name] is None for name in wanted):
        return None
    return json.dumps({name: there[name] for name in wanted}, ensure_ascii=False)


_names = functools.lru_cache(maxsize=64)(field_names)


def read_choices(columns: Columns) -> RowQuestions:
    """Read the columns of `leeroo_choice`: question, choices (a list of texts), and its arguments.

    The choices stand below the question, each with a letter, and the answer is one of the letters.
    """
    questions, lists, *given = columns
    texts: list[str | None] = []
    marked: list[tuple[str, ...] | None] = []
    for question, among in zip(questions.to_pylist(), lists.to_pylist(), strict=True):
        if question is None or among is None or no_choice(among) is not None:
            marked.append(None)
            texts.append(None)
            continue
        marks = _marks(len(among))
        marked.append(marks)
        texts.append("\n".join([question, *(f"{mark}. {choice}" for mark, choice in zip(marks, among, strict=True))]))
    codes, rows = _distinct([*given, marked], len(texts))
    arguments = [_arguments("choices", row, choices=marks) for *row, marks in rows]
    return RowQuestions(pa.array(texts, pa.string()), codes, arguments)


def no_choice(among: list[str | None]) -> str | None:
    """Say why one cannot choose among these; None if one can."""
    if len(among) < 2:
        return f"a choice is among at least two choices, not {len(among)}"
    return "one of the choices is NULL" if None in among else None


@functools.lru_cache(maxsize=64)
def _marks(n: int) -> tuple[str, ...]:
    """Return the mark of each of n choices: a letter, or a number where there are too few letters."""
    return tuple(string.ascii_uppercase[:n]) if n <= 26 else tuple(str(i + 1) for i in range(n))


def read_labels(columns: Columns) -> RowQuestions:
    """Read the columns of `leeroo_label`: text, labels (a list of texts), and its arguments.

    Raises:
        UsageError: the labels are not two or more different texts.

    """
    texts, lists, *given = columns
    among = [None if each is None else tuple(each) for each in lists.to_pylist()]
    codes, rows = _distinct([*given, among], len(texts))
    for *_, each in rows:
        if each is not None:
            _check_labels(each)
    questions = [
        None if text is None or each is None else f"{label_task(each)}{text}"
        for text, each in zip(texts.to_pylist(), among, strict=True)
    ]
    arguments = [_arguments("labels", row, choices=each, labels=True) for *row, each in rows]
    return RowQuestions(pa.array(questions, pa.string()), codes, arguments)


@functools.lru_cache(maxsize=64)
def _check_labels(among: tuple[str | None, ...]) -> None:
    if len(among) < 2 or any(label is None or not label.strip() for label in among) or len(set(among)) < len(among):
        raise UsageError(f"labels must be at least two different texts, not {list(among)}")


def read_extracts(columns: Columns) -> RowQuestions:
    """Read the columns of `leeroo_extract`: text, JSON schema (as text), and its arguments.

    Raises:
        UsageError: a schema is not one.

    """
    texts, schemas, *given = columns
    codes, rows = _distinct([*given, schemas], len(texts))
    for *_, schema in rows:
        if schema is not None:
            check_schema(schema)
    questions = pc.if_else(schemas.is_valid(), texts, None)
    return RowQuestions(questions, codes, [_arguments("extracts", row, json_schema=schema) for *row, schema in rows])


# The fields of `SolveLimits`, in the order in which `leeroo_solve` takes them.
_LIMITS = [field.name for field in fields(SolveLimits)]


def read_solved(columns: Columns) -> RowQuestions:
    """Read the columns of `leeroo_solve`: question, the fields of `SolveLimits` (NULL: the default), and its arguments.

    Raises:
        UsageError: a limit that cannot be.

    """
    questions, *given = columns
    codes, rows = _distinct(given, len(questions))
    arguments = []
    for row in rows:
        limits = {name: each for name, each in zip(_LIMITS, row, strict=False) if each is not None}
        arguments.append(_arguments("solutions", row[len(_LIMITS) :], limits=SolveLimits(**limits)))
    return RowQuestions(questions, codes, arguments)


def _arguments(function: str, row: Sequence[Any], **own: Any) -> Arguments:
    """Return the arguments of a row, as `TAKES` lists them for a function, and others that its form sets."""
    given = dict(zip(TAKES[function], row, strict=True))
    # Nobody knows if a row marked NULL is private.
    return Arguments(**{**given, "private": given["private"] is not False, **own})


def _distinct(columns: Sequence[pa.Array | list[Any]], n: int) -> tuple[np.ndarray, list[tuple[Any, ...]]]:
    """Return the distinct rows of these columns, and which of them each of the n rows is, int [n]."""
    if all(isinstance(column, pa.Array) and column.null_count == n for column in columns):
        return np.zeros(n, np.int64), [(None,) * len(columns)]
    numbers: dict[tuple[Any, ...], int] = {}
    given = zip(*(c.to_pylist() if isinstance(c, pa.Array) else c for c in columns), strict=True)
    codes = np.array([numbers.setdefault(row, len(numbers)) for row in given], np.int64)
    return codes, list(numbers)


def as_known(known: pa.Array, _: Columns) -> pa.Array:
    """Return the values as they are."""
    return known


def as_answers(known: pa.StructArray, _: Columns) -> pa.Array:
    """Return answers with all their columns but the confidence, which they have none of."""
    kept = [field for field in known.type if field.name != "confidence"]
    columns = known.flatten()[: len(kept)]
    return pa.StructArray.from_arrays(columns, fields=kept, mask=known.is_null())


def as_choices(known: pa.StructArray, columns: Columns) -> pa.Array:
    """Return structs of `SQL_CHOICE`: the choice behind the letter of the answer, and its position from 1."""
    questions, lists = columns[0].to_pylist(), columns[1].to_pylist()
    return pa.array([_choice(*row) for row in zip(questions, lists, known.to_pylist(), strict=True)], SQL_CHOICE)


def _choice(question: str | None, among: list[str | None] | None, known: dict[str, Any] | None) -> Any:
    if question is None or among is None:
        return None
    why = no_choice(among)
    if known is None or why is not None:
        return None if why is None else {"cost_usd": 0.0, "error": why}
    own = {name: known[name] for name in ("confidence", "expert", "cost_usd", "error")}
    if known["answer"] is None:
        return own
    position = _marks(len(among)).index(known["answer"])
    return {"choice": among[position], "position": position + 1, **own}


def as_texts(known: pa.Array, _: Columns) -> pa.Array:
    """Return texts, each as the field of a struct."""
    return pa.StructArray.from_arrays([known], names=["answer"])


def _as_named(kind: pa.StructType, known: pa.StructArray, _: Columns) -> pa.Array:
    """Return structs with some of the known fields, the answer under another name; NULL where there was no question."""
    columns = [known.field(name) for name in ["answer", *kind.names[1:]]]
    return pa.StructArray.from_arrays(columns, fields=list(kind), mask=known.is_null())


as_extracts: Writer = functools.partial(_as_named, SQL_EXTRACT)
as_labels: Writer = functools.partial(_as_named, SQL_LABEL)
