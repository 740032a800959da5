"""What the router predicts, and whom it would choose; nothing is generated."""

from __future__ import annotations

from leeroo.engine.schema import SQL_ROUTE, SQL_SCORES
from leeroo.udfs.functions.forms.form import (
    TEXT,
    Columns,
    Form,
    RowQuestions,
    arguments_of,
    as_known,
    distinct,
    read_plain,
)


def read_routed(columns: Columns) -> RowQuestions:
    """Read the columns of `leeroo_route`: question, and its arguments."""
    codes, rows = distinct(columns[1:], len(columns[0]))
    return RowQuestions(columns[0], codes, [arguments_of("routes", row) for row in rows])


FORMS = {
    "routes": Form("routes", read_routed, as_known, (TEXT,), SQL_ROUTE, "routes"),
    "scores": Form("scores", read_plain, as_known, (TEXT,), SQL_SCORES),
}
