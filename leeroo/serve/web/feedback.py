"""Feedback over HTTP: what users say of answers, as one JSON object, a list of them, or JSON lines."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from leeroo.engine.jobs.feedback import give, judge_feedback, summary
from leeroo.engine.store.feedback import Feedback
from leeroo.serve.keys import store_owner
from leeroo.serve.lines.bodies import first_mistake
from leeroo.serve.lines.read import no_constant
from leeroo.serve.web.dependencies import Owner, ServerState, State
from leeroo.serve.web.errors import RequestError
from leeroo.serve.web.objects import WRONG, Wrong
from leeroo.serve.work import answered_lines, batches
from leeroo.serve.work.batches import Batch

# Errors that a reply lists.
_ERRORS = 100
# Items of one request, and characters of a gold answer and of a judged one: they are compared word by word.
_ITEMS, _GOLD, _ANSWER = 1000, 1024, 32_768


class FeedbackItem(BaseModel):
    """A user's judgement of the answer to one question."""

    model_config = ConfigDict(extra="forbid", strict=True, title="Feedback")

    question: str | None = Field(default=None, min_length=1, description="The question of the row or line.")
    custom_id: str | None = Field(
        default=None, min_length=1, max_length=512, description="Of a line, instead of the question."
    )
    batch_id: str | None = Field(default=None, max_length=64, description="The batch of that line.")
    expert: str | None = Field(default=None, description="Who answered; by default whoever did.")
    answer: str | None = Field(
        default=None, max_length=_ANSWER, description="The answer that is judged; by default the latest one."
    )
    score: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    gold: Annotated[str, StringConstraints(max_length=_GOLD)] | int | float | None = Field(
        default=None, description="What would have been right, instead of a score."
    )

    @model_validator(mode="after")
    def _says_something(self) -> FeedbackItem:
        if (self.question is None) == (self.custom_id is None) or (self.custom_id is None) != (self.batch_id is None):
            raise ValueError("name the question, or a line by custom_id and batch_id")
        if self.score is None and self.gold is None:
            raise ValueError("give a score or what would have been right (gold)")
        return self


class FeedbackError(BaseModel):
    """Why one of several items could not be kept."""

    line: int
    message: str


class FeedbackKept(BaseModel):
    """The number of items kept, and why others were not."""

    object: str = "feedback"
    kept: int
    failed: int
    errors: list[FeedbackError] = Field(description=f"Of the first {_ERRORS} that failed; lines count from 1.")


class ExpertFeedback(BaseModel):
    """Users' judgement of an expert."""

    expert: str
    feedback: int
    mean_score: float


class FeedbackSummary(BaseModel):
    """Users' judgement of all experts that they rated."""

    object: str = "list"
    data: list[ExpertFeedback]


router = APIRouter(responses={status: {"model": Wrong, "description": why} for status, why in WRONG.items()})


async def _content(request: Request) -> bytes:
    return await request.body()


_ONE = FeedbackItem.model_json_schema()
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
    owner: Owner,
    state: State,
    content: Annotated[bytes, Depends(_content)],
) -> FeedbackKept:
    """Keep what users say of answers: one object, a list of them, or JSON lines. A wrong one costs no other."""
    numbers, rows, wrong = [], [], []
    items = _Items(state, owner)
    values = _read(content)
    if len(values) > _ITEMS:
        raise RequestError(413, f"there are more than {_ITEMS:,} items: send them in several requests")
    for number, value in values:
        try:
            rows.append(items.feedback(value))
            numbers.append(number)
        except ValueError as error:
            wrong.append((number, str(error)))
    complaints = _keep(state, rows)
    wrong = sorted(wrong + [(numbers[at], why) for at, why in complaints])
    kept = len(rows) - len(complaints)
    if not kept:
        more = f" ({len(wrong):,} are wrong)" if len(wrong) > 1 else ""
        raise RequestError(400, f"line {wrong[0][0]}: {wrong[0][1]}{more}" if wrong else "there is no feedback")
    errors = [FeedbackError(line=number, message=why) for number, why in wrong[:_ERRORS]]
    return FeedbackKept(kept=kept, failed=len(wrong), errors=errors)


def _keep(state: ServerState, rows: list[Feedback]) -> list[tuple[int, str]]:
    """Keep feedback, and return what cannot be kept with its position and the reason.

    With keys a gold alone is kept unseen: the reply must not say whether that question has been answered.
    """
    unseen = [at for at, row in enumerate(rows) if row.owner and row.expert is None]
    state.engine.store.give([rows[at] for at in unseen])
    others = [at for at in range(len(rows)) if at not in set(unseen)]
    complaints = give(state.engine.store, [rows[at] for at in others], state.engine.pool.names)
    return [(others[at], why) for at, why in complaints]


@router.get("/v1/feedback")
def feedback_summary(owner: Owner, state: State) -> FeedbackSummary:
    """Return how many outcomes this key gave of each expert, and their mean score."""
    rows = judge_feedback(state.engine.store, store_owner(owner) or None)
    means = summary(row for row in rows if row["owner"] == store_owner(owner))
    return FeedbackSummary(
        data=[ExpertFeedback(expert=name, feedback=n, mean_score=mean) for name, (n, mean) in means.items()]
    )


def _read(content: bytes) -> list[tuple[int, Any]]:
    """Return the values in a body with their numbers, from 1; those of JSON lines are still bytes."""
    try:
        whole = _json(content)
    except ValueError:
        return [(number, line) for number, line in enumerate(content.splitlines(), start=1) if line.strip()]
    return list(enumerate(whole if isinstance(whole, list) else [whole], start=1))


def _json(text: bytes) -> Any:
    try:
        return json.loads(text, parse_constant=no_constant)
    except json.JSONDecodeError as error:
        raise ValueError(f"not valid JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON: {error}") from error


class _Items:
    """The items of one request, and the batches that they name."""

    def __init__(self, state: ServerState, owner: str) -> None:
        self._db, self._key, self._owner = state.db, owner, store_owner(owner)
        self._batches: dict[str, Batch] = {}

    def feedback(self, value: Any) -> Feedback:
        """Return a value as feedback.

        Raises:
            ValueError: it is none; the message says where and why.

        """
        given = _item(value)
        gold = None if given.gold is None else str(given.gold)
        own = Feedback(given.question or "", given.expert, given.answer, given.score, gold, owner=self._owner)
        if given.custom_id is None or given.batch_id is None:
            if self._owner:
                _check_own(given)
            return own
        line = answered_lines.find(self._db, self._batch(given.batch_id), given.custom_id)
        if line is None:
            raise ValueError(f"{given.batch_id} has no answer under the custom_id {given.custom_id!r}")
        if given.expert not in (None, line.expert):
            return own._replace(question=line.question)
        return own._replace(question=line.question, expert=line.expert, answer=given.answer or line.answer)

    def _batch(self, batch_id: str) -> Batch:
        """Return a batch whose answers can be found by custom_id.

        Raises:
            ValueError: there is none, or it has no answers, or no longer.

        """
        if batch_id not in self._batches:
            batch = batches.get(self._db, self._key, batch_id)
            if batch is None:
                raise ValueError(f"there is no batch {batch_id!r}")
            if batch.form != "jsonl":
                raise ValueError(f"the lines of {batch.id} have no custom_id: name questions")
            if batch.output_file_id is None:
                raise ValueError(f"{batch.id} is {batch.status} and has no output file")
            try:
                answered_lines.ensure(self._db, batch)
            except FileNotFoundError as error:
                raise ValueError(f"the files of {batch.id} were deleted: name questions") from error
            self._batches[batch_id] = batch
        return self._batches[batch_id]


def _item(value: Any) -> FeedbackItem:
    """Check a value of a body.

    Raises:
        ValueError: it is no item; the message says where and why.

    """
    if isinstance(value, bytes):
        value = _json(value)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    try:
        return FeedbackItem.model_validate(value)
    except ValidationError as error:
        where, why = first_mistake(error)
        raise ValueError(f"{where}: {why.removeprefix('Value error, ')}") from error


def _check_own(given: FeedbackItem) -> None:
    """Refuse an item that only answers to requests of other keys could complete.

    Raises:
        ValueError: an expert or its answer is missing.

    """
    gold_alone = given.expert is None and given.answer is None and given.score is None
    if given.expert is None and not gold_alone:
        raise ValueError("expert: is missing; name the expert, or a line by custom_id and batch_id")
    if given.expert is not None and given.answer is None and given.score is None:
        raise ValueError("answer: is missing; give the expert's answer, or name a line by custom_id and batch_id")
