"""Decisions as records: for each question the choice and its confidence."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

from leeroo.engine.backends.decisions import Decisions, split_scores
from leeroo.engine.jobs.records.kinds import SCALARS, Field, Record

# The types of choices, the first that all of a question fit; text fits any.
_INTEGERS = range(-(2**31), 2**31)


def decided_record(decisions: Decisions) -> Record:
    """Return the record of decisions, each with a choice of its type and a confidence."""
    confidence = Field("confidence", SCALARS["DOUBLE"])
    return Record(
        tuple(
            Field(name, Record((Field("choice", SCALARS[_type_of(choices)]), confidence)))
            for name, choices in decisions.items()
        )
    )


def _type_of(choices: Sequence[Any]) -> str:
    if all(isinstance(each, bool) for each in choices):
        return "BOOLEAN"
    if any(isinstance(each, str | bool) for each in choices):
        return "VARCHAR"
    if all(isinstance(each, int) for each in choices):
        return "INTEGER" if all(each in _INTEGERS for each in choices) else "BIGINT"
    return "DOUBLE"


def decided_json(decisions: Decisions, answer: str, scores: Sequence[float | None] | None) -> str:
    """Return the decisions of an answer as JSON, each with its confidence: null where the model does not say it."""
    chosen = json.loads(answer)
    known = dict.fromkeys(decisions) if scores is None else split_scores(decisions, scores)
    return json.dumps(
        {
            name: {"choice": chosen[name], "confidence": _confidence(choices, chosen[name], known[name])}
            for name, choices in decisions.items()
        },
        ensure_ascii=False,
    )


def _confidence(choices: Sequence[Any], chosen: Any, scores: Sequence[float | None] | None) -> float | None:
    """Return the probability of a choice among all."""
    known = [score for score in scores or () if score is not None]
    if len(known) < len(choices):
        return None
    at = [json.dumps(each) for each in choices].index(json.dumps(chosen))
    return math.exp(known[at]) / math.fsum(map(math.exp, known))
