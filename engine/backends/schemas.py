"""JSON schemas: checks whether an answer is valid under one, in bounded time.

Schemas and answers come from outside. DuckDB matches patterns in time that grows with the text alone, where Python's
`re` can take for ever. A check of too many steps is given up.
"""

from __future__ import annotations

import functools
import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import duckdb

from leeroo.engine.model_json import parse_json

if TYPE_CHECKING:  # it is imported where a schema is used: every start would wait for it
    from jsonschema.exceptions import ValidationError

    Check = Callable[[Any, Any, Any, Any], Iterable[ValidationError] | None]

# A block of Markdown around a whole answer.
_FENCE = re.compile(r"\s*```[\w-]*\s*\n(.*?)\n?\s*```\s*", re.DOTALL)
# The schema of any JSON object: providers have a mode of their own for it.
ANY_OBJECT = {"type": "object"}
_CUT = "the answer ended by length before its JSON did: raise max_tokens"


# The most keywords applied to values in one check, about a second: with references a small schema can need
# exponentially many.
_MOST_STEPS = 100_000


class _Check(threading.local):
    """The steps left of the check that a thread is making."""

    left = _MOST_STEPS


_check = _Check()


@functools.cache
def _patterns() -> duckdb.DuckDBPyConnection:
    """Return the database that patterns are matched with.

    It belongs to no thread: a forked process ends what belongs to threads that it does not have, which DuckDB cannot.
    """
    return duckdb.connect()


@functools.lru_cache(maxsize=64)
def validator(schema: str) -> Any:
    """Return a validator of values under a JSON schema; it fetches no schema from elsewhere.

    Raises:
        ValueError: it is not one, or has a pattern that cannot be matched in linear time.

    """
    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import extend, validator_for
    from referencing import Registry

    try:
        read = json.loads(schema)
        kind = validator_for(read)
        kind.check_schema(read)
        _check_patterns(read)
    except (ValueError, SchemaError, AttributeError, TypeError, RecursionError) as error:
        why = error.message if isinstance(error, SchemaError) else error
        raise ValueError(f"json_schema is not a JSON schema: {why}") from None
    own = {
        "pattern": _pattern,
        "patternProperties": _pattern_properties,
        "additionalProperties": functools.partial(_additional, kind.VALIDATORS["additionalProperties"]),
        "uniqueItems": unique,
    }
    checks = {name: _count_checks(check) for name, check in {**kind.VALIDATORS, **own}.items()}
    return extend(kind, checks)(read, registry=Registry())  # type: ignore[no-untyped-call]


def unique(_: Any, wanted: Any, items: Any, __: Any) -> Iterator[ValidationError]:
    """Compare items by text: jsonschema compares them pairwise, which takes minutes for a long mixed list."""
    from jsonschema.exceptions import ValidationError

    if wanted and isinstance(items, list) and len({json.dumps(each, sort_keys=True) for each in items}) < len(items):
        yield ValidationError("an item is there twice")


def _count_checks(check: Check) -> Check:
    def check_counted(checker: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
        _check.left -= 1
        if _check.left < 0:
            raise ValueError("it takes too long")
        yield from check(checker, wanted, value, schema) or ()

    return check_counted


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    from jsonschema.exceptions import ValidationError

    if isinstance(value, str) and not _found(pattern, value):
        yield ValidationError(f"{value[:80]!r} does not match {pattern!r}")


def _pattern_properties(checker: Any, patterns: Any, value: Any, _: Any) -> Iterator[ValidationError]:
    for pattern, schema in patterns.items() if isinstance(value, dict) else ():
        for name in value:
            if _found(pattern, name):
                yield from checker.descend(value[name], schema, path=name, schema_path=pattern)


def _additional(check: Check, checker: Any, wanted: Any, value: Any, schema: Any) -> Iterator[ValidationError]:
    """Check what neither `properties` nor `patternProperties` names, as if the latter were names too."""
    if isinstance(value, dict) and (patterns := schema.get("patternProperties")):
        value = {name: each for name, each in value.items() if not any(_found(pattern, name) for pattern in patterns)}
        schema = {**schema, "patternProperties": {}}
    yield from check(checker, wanted, value, schema) or ()


def _found(pattern: str, text: str) -> bool:
    """Return whether a pattern is found anywhere in a text."""
    return bool(_patterns().cursor().execute("SELECT regexp_matches($1, $2)", [text, pattern]).fetchall()[0][0])


def _check_patterns(schema: Any) -> None:
    """Check that all patterns can be matched: valid, and within regular languages. Raises ValueError."""
    waiting = [schema]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            patterns = [each.get("pattern"), *(each.get("patternProperties") or ())]
            for pattern in (pattern for pattern in patterns if isinstance(pattern, str)):
                try:
                    _found(pattern, "")
                except duckdb.Error as error:
                    why = str(error).splitlines()[0].removeprefix("Invalid Input Error: ")
                    raise ValueError(f"the pattern {pattern[:80]!r} cannot be matched: {why}") from None
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each


def without_fence(answer: str) -> str:
    """Return an answer without a fence of Markdown around it."""
    fenced = _FENCE.fullmatch(answer)
    return fenced[1].strip() if fenced else answer


def complaint(answer: str, schema: str, finish_reason: str | None = None) -> str | None:
    """Return why an answer, which ended for a reason, is not JSON that is valid under a schema; None where it is."""
    from jsonschema.exceptions import ValidationError
    from referencing.exceptions import Unresolvable

    try:
        value = parse_json(answer)
    except ValueError:
        return _CUT if finish_reason == "length" else f"the answer is not JSON: {answer[:80]!r}"
    _check.left = _MOST_STEPS
    try:
        validator(schema).validate(value)
    except ValidationError as error:
        return f"the answer is not valid under the schema: {error.json_path}: {error.message[:160]}"
    except (ValueError, Unresolvable, RecursionError) as error:
        return f"the answer cannot be checked under the schema: {error}"
    return None
