"""Records with the fields that a text states, and decisions about it.

Both give JSON with the value and what is known about it, which the macros cast to the types of `structure`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.backends.decisions import Decisions, as_json, read_decisions
from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.records.decided import decided_record
from leeroo.engine.jobs.records.kinds import Record, whole_schema
from leeroo.engine.jobs.records.sql_types import read_spec
from leeroo.udfs.functions.forms.form import TEXT, Columns, Form, RowQuestions, arguments_of, distinct
from leeroo.udfs.functions.requests import Arguments

_JSON = pa.struct([pa.field("json", pa.string())])
_ABOUT = {"expert": "VARCHAR", "cost_usd": "DOUBLE", "error": "VARCHAR"}


def read_records(columns: Columns) -> RowQuestions:
    """Read the columns of `leeroo_record`: text, fields (as JSON), and its arguments.

    Raises:
        UsageError: the fields are none.

    """

    def arguments(row: tuple[Any, ...], fields: str) -> Arguments:
        return arguments_of("records", row, json_schema=whole_schema(read_spec(fields)), record=fields)

    return _read(columns, arguments)


def read_decided(columns: Columns) -> RowQuestions:
    """Read the columns of `leeroo_decide`: text, questions with their choices (as JSON), and its arguments.

    Raises:
        UsageError: the questions cannot be decided.

    """

    def arguments(row: tuple[Any, ...], questions: str) -> Arguments:
        return arguments_of("decisions", row, decisions=as_json(dict(_decisions(questions))))

    return _read(columns, arguments)


def _read(columns: Columns, arguments: Callable[[tuple[Any, ...], str], Arguments]) -> RowQuestions:
    texts, described, *given = columns
    codes, rows = distinct([*given, described], len(texts))
    questions = pc.if_else(described.is_valid(), texts, None)
    return RowQuestions(
        questions, codes, [Arguments() if each is None else arguments(tuple(row), each) for *row, each in rows]
    )


def _decisions(questions: str) -> Decisions:
    try:
        return read_decisions(questions)
    except ValueError as error:
        raise UsageError(str(error)) from None


def structure(kind: str, described: str | None) -> str:
    """Return the types of a value and what is known about it, as from_json takes them.

    Args:
        kind: 'record' or 'decisions'.
        described: The fields or questions, as JSON; None for NULL.

    Raises:
        UsageError: they are none.

    """
    if described is None:
        return json.dumps({"value": "VARCHAR", **_ABOUT})
    return json.dumps({"value": _record(kind, described).sql, **_ABOUT}, ensure_ascii=False)


def _record(kind: str, described: str) -> Record:
    if kind == "record":
        return read_spec(described)
    return decided_record(_decisions(described))


def write(known: pa.StructArray, _: Columns) -> pa.Array:
    """Return the value and what is known about it as JSON, NULL where there was no question."""
    columns = [known.field(name).to_pylist() for name in ("answer", *_ABOUT)]
    rows = zip(known.is_valid().to_pylist(), *columns, strict=True)
    texts = [_json(value, *about) if there else None for there, value, *about in rows]
    return pa.StructArray.from_arrays([pa.array(texts, pa.string())], fields=list(_JSON))


def _json(value: str | None, *about: Any) -> str:
    """Return a value that is JSON already with what is known about it."""
    rest = json.dumps(dict(zip(_ABOUT, about, strict=True)), ensure_ascii=False)
    return f'{{"value": {value or "null"}, {rest[1:]}'


FORMS = {
    "records": Form("answers", read_records, write, (TEXT, TEXT), _JSON, "records"),
    "decisions": Form("answers", read_decided, write, (TEXT, TEXT), _JSON, "decisions"),
}
