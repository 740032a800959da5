"""JSON schemas of `response_format`: check them before anything is answered, in bounded time.

Every schema is read as JSON Schema 2020-12, whatever its `$schema` says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from jsonschema.validators import extend

from leeroo.engine.backends.schemas import unique

# Checking takes about a second for the most bytes that are allowed, and Python's stack bounds the depth.
_MOST_BYTES, _MOST_DEPTH = 64 * 1024, 64


def checked_schema(schema: dict[str, Any]) -> str:
    """Return a schema as the text that the engine takes.

    Raises:
        ValueError: it is too large, too deep, refers to another document, or is no JSON schema.

    """
    dialect = schema.get("$schema", "")
    if not isinstance(dialect, str):
        raise ValueError("$schema should be text")
    text = json.dumps({name: value for name, value in schema.items() if name != "$schema"})
    if len(text) > _MOST_BYTES:
        raise ValueError(f"the schema has more than {_MOST_BYTES:,} bytes: shorten it")
    if (mistake := _mistake(text)) is not None:
        raise ValueError(mistake)
    return text


@lru_cache(maxsize=256)
def _mistake(text: str) -> str | None:
    """Return what is wrong with a schema; lines of a batch mostly share one, which is checked once."""
    schema = json.loads(text)
    for depth, (key, value) in _members(schema):
        if depth > _MOST_DEPTH:
            return f"the schema is nested more than {_MOST_DEPTH} deep"
        if key in ("$ref", "$dynamicRef") and not (isinstance(value, str) and value.startswith("#")):
            return f"{key} should begin with '#': only references within the schema are followed"
    try:
        _Meta.check_schema(schema)
    except SchemaError as error:
        return f"not a JSON schema: {error.message[:200]}"
    except RecursionError:
        return "the schema is nested too deep"
    return None


def _members(value: Any) -> Iterator[tuple[int, tuple[Any, Any]]]:
    """Yield all keys and values with their depth, and no deeper than one step too far."""
    waiting = [(1, value)]
    while waiting:
        depth, value = waiting.pop()
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, each in items:
            yield depth, (key, each)
            if depth <= _MOST_DEPTH:
                waiting.append((depth + 1, each))


_Meta: Any = extend(Draft202012Validator, {"uniqueItems": unique})  # type: ignore[no-untyped-call]
