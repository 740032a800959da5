"""Complex questions, solved step by step."""

from __future__ import annotations

from dataclasses import fields

from leeroo.engine.jobs.solve.solve import SolveLimits
from leeroo.engine.schema import SQL_SOLUTION
from leeroo.udfs.functions.forms.form import (
    COUNT,
    NUMBER,
    TEXT,
    Columns,
    Form,
    RowQuestions,
    arguments_of,
    as_known,
    distinct,
)

# The fields of `SolveLimits`, in the order in which `leeroo_solve` takes them.
_LIMITS = [field.name for field in fields(SolveLimits)]


def read_solved(columns: Columns) -> RowQuestions:
    """Read the columns of `leeroo_solve`: question, the fields of `SolveLimits` (NULL: the default), and its arguments.

    Raises:
        UsageError: a limit that cannot be.

    """
    questions, *given = columns
    codes, rows = distinct(given, len(questions))
    arguments = []
    for row in rows:
        limits = {name: each for name, each in zip(_LIMITS, row, strict=False) if each is not None}
        arguments.append(arguments_of("solutions", row[len(_LIMITS) :], limits=SolveLimits(**limits)))
    return RowQuestions(questions, codes, arguments)


FORMS = {
    "solutions": Form("solutions", read_solved, as_known, (TEXT, COUNT, COUNT, NUMBER, TEXT), SQL_SOLUTION, "solutions")
}
