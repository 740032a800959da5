"""Decisions: several questions about one text, each with some choices, which one request answers.

They are a JSON object of names and lists of choices: texts, numbers, true and false. The answer is a JSON object of
names and choices. This module knows nothing of models.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from leeroo.engine.backends.choices import find_choice, likeliest, split_lists
from leeroo.engine.backends.schemas import without_fence
from leeroo.engine.model_json import parse_json

Decisions = Mapping[str, tuple[Any, ...]]


@functools.lru_cache(maxsize=64)
def read_decisions(text: str) -> Decisions:
    """Read decisions from JSON.

    Raises:
        ValueError: they are not an object of names, each with two or more different choices.
    """
    try:
        given = parse_json(text)
    except ValueError:
        given = None
    if not isinstance(given, dict) or not given:
        raise ValueError("decisions must be names with their choices, such as {'urgent': ['yes', 'no']}")
    for name, choices in given.items():
        if (why := _complaint(choices)) is not None:
            raise ValueError(f"the decision {name!r} {why}")
    return MappingProxyType({name: tuple(choices) for name, choices in given.items()})


def decisions_complaint(text: str | None) -> str | None:
    """Return why a text cannot be read as decisions; None where it can, or where there is none."""
    try:
        if text is not None:
            read_decisions(text)
    except ValueError as error:
        return str(error)
    return None


def _complaint(choices: Any) -> str | None:
    if not isinstance(choices, list):
        return f"needs a list of choices, not {as_json(choices)[:80]}"
    if None in choices:
        return "has a choice that is NULL"
    if any(isinstance(each, dict | list) or (isinstance(each, str) and not each.strip()) for each in choices):
        return "has a choice that is blank, or no text, number or boolean"
    if len({as_json(each) for each in choices}) < len(choices):
        return "has a choice twice"
    return None if len(choices) > 1 else f"needs at least two choices, not {len(choices)}"


def as_json(value: Any) -> str:
    """Return a value as JSON text."""
    return json.dumps(value, ensure_ascii=False)


def answer_schema(decisions: Decisions) -> dict[str, Any]:
    """Return the JSON schema of an answer."""
    properties = {name: {"enum": list(choices)} for name, choices in decisions.items()}
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def replies(decisions: Decisions) -> list[list[str]]:
    """Return what a model may reply to each decision alone: a JSON object with one of its choices."""
    return [[as_json({name: choice}) for choice in choices] for name, choices in decisions.items()]


def split_scores(decisions: Decisions, scores: Sequence[Any]) -> dict[str, Sequence[Any]]:
    """Return the scores of the choices of each decision, which come one after the other."""
    return dict(zip(decisions, split_lists(scores, list(decisions.values())), strict=True))


def likeliest_answer(decisions: Decisions, scores: Sequence[float]) -> str:
    """Return the answer with the likeliest choice of each decision."""
    return as_json({name: decisions[name][likeliest(own)] for name, own in split_scores(decisions, scores).items()})


def find_decisions(answer: str, decisions: Decisions) -> str:
    """Return the choices that a reply names, as JSON in the order of the decisions.

    Raises:
        ValueError: it is no JSON object, or has no choice for one of them.
    """
    try:
        said = parse_json(without_fence(answer))
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise ValueError(f"the answer is no JSON object: {answer[:80]!r}")
    return as_json({name: _chosen(name, choices, said) for name, choices in decisions.items()})


def _chosen(name: str, choices: Sequence[Any], said: dict[str, Any]) -> Any:
    """Return the choice that a reply has for a decision; raises as `find_decisions`."""
    if said.get(name) is None:
        raise ValueError(f"the answer has no choice for {name!r}")
    texts = [each if isinstance(each, str) else as_json(each) for each in choices]
    given = said[name] if isinstance(said[name], str) else as_json(said[name])
    found = given if given in texts else find_choice(given, texts)
    if found is None:
        raise ValueError(f"the answer {given[:80]!r} is none of the choices for {name!r}")
    return choices[texts.index(found)]
