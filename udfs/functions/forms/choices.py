"""One of some choices, which stand below the question with a letter each."""

from __future__ import annotations

import functools
import string
from typing import Any

import pyarrow as pa

from leeroo.engine.schema import SQL_CHOICE
from leeroo.udfs.functions.forms.form import TEXT, TEXTS, Columns, Form, RowQuestions, arguments_of, distinct


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
    codes, rows = distinct([*given, marked], len(texts))
    arguments = [arguments_of("choices", row, choices=marks) for *row, marks in rows]
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


FORMS = {"choices": Form("answers", read_choices, as_choices, (TEXT, TEXTS), SQL_CHOICE, "choices")}
