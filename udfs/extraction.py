"""Answers that shall be JSON under a schema: read from what a model wrote, and checked."""

from __future__ import annotations

import functools
import json
import re
import textwrap
from typing import Any

from leeroo.engine.errors import UsageError
from leeroo.engine.model_json import parse_json

# A block of Markdown, into which models like to put JSON.
_FENCED = re.compile(r"```(?:json)?[^\S\n]*\n(.*?)```", re.DOTALL | re.IGNORECASE)
# So much of an answer is quoted in the reason why it is no JSON.
_QUOTED = 80


def extract(answer: str, schema: str) -> tuple[str | None, str | None]:
    """Return the JSON in an answer if it is valid under a schema, else the reason why there is none.

    Raises:
        UsageError: the schema is not one.

    """
    check = validator(schema)
    try:
        text, value = _read(answer)
    except ValueError:
        return None, f"the answer is not JSON: {answer[:_QUOTED]!r}"
    try:
        wrong = next(check.iter_errors(value), None)
    except RecursionError:
        return None, "the answer is nested too deeply to be checked"
    return (text, None) if wrong is None else (None, f"the answer is not valid under the schema: {_shortened(wrong)}")


@functools.lru_cache(maxsize=64)
def validator(schema: str) -> Any:
    """Return what checks values against a JSON schema.

    Raises:
        UsageError: it is not one.

    """
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for

    try:
        read = json.loads(schema)
        kind = validator_for(read)
        kind.check_schema(read)
    except SchemaError as error:
        raise UsageError(f"json_schema is not a JSON schema: {error.message}") from None
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise UsageError(f"json_schema is not a JSON schema: {error}") from None
    return kind(read)


def _read(answer: str) -> tuple[str, Any]:
    """Return the text of the JSON in an answer, and its value."""
    try:
        return answer, parse_json(answer)
    except ValueError:
        fenced = _FENCED.search(answer)
        if fenced is None:
            raise
        return fenced[1].strip(), parse_json(fenced[1])


def _shortened(wrong: Any) -> str:
    where = "".join(f"[{part!r}]" for part in wrong.absolute_path)
    message = textwrap.shorten(str(wrong.message), 2 * _QUOTED)
    return f"at {where}: {message}" if where else message
