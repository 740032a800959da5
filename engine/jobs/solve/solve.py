"""Solve: a complex question is split into steps, each is answered by its best expert, and the parts become one answer.

In the manner of least-to-most prompting (Zhou et al. 2023, "Least-to-Most Prompting Enables Complex Reasoning in Large
Language Models", ICLR) and of HuggingGPT (Shen et al. 2023, NeurIPS), but for a whole batch: all plans are made in one
wave, then the steps of all rows level by level, so that a thousand rows take as many waves as the deepest of them
has levels. Simple questions go straight to their expert, and where a question says itself what its parts are (`split`),
nobody is asked for a plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine, Estimate
from leeroo.engine.batch.prompts import check_columns, marked_private
from leeroo.engine.batch.write import check_names
from leeroo.engine.jobs.solve.decompose import (
    USUAL,
    Limits,
    is_complex,
    plan_prompt,
    plan_schema,
    plan_tokens,
    read_plan,
    within,
)
from leeroo.engine.jobs.solve.split import Step, split
from leeroo.engine.jobs.solve.waves import StepRequest, StepResult, StepRunner, StepWave
from leeroo.engine.jobs.verify import final
from leeroo.engine.schema import SOLVED
from leeroo.engine.tables.values import as_text

__all__ = ["USUAL", "Limits", "Solved", "StepWave", "foresee", "solve", "solve_rows"]

_JOIN = """\
{question}

These parts have been worked out:
{known}

Answer the question with them, as short as possible."""
_STEP_OF = """\
{question}

To answer this, answer only one question first.

{step}"""
# For sharing out a budget: steps of a plan that is not made yet, with joining, and how many steps it is worth itself.
_LIKELY, _PLAN = 4, 2


@dataclass(frozen=True)
class Solved:
    """What came of it.

    Attributes:
        rows: A row of `SOLVED` for each question, or the input with these beside it.
        waves: Each time the engine was asked.
        planned: Rows whose plan by an expert was followed; others of the wave of plans had none to be followed.
    """

    rows: pa.Table
    waves: tuple[StepWave, ...]
    planned: int


@dataclass
class Row:
    """A question, what it was split into, and what has come of that so far."""

    question: str
    private: bool = False
    limits: Limits = USUAL
    preamble: str = ""
    steps: tuple[Step, ...] = ()
    marks: tuple[str, ...] | None = None  # None: the steps are a plan's, and an expert joins the parts
    plan: StepResult = field(default_factory=StepResult)
    done: dict[int, StepResult] = field(default_factory=dict)  # joining the parts comes after the last step
    failed: dict[int, StepResult] = field(default_factory=dict)  # to be asked of another expert

    def split(self) -> bool:
        """Whether it says itself what its steps are; if not it is one for now."""
        parts = split(self.question)
        if parts is None:
            self.steps = (Step(self.question),)
            return False
        self.preamble, self.steps, self.marks = parts.preamble, within(parts.steps, self.limits), parts.marks
        return True

    @property
    def planned(self) -> bool:
        """Whether the steps are those of an expert's plan."""
        return self.marks is None and len(self.steps) > 1

    @property
    def asks(self) -> int:
        """How many there are in all, with joining."""
        return len(self.steps) + self.planned

    @property
    def left(self) -> int:
        """How many are still to be done."""
        return self.asks - len(self.done)

    @property
    def asked(self) -> list[StepResult]:
        """All that was asked for it."""
        return [self.plan, *self.done.values(), *self.failed.values()]

    def ready(self) -> list[int]:
        """What can be done now; what needs a failed step is done with."""
        found = []
        for i in (i for i in range(self.asks) if i not in self.done):
            needs = self.steps[i].needs if i < len(self.steps) else range(len(self.steps))
            if not all(need in self.done for need in needs):
                continue
            failed = [need for need in needs if self.done[need].error is not None]
            if len(failed) > (0 if i < len(self.steps) else len(self.steps) - 1):
                self.done[i] = StepResult(error=f"it needs step {failed[0] + 1}, which failed")
            else:
                found.append(i)
        return found

    def ask(self, i: int) -> StepRequest:
        """A step, or joining, as it is asked."""
        common: dict[str, Any] = {"private": self.private, "max_cost_usd": self.share(self.left)}
        if i in self.failed:
            common["excluded"] = (self.failed[i].expert,)
        if i == len(self.steps):
            known = "\n".join(f"- {self._known(j)}" for j in range(i) if self.done[j].error is None)
            prompt = _JOIN.format(question=self.question, known=known)
            return StepRequest(what="joining", question=self.question, prompt=prompt, **common)
        step = self.steps[i]
        known = "\n".join(self._known(j) for j in step.needs)
        parts = [self.preamble, f"What is known:\n{known}" if known else "", step.task]
        text = "\n\n".join(filter(None, parts))
        # What a planner wrote may lean on what only the question tells.
        shown = _STEP_OF.format(question=self.question, step=text) if self.planned else None
        return StepRequest(what="steps", question=text, prompt=shown, **common)

    def share(self, left: float) -> float | None:
        """What one of so many such asks may cost, of what is left of the row's limit."""
        if self.limits.cost_usd is None:
            return None
        spent = sum(each.list_cost_usd for each in self.asked)
        return max(0.0, self.limits.cost_usd - spent) / max(1, left)

    def take(self, i: int, done: StepResult | None) -> None:
        """What came of a step; one that failed is asked once more, of another expert."""
        before = self.failed.pop(i, StepResult())
        if done is None:
            self.done[i] = before
            return
        if done.error is None and done.answer is None:
            done = replace(done, error="the expert gave no answer")
        if done.error is not None and done.expert is not None and before.error is None:
            self.failed[i] = done
            return
        cost, list_cost = before.cost_usd + done.cost_usd, before.list_cost_usd + done.list_cost_usd
        self.done[i] = replace(done, cost_usd=cost, list_cost_usd=list_cost)

    def _known(self, i: int) -> str:
        mark = self.marks[i] if self.marks else ""
        return f"{f'({mark}) ' if mark else ''}{self.steps[i].task} {final(self.done[i].answer or '')}"


def solve(
    engine: Engine,
    questions: Sequence[str | None],
    criteria: Criteria,
    limits: Limits = USUAL,
    private: Sequence[bool] | None = None,
) -> Solved:
    """Answer questions, complex ones step by step.

    A step that fails is asked of the next best expert; if that fails too, the row says so, and the steps that do not
    need it are done all the same. Call it within `engine.delivery`, until the rows are where they should be: killed
    before that, the same call goes on where it stopped and pays for nothing twice.

    Args:
        engine: With the pool; answers are in its store when this returns.
        questions: A row each; NULL in, NULL out.
        criteria: The budget is that of all rows together, with plans and joining.
        limits: Of a row.
        private: Which rows are asked of local experts only.

    Raises:
        InputError, PoolError, OutputError: as `Engine.answer`.

    """
    if limits.planner is not None:
        engine.pool[limits.planner]  # there is one
    rows = _rows(questions, limits, private)
    there = [row for row in rows if row is not None]
    runner = StepRunner(engine, criteria)
    _plan(there, runner, limits)
    while _do(there, runner):
        pass
    planned = sum(row.planned for row in there)
    return Solved(pa.Table.from_pylist([_told(row) for row in rows], schema=SOLVED), tuple(runner.waves), planned)


def solve_rows(engine: Engine, reader: pa.RecordBatchReader, criteria: Criteria, limits: Limits = USUAL) -> Solved:
    """Solve a column of a table: its rows with the columns of `SOLVED` after their own; otherwise as `solve`.

    Raises:
        InputError: the column is missing, or a column of ours is there.

    """
    check_columns(reader.schema, criteria)
    check_names(reader.schema, SOLVED, criteria.prefix)
    table = reader.read_all()
    private = marked_private(table, criteria)
    questions = as_text(table.column(criteria.column)).to_pylist()
    solved = solve(engine, questions, criteria, limits, None if private is None else private.to_pylist())
    for name in SOLVED.names:
        table = table.append_column(criteria.prefix + name, solved.rows.column(name))
    return replace(solved, rows=table)


def foresee(engine: Engine, questions: Sequence[str], criteria: Criteria, limits: Limits = USUAL) -> Estimate:
    """What solving these would take, as far as it can be seen: plans, and the steps that nobody plans."""
    asks = []
    for row in (row for row in _rows(questions, limits, None) if row is not None):
        if not row.split():
            asks += [_plan_of(row)] if is_complex(row.question) else [StepRequest(what="steps", question=row.question)]
            continue
        texts = ("\n\n".join(filter(None, [row.preamble, step.task])) for step in row.steps)
        asks += [StepRequest(what="steps", question=text) for text in texts]
    return StepRunner(engine, criteria).explain(asks)


def _rows(questions: Sequence[str | None], limits: Limits, private: Sequence[bool] | None) -> list[Row | None]:
    told = private or [False] * len(questions)
    return [None if q is None else Row(q, own, limits) for q, own in zip(questions, told, strict=True)]


def _plan(rows: Sequence[Row], runner: StepRunner, limits: Limits) -> None:
    """Steps for every row."""
    asking = [row for row in rows if not row.split() and is_complex(row.question)]
    later = (sum(row.asks for row in rows) + (_LIKELY - 1) * len(asking)) / _PLAN
    plans = runner.run([_plan_of(row) for row in asking], later, expert=limits.planner) if asking else []
    for row, plan in zip(asking, plans, strict=True):
        row.plan = plan or StepResult()
        row.steps = within(read_plan(row.plan.answer, row.question), limits) or row.steps


def _plan_of(row: Row) -> StepRequest:
    most = row.limits.steps
    return StepRequest(
        what="plans",
        question=row.question,
        prompt=plan_prompt(row.question, most),
        json_schema=plan_schema(most),
        max_tokens=plan_tokens(most),
        private=row.private,
        max_cost_usd=row.share((_PLAN + _LIKELY) / _PLAN),
    )


def _do(rows: Sequence[Row], runner: StepRunner) -> bool:
    """Do all of all rows that can be done now; whether there was anything."""
    ready = [(row, i) for row in rows for i in row.ready()]
    if ready:
        later = sum(row.left for row in rows) - len(ready)
        for (row, i), done in zip(ready, runner.run([row.ask(i) for row, i in ready], later), strict=True):
            row.take(i, done)
    return any(row.left for row in rows)


def _told(row: Row | None) -> dict[str, Any]:
    """A row of `SOLVED`."""
    if row is None:
        return dict.fromkeys(SOLVED.names) | {"cost_usd": 0.0, "list_cost_usd": 0.0}
    steps = [
        {"step": i + 1, "task": step.task, "needs": [need + 1 for need in step.needs], **asdict(row.done[i])}
        for i, step in enumerate(row.steps)
    ]
    named = [f"step {i + 1}: " if len(steps) > 1 else "" for i in range(len(steps))] + ["joining the parts: "]
    wrong = [name + done.error for i, name in enumerate(named) if (done := row.done.get(i)) and done.error is not None]
    return {
        "answer": _answer(row),
        "steps": steps,
        "cost_usd": sum(each.cost_usd for each in row.asked),
        "list_cost_usd": sum(each.list_cost_usd for each in row.asked),
        "error": "; ".join(wrong) or None,
    }


def _answer(row: Row) -> str | None:
    """The one answer; where nobody joined the parts they stand one below the other."""
    answers = [row.done[i].answer for i in range(len(row.steps))]
    if len(answers) == 1 or all(answer is None for answer in answers):
        return answers[0]
    joined = row.done.get(len(row.steps))
    if joined is not None and joined.error is None:
        return joined.answer
    marks = [f"({mark})" if mark else f"{i + 1}." for i, mark in enumerate(row.marks or [""] * len(answers))]
    return "\n".join(
        f"{mark} {'(no answer)' if answer is None else answer}" for mark, answer in zip(marks, answers, strict=False)
    )
