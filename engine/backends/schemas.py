"""Answers that shall be JSON under a schema: whether they are."""

from __future__ import annotations

import functools
import json
import re
from typing import Any

from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

from leeroo.engine.model_json import parse_json

# Any JSON object: providers have a mode of their own for it.
ANY_OBJECT = {"type": "object"}


@functools.lru_cache(maxsize=64)
def validator(schema: str) -> Any:
    """Return what checks values against a JSON schema; it fetches no schema from elsewhere.

    Raises:
        ValueError: it is not one.

    """
    try:
        read = json.loads(schema)
        kind = validator_for(read)
        kind.check_schema(read)
    except (ValueError, SchemaError, AttributeError, TypeError, RecursionError) as error:
        why = error.message if isinstance(error, SchemaError) else error
        raise ValueError(f"json_schema is not a JSON schema: {why}") from None
    return kind(read, registry=Registry())


def complaint(answer: str, schema: str) -> str | None:
    """Return why an answer is not JSON that is valid under a schema; None where it is."""
    try:
        value = parse_json(answer)
    except ValueError:
        return f"the answer is not JSON: {answer[:80]!r}"
    try:
        validator(schema).validate(value)
    except ValidationError as error:
        return f"the answer is not valid under the schema: {error.json_path}: {error.message[:160]}"
    except (ValueError, Unresolvable, RecursionError, re.error) as error:
        return f"the answer cannot be checked: {type(error).__name__}: {error}"
    return None
