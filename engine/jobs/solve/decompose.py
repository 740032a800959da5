"""Decompose: the steps of a question, as it says them itself or as an expert plans them, within limits."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.solve.split import Step
from leeroo.engine.model_json import parse_json

# Questions shorter than that are simple, and so are those that tell no order of things to be done.
_SIMPLE_WORDS = 20
_ORDER = re.compile(
    r"\b(?:then|after that|afterwards|next|finally|first|based on|using (?:that|this|the)|from (?:that|this)|compare"
    r"|both|each of|for every|respectively|as well as|and (?:what|which|who|when|where|how|why))\b",
    re.IGNORECASE,
)
_PLAN = """\
Split the question into steps that can be answered one by one, each a question that makes sense by itself. Where a step
needs the answer of an earlier step, give that step's number under "needs". Take at most {most} steps, and no more than
are needed; a simple question is one step.

Question: {question}"""
_STEP_TOKENS = 48


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a row may take at most.

    Attributes:
        steps: So many; what is beyond goes into the last.
        depth: So many that need one another.
        cost_usd: What its plan, its steps and joining them are expected to cost in all, at list prices; None for no
            limit.
        planner: The expert that makes plans; chosen as for any question without.

    Raises:
        UsageError: a number that cannot be.
    """

    steps: int = 8
    depth: int = 4
    cost_usd: float | None = None
    planner: str | None = None

    def __post_init__(self) -> None:
        for name in ("steps", "depth"):
            if getattr(self, name) < 1:
                raise UsageError(f"max_{name} must be at least 1, not {getattr(self, name)}")
        if self.cost_usd is not None and not self.cost_usd >= 0:
            raise UsageError(f"a row's limit of {self.cost_usd} USD is not an amount of money: give 0 or more")


USUAL = Limits()


def is_complex(question: str) -> bool:
    """Whether it may take steps that it does not say."""
    words = question.split()
    return len(words) >= _SIMPLE_WORDS and _ORDER.search(question) is not None


def plan_prompt(question: str, most: int) -> str:
    """What a planner is shown."""
    return _PLAN.format(most=most, question=question)


def plan_tokens(most: int) -> int:
    """How long a plan of so many steps may be."""
    return _STEP_TOKENS * most


def plan_schema(most: int) -> str:
    """The JSON schema of a plan."""
    step = {
        "type": "object",
        "properties": {"task": {"type": "string"}, "needs": {"type": "array", "items": {"type": "integer"}}},
        "required": ["task", "needs"],
        "additionalProperties": False,
    }
    steps = {"type": "array", "items": step, "minItems": 1, "maxItems": most}
    return json.dumps(
        {"type": "object", "properties": {"steps": steps}, "required": ["steps"], "additionalProperties": False}
    )


def read_plan(plan: str | None, question: str) -> tuple[Step, ...]:
    """The steps of a plan; none where it is no plan, or says nothing but the question again."""
    try:
        steps = tuple(map(_step, parse_json(plan or "")["steps"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        return ()
    tasks = {step.task.casefold() for step in steps}
    sound = all(step.task and all(0 <= need < i for need in step.needs) for i, step in enumerate(steps))
    return steps if sound and 1 < len(steps) == len(tasks) and question.casefold() not in tasks else ()


def _step(told: Any) -> Step:
    if not all(type(number) is int for number in told["needs"]):
        raise TypeError("steps are numbered")
    return Step(" ".join(told["task"].split()), tuple(sorted({number - 1 for number in told["needs"]})))


def within(steps: tuple[Step, ...], limits: Limits) -> tuple[Step, ...]:
    """The steps, with those beyond the limits put into the last one within."""
    while True:
        level: list[int] = []
        for step in steps:
            level.append(1 + max((level[need] for need in step.needs), default=0))
        deep = next((i for i, depth in enumerate(level) if depth > limits.depth), len(steps))
        if deep == len(steps) <= limits.steps:
            return steps
        last = min(deep, limits.steps) - 1
        rest = steps[last:]
        needs = {need for step in rest for need in step.needs if need < last}
        steps = (*steps[:last], Step(" ".join(step.task for step in rest), tuple(sorted(needs))))
