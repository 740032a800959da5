"""Solve: a complex question is split into steps, each is answered by its best expert, and the parts become one answer.

In the manner of least-to-most prompting (Zhou et al. 2023, "Least-to-Most Prompting Enables Complex Reasoning in Large
Language Models", ICLR) and of HuggingGPT (Shen et al. 2023, NeurIPS), but for a whole batch: all plans are made in one
wave, then the steps of all rows level by level, so that a thousand rows take as many waves as the deepest of them
has levels. Simple questions go straight to their expert, and where a question says itself what its parts are (`split`),
nobody is asked for a plan.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.batch.prompts import asking
from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.rounds import left_usd, paid_usd
from leeroo.engine.jobs.split import Step, split

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
_JOIN = """\
{question}

These parts have been worked out:
{known}

Answer the question with them, as short as possible."""

STEP = pa.struct(
    [
        pa.field("step", pa.int32()),  # from 1
        pa.field("task", pa.string()),
        pa.field("needs", pa.list_(pa.int32())),
        pa.field("expert", pa.string()),
        pa.field("answer", pa.string()),
        pa.field("cost_usd", pa.float64()),
        pa.field("list_cost_usd", pa.float64()),
        pa.field("error", pa.string()),
    ]
)
SOLVED = pa.schema(
    [
        pa.field("answer", pa.string()),
        pa.field("steps", pa.list_(STEP)),
        pa.field("cost_usd", pa.float64()),
        pa.field("list_cost_usd", pa.float64()),
        pa.field("error", pa.string()),
    ]
)


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a row may take at most.

    Attributes:
        steps: So many; what is beyond goes into the last.
        depth: So many that need one another.
        cost_usd: What its steps are expected to cost in all; None for no limit.
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
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.cost_usd is not None and not self.cost_usd >= 0:
            raise UsageError(f"a row's limit of {self.cost_usd} USD is not an amount of money: give 0 or more")


@dataclass(frozen=True)
class Solved:
    """A row of `SOLVED` for each question, and how many times the engine was asked for all of them together."""

    rows: pa.Table
    waves: int


@dataclass
class _Done:
    """What came of a step."""

    expert: str | None = None
    answer: str | None = None
    cost_usd: float = 0.0
    list_cost_usd: float = 0.0
    error: str | None = None


@dataclass
class _Row:
    question: str
    private: bool
    preamble: str = ""
    steps: tuple[Step, ...] = ()
    marks: tuple[str, ...] | None = None  # None: an expert joins the parts
    done: dict[int, _Done] = field(default_factory=dict)
    plan: _Done = field(default_factory=_Done)
    joined: _Done = field(default_factory=_Done)

    def ready(self) -> list[int]:
        """Steps that can be done now."""
        left = (i for i in range(len(self.steps)) if i not in self.done)
        return [i for i in left if all(need in self.done for need in self.steps[i].needs)]

    def text(self, i: int) -> str:
        """A step as it is asked: with what was told before it, and the answers that it needs."""
        step = self.steps[i]
        known = [f"{self.steps[j].task} {self.done[j].answer}" for j in step.needs]
        told = ["What is known:\n" + "\n".join(known)] if known else []
        return "\n\n".join([*([self.preamble] if self.preamble else []), *told, step.task])

    @property
    def asked(self) -> list[_Done]:
        """All that was asked for it."""
        return [self.plan, *self.done.values(), self.joined]


class _Asker:
    """The engine, asked for many rows at once, with what is left of the budget."""

    def __init__(self, engine: Engine, criteria: Criteria) -> None:
        self.engine, self.waves = engine, 0
        self._criteria = replace(
            criteria, column="question", private_column="private", ask_column="ask", prefix="", on_error="null"
        )
        self._spent = 0.0

    def ask(self, rows: Sequence[_Row], questions: Sequence[str], **given: Sequence[Any]) -> list[_Done]:
        """Have these questions of rows answered as one wave; `given` are columns of `ASK`."""
        if not rows:
            return []
        self.waves += 1
        answers = self.engine.answer(_table(rows, questions, given).to_reader(), self._left()).read_all()
        self.engine.delivered()
        self._spent += paid_usd(answers)
        columns = (answers.column(each.name).to_pylist() for each in fields(_Done))
        return [_Done(*values) for values in zip(*columns, strict=True)]

    def best(
        self, rows: Sequence[_Row], questions: Sequence[str], but: Sequence[str | None], most_usd: Sequence[float]
    ) -> list[str | None]:
        """The best expert for each question but for one, that is expected to cost at most so much, if there is one."""
        expected = self.engine.expect(_table(rows, questions, {}).to_reader(), self._left())
        scores = np.where(expected.costs <= np.array(most_usd)[:, None], expected.scores.astype(np.float64), -np.inf)
        remote = np.array([self.engine.pool[name].location == "remote" for name in expected.experts])
        scores[np.array([row.private for row in rows])[:, None] & remote] = -np.inf
        for i, name in enumerate(but):
            if name in expected.experts:
                scores[i, expected.experts.index(name)] = -np.inf
        best = scores.argmax(axis=1)
        return [expected.experts[j] if np.isfinite(scores[i, j]) else None for i, j in enumerate(best.tolist())]

    def _left(self) -> Criteria:
        return replace(self._criteria, max_cost_usd=left_usd(self._criteria, self._spent))


def solve(
    engine: Engine,
    questions: Sequence[str | None],
    criteria: Criteria,
    limits: Limits = Limits(),
    private: Sequence[bool] | None = None,
) -> Solved:
    """Answer questions, complex ones step by step.

    A step that fails is asked of the next best expert; if that fails too, the row says so, and the steps that do not
    need it are done all the same.

    Args:
        engine: With the pool; answers are in its store when this returns.
        questions: A row each; NULL in, NULL out.
        criteria: The budget is that of all rows together, with plans and joining.
        limits: Of a row.
        private: Which rows are asked of local experts only.

    Raises:
        InputError, PoolError, OutputError: as `Engine.answer`.

    """
    told = private or [False] * len(questions)
    rows = [None if q is None else _Row(q, own) for q, own in zip(questions, told, strict=True)]
    there = [row for row in rows if row is not None]
    asker = _Asker(engine, criteria)
    _plan(there, asker, limits)
    while any(row.ready() for row in there):
        _do(there, asker, limits)
    _join([row for row in there if row.marks is None and len(row.steps) > 1], asker)
    return Solved(pa.Table.from_pylist([_told(row) for row in rows], schema=SOLVED), asker.waves)


def _plan(rows: Sequence[_Row], asker: _Asker, limits: Limits) -> None:
    """Steps for every row."""
    asking = []
    for row in rows:
        parts = split(row.question)
        if parts is not None:
            row.preamble, row.steps, row.marks = parts.preamble, _within(parts.steps, limits), parts.marks
        else:
            row.steps = (Step(row.question),)
            asking += [row] if _complex(row.question) else []
    schema = json.dumps(_schema(limits.steps))
    planned = asker.ask(
        asking,
        [row.question for row in asking],
        prompt=[_PLAN.format(most=limits.steps, question=row.question) for row in asking],
        json_schema=[schema] * len(asking),
        expert=[limits.planner] * len(asking),
    )
    for row, plan in zip(asking, planned, strict=True):
        row.plan = plan
        steps = _read(plan.answer, row.question)
        if steps:
            row.steps = _within(steps, limits)


def _complex(question: str) -> bool:
    """Whether it may take steps that it does not say."""
    words = question.split()
    return len(words) >= _SIMPLE_WORDS and _ORDER.search(question) is not None


def _schema(most: int) -> dict[str, Any]:
    step = {
        "type": "object",
        "properties": {"task": {"type": "string"}, "needs": {"type": "array", "items": {"type": "integer"}}},
        "required": ["task", "needs"],
        "additionalProperties": False,
    }
    steps = {"type": "array", "items": step, "minItems": 1, "maxItems": most}
    return {"type": "object", "properties": {"steps": steps}, "required": ["steps"], "additionalProperties": False}


def _read(plan: str | None, question: str) -> tuple[Step, ...]:
    """The steps of a plan; none where it is no plan, or says nothing but the question again."""
    try:
        told = json.loads(plan or "")["steps"]
        steps = tuple(
            Step(" ".join(each["task"].split()), tuple(sorted({n - 1 for n in each["needs"]}))) for each in told
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return ()
    tasks = {step.task.casefold() for step in steps}
    sound = all(step.task and all(0 <= need < i for need in step.needs) for i, step in enumerate(steps))
    return steps if sound and 1 < len(steps) == len(tasks) and question.casefold() not in tasks else ()


def _within(steps: tuple[Step, ...], limits: Limits) -> tuple[Step, ...]:
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


def _do(rows: Sequence[_Row], asker: _Asker, limits: Limits) -> None:
    """All steps of all rows that can be done now."""
    ready = [(row, i) for row in rows for i in row.ready()]
    for row, i in ready:
        failed = next((need for need in row.steps[i].needs if row.done[need].error is not None), None)
        if failed is not None:
            row.done[i] = _Done(error=f"it needs step {failed + 1}, which failed")
    ready = [(row, i) for row, i in ready if i not in row.done]
    experts: list[str | None] = [None] * len(ready)
    if limits.cost_usd is not None and ready:
        counts = Counter(id(row) for row, _ in ready)
        shares = [(limits.cost_usd - sum(each.cost_usd for each in row.asked)) / counts[id(row)] for row, _ in ready]
        experts = asker.best([row for row, _ in ready], [row.text(i) for row, i in ready], experts, shares)
        for (row, i), expert in zip(ready, experts, strict=True):
            if expert is None:
                row.done[i] = _Done(
                    error=f"no expert is expected to stay within the row's limit of ${limits.cost_usd:g}"
                )
        experts = [expert for expert in experts if expert is not None]
        ready = [(row, i) for row, i in ready if i not in row.done]
    _ask_steps(ready, experts, asker)
    again = [(row, i) for row, i in ready if row.done[i].error is not None and row.done[i].expert is not None]
    if again:
        asked, texts = [row for row, _ in again], [row.text(i) for row, i in again]
        others = asker.best(asked, texts, [row.done[i].expert for row, i in again], [math.inf] * len(again))
        _ask_steps(
            [step for step, other in zip(again, others, strict=True) if other is not None],
            [other for other in others if other is not None],
            asker,
        )


def _ask_steps(steps: Sequence[tuple[_Row, int]], experts: Sequence[str | None], asker: _Asker) -> None:
    answers = asker.ask([row for row, _ in steps], [row.text(i) for row, i in steps], expert=experts)
    for (row, i), done in zip(steps, answers, strict=True):
        row.done[i] = done


def _join(rows: Sequence[_Row], asker: _Asker) -> None:
    """One answer out of the steps of a plan that somebody made."""
    rows = [row for row in rows if any(done.error is None for done in row.done.values())]
    prompts = [
        _JOIN.format(
            question=row.question,
            known="\n".join(
                f"- {step.task} {row.done[i].answer}" for i, step in enumerate(row.steps) if row.done[i].error is None
            ),
        )
        for row in rows
    ]
    for row, done in zip(rows, asker.ask(rows, [row.question for row in rows], prompt=prompts), strict=True):
        row.joined = done


def _told(row: _Row | None) -> dict[str, Any]:
    """A row of `SOLVED`."""
    if row is None:
        return dict.fromkeys(SOLVED.names) | {"cost_usd": 0.0, "list_cost_usd": 0.0}
    steps = [
        {"step": i + 1, "task": step.task, "needs": [need + 1 for need in step.needs], **asdict(row.done[i])}
        for i, step in enumerate(row.steps)
    ]
    wrong = [f"step {step['step']}: {step['error']}" if len(steps) > 1 else step["error"] for step in steps]
    wrong = [error for error, step in zip(wrong, steps, strict=True) if step["error"] is not None]
    if row.joined.error is not None:
        wrong.append(f"joining the parts: {row.joined.error}")
    return {
        "answer": _answer(row),
        "steps": steps,
        "cost_usd": sum(each.cost_usd for each in row.asked),
        "list_cost_usd": sum(each.list_cost_usd for each in row.asked),
        "error": "; ".join(wrong) or None,
    }


def _answer(row: _Row) -> str | None:
    answers = [row.done[i].answer for i in range(len(row.steps))]
    if len(answers) == 1 or all(answer is None for answer in answers):
        return answers[0]
    if row.marks is None:
        return row.joined.answer
    marks = [f"({mark})" if mark else f"{i + 1}." for i, mark in enumerate(row.marks)]
    return "\n".join(
        f"{mark} {'(no answer)' if answer is None else answer}" for mark, answer in zip(marks, answers, strict=False)
    )


def _table(rows: Sequence[_Row], questions: Sequence[str], given: Mapping[str, Sequence[Any]]) -> pa.Table:
    """A table for the engine."""
    return pa.table(
        {
            "question": pa.array(questions, pa.string()),
            "private": pa.array([row.private for row in rows], pa.bool_()),
            "ask": asking(len(rows), given),
        }
    )
