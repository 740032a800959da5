"""Feedback over HTTP: what users make of answers, one JSON object, a list of them, or JSON lines."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from leeroo.engine.jobs.feedback import give, judged, summary
from leeroo.engine.store import feedback as kept
from leeroo.serve.database import Database
from leeroo.serve.keys import NOBODY
from leeroo.serve.web.dependencies import Door, door, owner
from leeroo.serve.web.objects import WRONG, Wrong
from leeroo.serve.work import batches, files
from leeroo.serve.work.batches import Batch
from leeroo.serve.work.bodies import asked_by, first_mistake
from leeroo.serve.work.lines import no_constant

# Errors that a reply lists.
_ERRORS = 100
# Items of one request, and characters of a gold answer and of a judged one: they are compared word by word.
_ITEMS, _GOLD, _ANSWER = 1000, 1024, 32_768


class Feedback(BaseModel):
    """What one user says of the answer to one question."""

    model_config = ConfigDict(extra="forbid", strict=True)

    question: str | None = Field(default=None, min_length=1, description="As it was asked.")
    custom_id: str | None = Field(default=None, min_length=1, max_length=512, description="Of a line, in its place.")
    batch_id: str | None = Field(default=None, max_length=64, description="The batch of that line.")
    expert: str | None = Field(default=None, description="Who answered; by default whoever did.")
    answer: str | None = Field(
        default=None, max_length=_ANSWER, description="What is judged; by default the latest answer."
    )
    score: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    gold: Annotated[str, StringConstraints(max_length=_GOLD)] | int | float | None = Field(
        default=None, description="What would have been right, in the place of a score."
    )

    @model_validator(mode="after")
    def _says_something(self) -> Feedback:
        if (self.question is None) == (self.custom_id is None) or (self.custom_id is None) != (self.batch_id is None):
            raise ValueError("name the question, or a line by custom_id and batch_id")
        if self.score is None and self.gold is None:
            raise ValueError("give a score or what would have been right (gold)")
        return self


class FeedbackError(BaseModel):
    """Why one of several could not be kept."""

    line: int
    message: str


class FeedbackKept(BaseModel):
    """What became of feedback."""

    object: str = "feedback"
    kept: int
    failed: int
    errors: list[FeedbackError] = Field(description=f"Of the first {_ERRORS} that failed; lines count from 1.")


class ExpertFeedback(BaseModel):
    """What users make of an expert."""

    expert: str
    feedback: int
    mean_score: float


class FeedbackSummary(BaseModel):
    """What users make of all experts that they spoke of."""

    object: str = "list"
    data: list[ExpertFeedback]


router = APIRouter(responses={status: {"model": Wrong, "description": why} for status, why in WRONG.items()})


async def _content(request: Request) -> bytes:
    return await request.body()


_ONE = Feedback.model_json_schema()
_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"anyOf": [_ONE, {"type": "array", "items": _ONE, "minItems": 1}]}},
            "application/jsonl": {"schema": {"type": "string"}},
        },
    }
}


@router.post("/v1/feedback", openapi_extra=_BODY)
def give_feedback(
    who: Annotated[str, Depends(owner)],
    here: Annotated[Door, Depends(door)],
    content: Annotated[bytes, Depends(_content)],
) -> FeedbackKept:
    """Keep what users make of answers: one object, a list of them, or JSON lines. One that is wrong costs no other."""
    numbers, rows, wrong = [], [], []
    lines = _Lines(here, who)
    items = list(itertools.islice(_read(content), _ITEMS + 1))
    if len(items) > _ITEMS:
        raise HTTPException(413, f"there are more than {_ITEMS:,} items: send them in several requests")
    for number, told in items:
        try:
            rows.append(lines.feedback(told))
            numbers.append(number)
        except ValueError as error:
            wrong.append((number, str(error)))
    complaints = _keep(here, rows)
    wrong = sorted(wrong + [(numbers[at], why) for at, why in complaints])
    kept = len(rows) - len(complaints)
    if not kept:
        more = f" ({len(wrong):,} are wrong)" if len(wrong) > 1 else ""
        raise HTTPException(400, f"line {wrong[0][0]}: {wrong[0][1]}{more}" if wrong else "there is no feedback")
    errors = [FeedbackError(line=number, message=why) for number, why in wrong[:_ERRORS]]
    return FeedbackKept(kept=kept, failed=len(wrong), errors=errors)


def _keep(here: Door, rows: list[kept.Feedback]) -> list[tuple[int, str]]:
    """Keep feedback, and return what cannot be kept with its position and the reason.

    With keys a gold alone is kept unseen: the reply must not say whether anybody has asked that question.
    """
    unseen = [at for at, row in enumerate(rows) if row.owner and row.expert is None]
    here.engine.store.give([rows[at] for at in unseen])
    others = [at for at in range(len(rows)) if at not in set(unseen)]
    complaints = give(here.engine.store, [rows[at] for at in others], here.engine.pool.names)
    return [(others[at], why) for at, why in complaints]


@router.get("/v1/feedback")
def feedback_summary(who: Annotated[str, Depends(owner)], here: Annotated[Door, Depends(door)]) -> FeedbackSummary:
    """Return how many outcomes this key gave of each expert, and their mean score."""
    rows = judged(here.engine.store, _as_owner(who) or None)
    told = summary(row for row in rows if row["owner"] == _as_owner(who))
    return FeedbackSummary(
        data=[ExpertFeedback(expert=name, feedback=n, mean_score=mean) for name, (n, mean) in told.items()]
    )


def _as_owner(who: str) -> str:
    """Return whose feedback that of a key is; without keys it is that of the command line."""
    return "" if who == NOBODY else who


def _read(content: bytes) -> Iterator[tuple[int, Any]]:
    """The values in a body with their numbers, from 1; in the place of what cannot be read, the reason (ValueError)."""
    whole = _json(content)
    if not isinstance(whole, ValueError):
        yield from enumerate(whole if isinstance(whole, list) else [whole], start=1)
        return
    for number, line in enumerate(content.splitlines(), start=1):
        if line.strip():
            yield number, _json(line)


def _json(text: bytes) -> Any:
    try:
        return json.loads(text, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        return ValueError(f"not valid JSON: {error.msg} at column {error.colno}")
    except (ValueError, RecursionError) as error:
        return ValueError(f"not valid JSON: {error}")


class _Lines:
    """What was asked and answered under a custom_id, in the batches of one key."""

    def __init__(self, here: Door, who: str) -> None:
        self._here, self._who = here, who
        self._batches: dict[str, dict[str, kept.Feedback]] = {}

    def feedback(self, told: Any) -> kept.Feedback:
        """A value as feedback.

        Raises:
            ValueError: it is none; the message says where and why.

        """
        if isinstance(told, ValueError):
            raise told
        if not isinstance(told, dict):
            raise ValueError("not a JSON object")
        try:
            given = Feedback.model_validate(told)
        except ValidationError as error:
            where, why = first_mistake(error)
            raise ValueError(f"{where}: {why.removeprefix('Value error, ')}") from error
        gold = None if given.gold is None else str(given.gold)
        owner = _as_owner(self._who)
        own = kept.Feedback(given.question or "", given.expert, given.answer, given.score, gold, owner=owner)
        if given.custom_id is None or given.batch_id is None:
            if owner:
                _check_own(given)
            return own
        line = self._of(given.batch_id).get(given.custom_id)
        if line is None:
            raise ValueError(f"{given.batch_id} has no answer under the custom_id {given.custom_id!r}")
        if given.expert not in (None, line.expert):
            return own._replace(question=line.question)
        return own._replace(question=line.question, expert=line.expert, answer=given.answer or line.answer)

    def _of(self, batch_id: str) -> dict[str, kept.Feedback]:
        if batch_id not in self._batches:
            batch = batches.get(self._here.db, self._who, batch_id)
            if batch is None:
                raise ValueError(f"there is no batch {batch_id!r}")
            self._batches[batch_id] = dict(_answered(self._here.db, batch))
        return self._batches[batch_id]


def _check_own(given: Feedback) -> None:
    """Refuse what could only be completed from answers that other keys may have asked for.

    Raises:
        ValueError: an expert or its answer is missing.

    """
    gold_alone = given.expert is None and given.answer is None and given.score is None
    if given.expert is None and not gold_alone:
        raise ValueError("expert: is missing; name the expert, or a line by custom_id and batch_id")
    if given.expert is not None and given.answer is None and given.score is None:
        raise ValueError("answer: is missing; give the expert's answer, or name a line by custom_id and batch_id")


def _answered(db: Database, batch: Batch) -> Iterator[tuple[str, kept.Feedback]]:
    """Question, expert and answer of a batch's lines, by custom_id.

    Raises:
        ValueError: there are none, or no longer.

    """
    if batch.form != "jsonl":
        raise ValueError(f"the lines of {batch.id} have no custom_id: name questions")
    if batch.output_file_id is None:
        raise ValueError(f"{batch.id} is {batch.status} and has no output file")
    try:
        with (
            files.path_of(db, batch.input_file_id).open("rb") as asked,
            files.path_of(db, batch.output_file_id).open("rb") as told,
        ):
            results = {line["custom_id"]: line["response"]["body"] for line in map(json.loads, told)}
            for line in map(json.loads, filter(bytes.strip, asked)):
                body = results.get(line["custom_id"])
                if body is not None:
                    said = body["choices"][0]
                    answer = said["message"]["content"] if "message" in said else said["text"]
                    question = asked_by(batch.endpoint, line["body"]).question or ""
                    yield line["custom_id"], kept.Feedback(question, body["model"], answer)
    except FileNotFoundError as error:
        raise ValueError(f"the files of {batch.id} were deleted: name questions") from error
