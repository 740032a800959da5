"""The form that a row requires - a choice, JSON under a schema, log probabilities - holds, or the row fails."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from leeroo.engine.backends.choices import find_choice
from leeroo.engine.backends.schemas import complaint
from tests.provider import Provider

if TYPE_CHECKING:
    from tests.backends.conftest import Ask

CITY = json.dumps({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]})


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ('{"city": "Rome"}', '{"city": "Rome"}'),
        ('```json\n{"city": "Rome"}\n```', '{"city": "Rome"}'),
        ('```\n{"city": "Rome"}\n```\n', '{"city": "Rome"}'),
        ('<think>{"a": 1}</think>{"city": "Rome"}', '{"city": "Rome"}'),
        ("this is no json", None),
        ("[1,2", None),
        ('{"city": 7}', None),
        ('{"city": NaN}', None),
        ("[" * 5000, None),
    ],
)
def test_json_is_valid_under_its_schema(api: Provider, ask: Ask, said: str, answer: str | None) -> None:
    """A fence of Markdown is taken off; what is not JSON, or not valid, is the row's error and is billed."""
    api.says = lambda model, prompt: said
    (row,) = ask("hi", json_schema=CITY)
    assert row["answer"] == answer
    assert (row["error"] is None) == (answer is not None)
    assert (row["prompt_tokens"], row["completion_tokens"], row["bounced"]) == (12, 3, False)


def test_json_that_was_cut_off_says_so(api: Provider, ask: Ask) -> None:
    """A limit on tokens is the reason, and no fault of the model."""
    api.faults["hi"] = ["cut_json"]
    (row,) = ask("hi", json_schema=CITY)
    assert row["answer"] is None
    assert row["error"].endswith("the answer ended by length before its JSON did: raise max_tokens")


def test_any_object_has_its_own_mode(api: Provider, ask: Ask) -> None:
    """The schema of any JSON object is sent as json_object, every other one as json_schema."""
    api.says = lambda model, prompt: "{}" if prompt == "any" else '{"city": ""}'
    ask("any", json_schema='{"type": "object"}')
    ask("city", json_schema=CITY)
    assert api.bodies[0]["response_format"] == {"type": "json_object"}
    assert api.bodies[1]["response_format"]["json_schema"]["schema"] == json.loads(CITY)


@pytest.mark.parametrize("schema", ["no json", '{"type": "cow"}', "[" * 5000, '{"$schema": [1], "type": 1}'])
def test_a_schema_that_is_none_costs_nothing(api: Provider, ask: Ask, schema: str) -> None:
    """The row fails before anything is sent."""
    (row,) = ask("hi", json_schema=schema)
    assert "json_schema is not a JSON schema" in row["error"]
    assert not api.asked


def test_a_schema_fetches_nothing() -> None:
    """A reference to a schema elsewhere is not followed."""
    assert "cannot be checked" in (complaint("{}", '{"$ref": "http://127.0.0.1:9/schema.json"}') or "")


LISTED = "Which is it?\nA. positive\nB. very negative\nC. Blue (light)"


@pytest.mark.parametrize(
    ("said", "choice"),
    [
        ("A", "A"),
        ("a", "A"),
        ("A.", "A"),
        ("A) positive", "A"),
        ("(A)", "A"),
        ("**A**", "A"),
        ("Answer: A", "A"),
        ("**Answer:** B", "B"),
        ("The answer is A.", "A"),
        ("The correct answer is (B).", "B"),
        ('"A"', "A"),
        ("Option A", "A"),
        ("The answer is option (B)", "B"),
        ("positive", "A"),
        ("Very negative.", "B"),
        ("Answer: very negative", "B"),
        ("Blue (light)", "C"),
        ("neither", None),
        ("D", None),
        ("negative", None),
        ("answer " * 50_000, None),
    ],
)
def test_a_choice_is_named_in_many_ways(said: str, choice: str | None) -> None:
    """Brackets, quotes, introductions and the choice's own text name it; anything else names none."""
    assert find_choice(said, ["A", "B", "C"], LISTED) == choice


def test_choices_that_look_like_introductions_are_choices() -> None:
    """A label is read as such before it is taken for an introduction of one."""
    assert find_choice("option", ["option", "answer"]) == "option"
    assert find_choice("Label: spam!", ["spam", "no spam"]) == "spam"


def test_an_answered_choice_is_kept_without_its_probability(api: Provider, ask: Ask) -> None:
    """An answer is kept though the log probabilities never name it."""
    api.says = lambda model, prompt: {"spam": 0.9, "Hmm": 0.1} if prompt == "known" else "spam"
    api.does = {"other": "logprobs_elsewhere"}
    known, other = ask("known", "other", choices=["spam", "ham"])
    assert known["answer"] == other["answer"] == "spam"
    assert other["choice_logprobs"] is None
    # A choice that is not among the returned ones is no likelier than the last of them.
    assert known["choice_logprobs"] == pytest.approx([-0.10536, -2.302585], abs=1e-4)


def test_log_probabilities_come_back_in_openais_form(api: Provider, ask: Ask) -> None:
    """The request wants as many alternatives as the row does, and only such rows get them."""
    (row,) = ask("hi", top_logprobs=2)
    assert (api.bodies[0]["logprobs"], api.bodies[0]["top_logprobs"]) == (True, 2)
    (token,) = json.loads(row["logprobs"])
    assert token["token"] == "echo: hi"
    assert token["top_logprobs"][0].keys() == {"token", "logprob", "bytes"}
    (row,) = ask("hi")
    assert row["logprobs"] is None
