"""leeroo_extract: what models write around JSON, JSON that is none by the standard, and the reason for each NULL."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leeroo.engine.jobs.extract import extract
from leeroo.udfs.register import connect

NUMBERS = json.dumps({"type": "array", "items": {"type": "number"}})
ANYTHING = "{}"
DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "answer",
    ["[1, 2]", "```json\n[1, 2]\n```", "```\n[1, 2]```", "Here it is:\n```JSON\n[1, 2]\n```\nIs there anything else?"],
)
def test_json_is_found_in_answers(answer: str) -> None:
    """JSON is found alone, in a fenced block, and with words around the block."""
    text, why = extract(answer, NUMBERS)
    assert why is None
    assert json.loads(text or "") == [1, 2]


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("Sorry, I cannot.", "the answer is not JSON: 'Sorry, I cannot.'"),
        ("[1, NaN]", "the answer is not JSON"),
        ("[1e999]", "the answer is not JSON"),
        ("[-Infinity]", "the answer is not JSON"),
        (r'["half \ud800 a character"]', "the answer is not JSON"),
        (DEEP, "the answer is not JSON"),
        (DEEP + "]" * len(DEEP), "the answer is not JSON"),
        ("```json\n[1,\n```", "the answer is not JSON"),
        ('[1, "two"]', "the answer is not valid under the schema: $[1]: 'two' is not of type 'number'"),
    ],
)
def test_text_without_json_says_why(answer: str, says: str) -> None:
    """No text raises an error, however deep it is nested."""
    text, why = extract(answer, NUMBERS)
    assert text is None
    assert (why or "").startswith(says)


def test_an_answer_that_was_cut_off_says_so() -> None:
    """A limit on tokens is the reason, and no fault of the model; what is whole in spite of it is an answer."""
    assert extract("[1, 2", NUMBERS, "length")[1] == "the answer ended by length before its JSON did: raise max_tokens"
    assert extract("[1, 2]", NUMBERS, "length") == ("[1, 2]", None)


def test_nesting_too_deep_to_check_is_a_reason() -> None:
    """A schema that looks at every level gives up in words."""
    nested = json.dumps({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}})
    why = extract("[" * 300 + "]" * 300, nested)[1]
    assert why is None or why.startswith("the answer cannot be checked")


def test_one_odd_answer_costs_no_other_row(api: Any, api_entry: Callable[..., str], tmp_path: Path) -> None:
    """Odd rows are NULL with their reason in leeroo_extracted; the others are JSON, the statement goes on."""
    answers = {"good": "[1]", "fenced": "```json\n[2]\n```", "deep": DEEP, "odd": "[1e999]", "prose": "None found."}
    api.says = lambda _, prompt: next(answer for word, answer in answers.items() if word in prompt)
    pool = tmp_path / "pool.toml"
    pool.write_text(api_entry("m", 1, 100))
    table = "(VALUES (1, 'good'), (2, 'fenced'), (3, 'deep'), (4, 'odd'), (5, 'prose'), (6, NULL)) v(i, q)"
    said: list[str] = []
    with connect(pool=pool, store=tmp_path / "store", on_warning=said.append) as con:
        rows = con.execute(f"SELECT leeroo_extract(q, '{NUMBERS}') FROM {table} ORDER BY i").fetchall()
        why = con.execute(
            f"SELECT e.value, e.error FROM (SELECT i, leeroo_extracted(q, '{NUMBERS}') AS e FROM {table}) ORDER BY i"
        )
        reasons = why.fetchall()
    assert [None if row[0] is None else json.loads(row[0]) for row in rows] == [[1], [2], None, None, None, None]
    assert [row[1] is None for row in reasons] == [True, True, False, False, False, True]
    assert "None found." in reasons[4][1]
    assert "3 of 5 questions asked have no answer" in said[0]
