"""Decompose: the prompt for a plan, the steps in a plan, and the limits of both. Knows nothing of the engine."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.solve.split import SolveStep
from leeroo.engine.model_json import parse_json

# Questions of fewer words are simple, and so are those that name no order of steps.
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
STEP_TOKENS = 48  # of one step of a plan


@dataclass(frozen=True, kw_only=True)
class SolveLimits:
    """The limits of one row.

    Attributes:
        steps: Most steps; those beyond go into the last.
        depth: Most steps that need one another.
        cost_usd: Most that plan, steps and joining may be expected to cost together, at list prices; None for no limit.
        planner: The expert that makes plans; chosen as for any question by default.

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


USUAL = SolveLimits()


def is_complex(question: str) -> bool:
    """Say if a question may need steps that it does not name."""
    words = question.split()
    return len(words) >= _SIMPLE_WORDS and _ORDER.search(question) is not None


def plan_prompt(question: str, most: int) -> str:
    """Return the prompt for a plan."""
    return _PLAN.format(most=most, question=question)


def plan_schema(most: int) -> str:
    """Return the JSON schema of a plan."""
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


def read_plan(plan: str | None, question: str) -> tuple[SolveStep, ...]:
    """Read the steps of a plan; none where it is no plan, or only repeats the question."""
    try:
        steps = tuple(map(_step, parse_json(plan or "")["steps"]))
    except (ValueError, TypeError, KeyError, AttributeError):
        return ()
    tasks = {step.task.casefold() for step in steps}
    sound = all(step.task and all(0 <= need < i for need in step.needs) for i, step in enumerate(steps))
    return steps if sound and 1 < len(steps) == len(tasks) and question.casefold() not in tasks else ()


def _step(given: Any) -> SolveStep:
    if not all(type(number) is int for number in given["needs"]):
        raise TypeError("steps are numbered")
    return SolveStep(" ".join(given["task"].split()), tuple(sorted({number - 1 for number in given["needs"]})))


def within(steps: tuple[SolveStep, ...], limits: SolveLimits) -> tuple[SolveStep, ...]:
    """Return the steps, with those beyond the limits put into the last one within."""
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
        steps = (*steps[:last], SolveStep(" ".join(step.task for step in rest), tuple(sorted(needs))))
