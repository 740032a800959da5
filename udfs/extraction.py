"""Answers that shall be JSON under a schema: read from what a model wrote, and checked."""

from __future__ import annotations

import functools
import json
import math
import re
import textwrap
from typing import Any, NoReturn

from leeroo.engine.errors import UsageError

# A block of Markdown, into which models like to put JSON.
_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)```", re.DOTALL | re.IGNORECASE)
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
    except (ValueError, RecursionError):
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
        return answer, _loads(answer)
    except ValueError:
        fenced = _FENCED.search(answer)
        if fenced is None:
            raise
        return fenced[1].strip(), _loads(fenced[1])


def _loads(text: str) -> Any:
    """Read JSON by its standard, which knows no NaN, no infinity and no half characters."""
    value = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    json.dumps(value, ensure_ascii=False).encode()
    return value


def _finite(digits: str) -> float:
    number = float(digits)
    return number if math.isfinite(number) else _no_number(digits)


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not a number of JSON")


def _shortened(wrong: Any) -> str:
    where = "".join(f"[{part!r}]" for part in wrong.absolute_path)
    message = textwrap.shorten(str(wrong.message), 2 * _QUOTED)
    return f"at {where}: {message}" if where else message
