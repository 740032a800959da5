"""The forms that answers may take in SQL: how each kind of call is put to the engine, and how its answer is read back.

A function hands over columns of up to 2,048 rows. Its `wants` makes of them the questions that the engine is asked,
NULL where there is nothing to ask, with the `Arguments` of each; its `read` makes values of SQL of the known answers.
"""

from __future__ import annotations

import functools
import json
import string
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.batch.layout import names
from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.solve.solve import Limits
from leeroo.engine.schema import SQL_CHOICE, SQL_EXTRACT, SQL_LABEL
from leeroo.udfs.functions.ask import Arguments
from leeroo.udfs.functions.extraction import check_schema


class Wanted(NamedTuple):
    """What n rows ask."""

    questions: pa.Array  # text [n], NULL where nothing is asked
    codes: np.ndarray  # int [n]: which of the arguments each row has
    arguments: list[Arguments]


Columns = Sequence[pa.Array]
Wants = Callable[[Columns], Wanted]
Read = Callable[[pa.StructArray, Columns], pa.Array]


def plain(columns: Columns) -> Wanted:
    """Questions without anything beside them."""
    return Wanted(columns[0], np.zeros(len(columns[0]), np.int64), [Arguments()])


def routed(columns: Columns) -> Wanted:
    """Questions of `leeroo_route`, and whether each is private."""
    codes, rows = _distinct(columns[1:], len(columns[0]))
    return Wanted(columns[0], codes, [_arguments(private=private) for (private,) in rows])


def as_known(known: pa.Array, _: Columns) -> pa.Array:
    """The values as they are."""
    return known


def asked(columns: Columns) -> Wanted:
    """Questions of `leeroo_answer` and `leeroo`.

    Args:
        columns: Question, fields, and the first five of `Arguments`.

    Raises:
        UsageError: a task names a field that is not there.

    """
    questions, fields, *given = columns
    if fields.null_count < len(fields):
        return _tasks(questions, fields, given)
    codes, rows = _distinct(given, len(questions))
    return Wanted(questions, codes, [_arguments(*row) for row in rows])


def _tasks(tasks: pa.Array, fields: pa.Array, given: Columns) -> Wanted:
    """Questions made of fields: what is asked is the JSON object of those that the task names."""
    codes, rows = _distinct([tasks, *given], len(tasks))
    objects = [
        None if task is None or text is None else _named_fields(task, text)
        for task, text in zip(tasks.to_pylist(), fields.to_pylist(), strict=True)
    ]
    return Wanted(pa.array(objects, pa.string()), codes, [_arguments(*row)._replace(task=task) for task, *row in rows])


def _named_fields(task: str, fields: str) -> str | None:
    """The fields that a task names, as a JSON object; None if one of them is NULL."""
    there = json.loads(fields)
    wanted = _names(task)
    missing = [name for name in wanted if name not in there]
    if missing:
        raise UsageError(f"there is no field {missing[0]!r} for {{{missing[0]}}}; the fields are: {', '.join(there)}")
    if any(there[name] is None for name in wanted):
        return None
    return json.dumps({name: there[name] for name in wanted}, ensure_ascii=False)


_names = functools.lru_cache(maxsize=64)(names)


def choices(columns: Columns) -> Wanted:
    """Questions of `leeroo_choice`, with lettered choices below them, answered with a letter.

    Args:
        columns: Question, choices (a list of texts), expert, system and private.

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
    arguments = [_arguments(*row)._replace(choices=marks) for *row, marks in rows]
    return Wanted(pa.array(texts, pa.string()), codes, arguments)


def no_choice(among: list[str | None]) -> str | None:
    """Why one cannot choose among these; None if one can."""
    if len(among) < 2:
        return f"a choice is among at least two choices, not {len(among)}"
    return "one of the choices is NULL" if None in among else None


@functools.lru_cache(maxsize=64)
def _marks(n: int) -> tuple[str, ...]:
    """What stands for each of n choices: a letter, or a number where letters do not suffice."""
    return tuple(string.ascii_uppercase[:n]) if n <= 26 else tuple(str(i + 1) for i in range(n))


def labels(columns: Columns) -> Wanted:
    """Questions of `leeroo_label`.

    Args:
        columns: Text, labels (a list of texts), expert, system and private.

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
        None if text is None or each is None else f"Classify the text as one of: {', '.join(each)}.\n\nText: {text}"
        for text, each in zip(texts.to_pylist(), among, strict=True)
    ]
    arguments = [_arguments(*row)._replace(choices=each) for *row, each in rows]
    return Wanted(pa.array(questions, pa.string()), codes, arguments)


@functools.lru_cache(maxsize=64)
def _check_labels(among: tuple[str | None, ...]) -> None:
    if len(among) < 2 or any(label is None or not label.strip() for label in among) or len(set(among)) < len(among):
        raise UsageError(f"labels must be at least two different texts, not {list(among)}")


def extracts(columns: Columns) -> Wanted:
    """Questions of `leeroo_extract`.

    Args:
        columns: Text, JSON schema (as text), expert, system, private, max_tokens.

    Raises:
        UsageError: a schema is not one.

    """
    texts, schemas, *given = columns
    codes, rows = _distinct([*given, schemas], len(texts))
    for *_, schema in rows:
        if schema is not None:
            check_schema(schema)
    questions = pc.if_else(schemas.is_valid(), texts, None)
    return Wanted(questions, codes, [_arguments(*row)._replace(json_schema=schema) for *row, schema in rows])


def solved(columns: Columns) -> Wanted:
    """Questions of `leeroo_solve`.

    Args:
        columns: Question, private, then steps, depth, cost in USD and planner of `Limits`; NULL for what is usual.

    Raises:
        UsageError: a limit that cannot be.

    """
    questions, *given = columns
    codes, rows = _distinct(given, len(questions))
    names = ("steps", "depth", "cost_usd", "planner")
    arguments = []
    for private, *row in rows:
        limits = Limits(**{name: each for name, each in zip(names, row, strict=True) if each is not None})
        arguments.append(_arguments(private=private)._replace(limits=limits))
    return Wanted(questions, codes, arguments)


def _arguments(
    expert: str | None = None,
    system: str | None = None,
    private: bool | None = False,
    max_tokens: int | None = None,
    temperature: float | None = None,
) -> Arguments:
    # Nobody knows whether a row marked NULL is private. The temperature 0 is what an expert has without one.
    return Arguments(expert, system, private is None or private, max_tokens, temperature or None)


def _distinct(columns: Sequence[pa.Array | list[Any]], n: int) -> tuple[np.ndarray, list[tuple[Any, ...]]]:
    """Which of the different rows that these columns make each of n rows is, int [n], and those."""
    if all(isinstance(column, pa.Array) and column.null_count == n for column in columns):
        return np.zeros(n, np.int64), [(None,) * len(columns)]
    numbers: dict[tuple[Any, ...], int] = {}
    given = zip(*(c.to_pylist() if isinstance(c, pa.Array) else c for c in columns), strict=True)
    codes = np.array([numbers.setdefault(row, len(numbers)) for row in given], np.int64)
    return codes, list(numbers)


def whole(known: pa.StructArray, _: Columns) -> pa.Array:
    """An answer with everything known of it, but for the confidence, which it has none of."""
    fields = [field for field in known.type if field.name != "confidence"]
    columns = known.flatten()[: len(fields)]
    return pa.StructArray.from_arrays(columns, fields=fields, mask=known.is_null())


def chosen(known: pa.StructArray, columns: Columns) -> pa.Array:
    """Structs of `SQL_CHOICE`: the text that stands behind the letter answered, and its position from 1."""
    questions, lists = columns[0].to_pylist(), columns[1].to_pylist()
    return pa.array([_chosen(*row) for row in zip(questions, lists, known.to_pylist(), strict=True)], SQL_CHOICE)


def _chosen(question: str | None, among: list[str | None] | None, known: dict[str, Any] | None) -> Any:
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


def text(known: pa.Array, _: Columns) -> pa.Array:
    """Texts, each as the field of a struct."""
    return pa.StructArray.from_arrays([known], names=["answer"])


def extracted(known: pa.StructArray, _: Columns) -> pa.Array:
    """Structs of `SQL_EXTRACT`."""
    return _renamed(known, SQL_EXTRACT)


def labelled(known: pa.StructArray, _: Columns) -> pa.Array:
    """Structs of `SQL_LABEL`."""
    return _renamed(known, SQL_LABEL)


def _renamed(known: pa.StructArray, kind: pa.StructType) -> pa.StructArray:
    """Structs with some of the known fields, the answer under another name; NULL where nothing was asked."""
    names = ["answer", *kind.names[1:]]
    columns = [known.field(name) for name in names]
    return pa.StructArray.from_arrays(columns, fields=list(kind), mask=known.is_null())
