"""Answers in JSON under a schema: the JSON is found in the text, and checked. Knows nothing of SQL."""

from __future__ import annotations

import re

from leeroo.engine.backends.schemas import complaint, validator
from leeroo.engine.errors import UsageError

# A block of Markdown, into which models often put JSON.
_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL | re.IGNORECASE)


def extract(answer: str, schema: str) -> tuple[str | None, str | None]:
    """Return the JSON in an answer if it is valid under a schema, else the reason why there is none."""
    why = complaint(answer, schema)
    if why is None:
        return answer, None
    fenced = _FENCED.search(answer)
    if fenced is None:
        return None, why
    why = complaint(fenced[1], schema)
    return (fenced[1].strip(), None) if why is None else (None, why)


def check_schema(schema: str) -> None:
    """Check that a text is a JSON schema.

    Raises:
        UsageError: it is not one.

    """
    try:
        validator(schema)
    except ValueError as error:
        raise UsageError(str(error)) from None
