"""JSON that is valid under a schema."""

from __future__ import annotations

import functools

import pyarrow.compute as pc

from leeroo.engine.jobs.extract import check_schema
from leeroo.engine.schema import SQL_EXTRACT
from leeroo.udfs.functions.forms.form import TEXT, Columns, Form, RowQuestions, arguments_of, as_named, distinct


def read_extracts(columns: Columns) -> RowQuestions:
    """Read the columns of `leeroo_extract`: text, JSON schema (as text), and its arguments.

    Raises:
        UsageError: a schema is not one.

    """
    texts, schemas, *given = columns
    codes, rows = distinct([*given, schemas], len(texts))
    for *_, schema in rows:
        if schema is not None:
            check_schema(schema)
    questions = pc.if_else(schemas.is_valid(), texts, None)
    return RowQuestions(questions, codes, [arguments_of("extracts", row, json_schema=schema) for *row, schema in rows])


FORMS = {
    "extracts": Form(
        "answers", read_extracts, functools.partial(as_named, SQL_EXTRACT), (TEXT, TEXT), SQL_EXTRACT, "extracts"
    )
}
