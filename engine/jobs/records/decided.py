"""Decisions as records: for each question the choice and its confidence."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.backends.decisions import Decisions, read_decisions, split_scores
from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.records.kinds import Field, Record
from leeroo.engine.jobs.records.rows import check_fields, replace_answer
from leeroo.engine.jobs.records.scalars import SCALARS

_INTEGERS = range(-(2**31), 2**31)


def write_questions(questions: Any) -> str:
    """Return questions with their choices as JSON.

    Raises:
        UsageError: they are not names, each with two or more different choices.
    """
    try:
        given = {name: list(each) if isinstance(each, tuple | range) else each for name, each in questions.items()}
        text = json.dumps(given, ensure_ascii=False)
        read_decisions(text)
    except AttributeError:
        raise UsageError(f"questions are names with their choices, not {questions!r:.80}") from None
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from None
    return text


def decide_rows(engine: Engine, rows: pa.RecordBatchReader, questions: str, criteria: Criteria) -> pa.Table:
    """Decide questions, as `write_questions` gives them, about every row of a table.

    Returns:
        The table with a typed column for each question, one of its confidence, and the columns of `schema.ANSWERS` but
        the first. A row without decisions has NULLs, with the reason as error.

    Raises:
        UsageError: a question has the name of another column.
        InputError, PoolError, OutputError: as `Engine.answer`.

    """
    decisions, prefix = read_decisions(questions), criteria.prefix
    record = _flat_record(decisions)
    check_fields(rows.schema, record, prefix)
    table = engine.answer_table(rows, replace(criteria, decisions=questions))
    said = zip(*(table.column(prefix + name).to_pylist() for name in ("answer", "choice_logprobs")), strict=True)
    values = [None if answer is None else _flat_values(decisions, answer, scores) for answer, scores in said]
    table = table.drop_columns([prefix + name for name in ("confidence", "choice_logprobs", "logprobs")])
    return replace_answer(table, record, values, prefix)


def _flat_record(decisions: Decisions) -> Record:
    fields = []
    for name, choices in decisions.items():
        fields += [Field(name, SCALARS[_type_of(choices)]), Field(f"{name}_confidence", SCALARS["DOUBLE"])]
    try:
        return Record(tuple(fields))
    except ValueError as error:
        raise UsageError(str(error)) from None


def _flat_values(decisions: Decisions, answer: str, scores: Sequence[float | None] | None) -> dict[str, Any]:
    decided = decide(decisions, answer, scores)
    choices = {name: each["choice"] for name, each in decided.items()}
    return {**choices, **{f"{name}_confidence": each["confidence"] for name, each in decided.items()}}


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


def decide(decisions: Decisions, answer: str, scores: Sequence[float | None] | None) -> Mapping[str, Any]:
    """Return the choice of each decision in an answer, and its confidence: None where the model does not say it."""
    chosen = json.loads(answer)
    known = dict.fromkeys(decisions) if scores is None else split_scores(decisions, scores)
    return {
        name: {"choice": chosen[name], "confidence": _confidence(choices, chosen[name], known[name])}
        for name, choices in decisions.items()
    }


def _confidence(choices: Sequence[Any], chosen: Any, scores: Sequence[float | None] | None) -> float | None:
    """Return the probability of a choice among all."""
    known = [score for score in scores or () if score is not None]
    if len(known) < len(choices):
        return None
    at = [json.dumps(each) for each in choices].index(json.dumps(chosen))
    return math.exp(known[at]) / math.fsum(map(math.exp, known))
