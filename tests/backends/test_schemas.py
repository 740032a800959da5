"""Answers under a JSON schema are checked in bounded time, whatever the schema and the answer are."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from typing import Any

import pytest

from leeroo.engine.backends.schemas import complaint, validator


def _complaint(value: Any, schema: dict[str, Any]) -> str | None:
    return complaint(json.dumps(value), json.dumps(schema))


@pytest.mark.parametrize(
    ("schema", "valid", "wrong"),
    [
        ({"type": "string", "pattern": "^[a-z]+[0-9]$"}, "ab1", "ab"),
        ({"pattern": "b"}, "abc", "xyz"),
        ({"patternProperties": {"^n_": {"type": "integer"}}}, {"n_a": 1, "b": "x"}, {"n_a": "x"}),
        (
            {"properties": {"a": {}}, "patternProperties": {"^n_": {}}, "additionalProperties": False},
            {"a": 1, "n_b": 2},
            {"a": 1, "c": 2},
        ),
        (
            {"patternProperties": {"^n_": {}}, "additionalProperties": {"type": "string"}},
            {"n_a": 1, "b": "x"},
            {"n_a": 1, "b": 2},
        ),
        ({"uniqueItems": True}, [1, 2, "1"], [1, 2, 1]),
    ],
)
def test_keywords_follow_the_standard(schema: dict[str, Any], valid: Any, wrong: Any) -> None:
    """The keywords with checks of our own accept and refuse what JSON Schema says."""
    assert _complaint(valid, schema) is None
    assert _complaint(wrong, schema) is not None


def _doubling(depth: int) -> dict[str, Any]:
    """Return a schema whose check doubles with every definition."""
    steps = {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(depth)}
    return {"$ref": "#/$defs/d0", "$defs": {**steps, f"d{depth}": {"type": "string"}}}


@pytest.mark.parametrize(
    ("schema", "answer"),
    [
        ({"pattern": "^(a+)+$"}, "a" * 60 + "!"),
        ({"patternProperties": {"^(a+)+$": {}}}, {"a" * 60 + "!": 1}),
        ({"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {"a" * 60 + "!": 1}),
        ({"uniqueItems": True}, [[i, str(i)] for i in range(20_000)]),
        (_doubling(60), "x"),
    ],
)
def test_no_check_takes_long(schema: dict[str, Any], answer: Any) -> None:
    """Patterns that backtrack, long lists and references that double end within seconds."""
    began = time.monotonic()
    _complaint(answer, schema)
    assert time.monotonic() - began < 20


def test_a_check_that_is_given_up_is_reported() -> None:
    """An answer that cannot be checked is the row's error, in one line."""
    assert _complaint("x", _doubling(60)) == "the answer cannot be checked under the schema: it takes too long"
    assert _complaint("x", _doubling(3)) is None


def test_a_pattern_beyond_linear_time_is_refused_at_once() -> None:
    """Lookahead and references back are named before anything is sent."""
    with pytest.raises(ValueError, match=r"the pattern '\(\?=a\)b' cannot be matched"):
        validator(json.dumps({"items": {"pattern": "(?=a)b"}}))


def test_a_process_that_has_matched_patterns_can_be_forked() -> None:
    """A thread may start a process that runs Python before it becomes another program, as Ray's are started."""
    schema = json.dumps({"type": "string", "pattern": "^a+$"})
    assert complaint('"aaa"', schema) is None
    ended: list[int] = []

    def start() -> None:
        ended.append(subprocess.Popen(["true"], preexec_fn=lambda: None).wait(timeout=60))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert ended == [0]
