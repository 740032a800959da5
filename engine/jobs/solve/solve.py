"""Solve: a complex question is split into steps, each is answered by its best expert, and the parts become one answer.

After least-to-most prompting (Zhou et al. 2023, "Least-to-Most Prompting Enables Complex Reasoning in Large Language
Models", ICLR) and HuggingGPT (Shen et al. 2023, NeurIPS), but for a whole batch. All plans are made in one run of the
engine, then the steps of all rows level by level. So a thousand rows take as many runs as the deepest of them has
levels. Simple questions go straight to their expert. A question that names its parts itself (`split`) needs no plan.
Knows nothing of how experts are chosen.
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
    STEP_TOKENS,
    USUAL,
    SolveLimits,
    is_complex,
    plan_prompt,
    plan_schema,
    read_plan,
    within,
)
from leeroo.engine.jobs.solve.split import SolveStep, split
from leeroo.engine.jobs.solve.waves import StepRequest, StepResult, StepRunner, StepWave
from leeroo.engine.jobs.verify import final_answer
from leeroo.engine.money import DECIMALS
from leeroo.engine.schema import SOLVED
from leeroo.engine.tables.values import as_text

__all__ = ["USUAL", "SolveLimits", "Solved", "StepWave", "foresee", "solve", "solve_rows"]

_JOIN = """\
{question}

These parts have been worked out:
{known}

Answer the question with them, as short as possible."""
_STEP_OF = """\
{question}

To answer this, answer only one question first.

{step}"""
# For the shares of a budget: the steps of a plan that is not made yet, with joining, and the cost of a plan in steps.
_LIKELY, _PLAN = 4, 2


@dataclass(frozen=True)
class Solved:
    """The outcome of a job.

    Attributes:
        rows: A row of `SOLVED` for each question, or the input with these columns appended.
        waves: The runs of the engine.
        planned: Rows whose plan by an expert was followed; other plans could not be followed.
    """

    rows: pa.Table
    waves: tuple[StepWave, ...]
    planned: int


@dataclass
class SolveRow:
    """A question, its steps, and their results so far."""

    question: str
    private: bool = False
    limits: SolveLimits = USUAL
    preamble: str = ""
    steps: tuple[SolveStep, ...] = ()
    marks: tuple[str, ...] | None = None  # None: the steps are a plan's, and an expert joins the parts
    plan: StepResult = field(default_factory=StepResult)
    done: dict[int, StepResult] = field(default_factory=dict)  # joining the parts comes after the last step
    failed: dict[int, StepResult] = field(default_factory=dict)  # for another expert

    def split(self) -> bool:
        """Split it into the steps that it names itself; without any it is one step for now, and False is returned."""
        parts = split(self.question)
        if parts is None:
            self.steps = (SolveStep(self.question),)
            return False
        self.preamble, self.steps, self.marks = parts.preamble, within(parts.steps, self.limits), parts.marks
        return True

    @property
    def planned(self) -> bool:
        """True if the steps are those of an expert's plan."""
        return self.marks is None and len(self.steps) > 1

    @property
    def total(self) -> int:
        """The number of steps, with joining."""
        return len(self.steps) + self.planned

    @property
    def left(self) -> int:
        """The number of steps still to be done."""
        return self.total - len(self.done)

    @property
    def results(self) -> list[StepResult]:
        """The results of all its requests."""
        return [self.plan, *self.done.values(), *self.failed.values()]

    def ready(self) -> list[int]:
        """Return the steps that can be done now; those that need a failed step fail."""
        found = []
        for i in (i for i in range(self.total) if i not in self.done):
            needs = self.steps[i].needs if i < len(self.steps) else range(len(self.steps))
            if not all(need in self.done for need in needs):
                continue
            failed = [need for need in needs if self.done[need].error is not None]
            if len(failed) > (0 if i < len(self.steps) else len(self.steps) - 1):
                self.done[i] = StepResult(error=f"it needs step {failed[0] + 1}, which failed")
            else:
                found.append(i)
        return found

    def request(self, i: int) -> StepRequest:
        """Return the request of a step, or of joining."""
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
        # A planned step may refer to facts that only the question has.
        shown = _STEP_OF.format(question=self.question, step=text) if self.planned else None
        return StepRequest(what="steps", question=text, prompt=shown, **common)

    def share(self, left: float) -> float | None:
        """Return what one of `left` such requests may cost, from the rest of the row's limit."""
        if self.limits.cost_usd is None:
            return None
        spent = sum(each.list_cost_usd for each in self.results)
        return max(0.0, self.limits.cost_usd - spent) / max(1, left)

    def take(self, i: int, result: StepResult) -> None:
        """Take the result of a step; one that failed goes to another expert once, if there is any."""
        again = i in self.failed
        before = self.failed.pop(i, StepResult())
        if again and result.refused:
            self.done[i] = before
            return
        if result.error is None and result.answer is None:
            result = replace(result, error="the expert gave no answer")
        if result.error is not None and result.expert is not None and before.error is None:
            self.failed[i] = result
            return
        cost, list_cost = before.cost_usd + result.cost_usd, before.list_cost_usd + result.list_cost_usd
        self.done[i] = replace(result, cost_usd=cost, list_cost_usd=list_cost)

    def _known(self, i: int) -> str:
        mark = self.marks[i] if self.marks else ""
        return f"{f'({mark}) ' if mark else ''}{self.steps[i].task} {final_answer(self.done[i].answer or '')}"


def solve(
    engine: Engine,
    questions: Sequence[str | None],
    criteria: Criteria,
    limits: SolveLimits = USUAL,
    private: Sequence[bool] | None = None,
) -> Solved:
    """Answer questions, complex ones step by step.

    A step that fails goes to the next best expert. If that fails too, the row has the error, and the steps that do not
    need it are done all the same. Call it within `engine.delivery`, until the rows are where they should be: killed
    before that, the same call resumes and pays for nothing twice.

    Args:
        engine: With the pool; answers are in its store when this returns.
        questions: A row each; NULL in, NULL out.
        criteria: The budget is that of all rows together, with plans and joining.
        limits: Of a row.
        private: The rows that only local experts may see.

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
    return Solved(pa.Table.from_pylist([_solved_row(row) for row in rows], schema=SOLVED), tuple(runner.waves), planned)


def solve_rows(engine: Engine, reader: pa.RecordBatchReader, criteria: Criteria, limits: SolveLimits = USUAL) -> Solved:
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


def foresee(engine: Engine, questions: Sequence[str], criteria: Criteria, limits: SolveLimits = USUAL) -> Estimate:
    """Estimate what solving these would take, as far as it can be seen: plans, and the steps without a plan."""
    requests: list[StepRequest] = []
    for row in (row for row in _rows(questions, limits, None) if row is not None):
        if row.split():
            texts = ["\n\n".join(filter(None, [row.preamble, step.task])) for step in row.steps]
            requests += [StepRequest(what="steps", question=text) for text in texts]
        elif is_complex(row.question):
            requests.append(_request_plan(row))
        else:
            requests.append(StepRequest(what="steps", question=row.question))
    return StepRunner(engine, criteria).explain(requests)


def _rows(
    questions: Sequence[str | None], limits: SolveLimits, private: Sequence[bool] | None
) -> list[SolveRow | None]:
    marks = private or [False] * len(questions)
    return [None if q is None else SolveRow(q, own, limits) for q, own in zip(questions, marks, strict=True)]


def _plan(rows: Sequence[SolveRow], runner: StepRunner, limits: SolveLimits) -> None:
    """Give every row its steps."""
    unplanned = [row for row in rows if not row.split() and is_complex(row.question)]
    later = (sum(row.total for row in rows) + (_LIKELY - 1) * len(unplanned)) / _PLAN
    plans = runner.run([_request_plan(row) for row in unplanned], later, expert=limits.planner) if unplanned else []
    for row, plan in zip(unplanned, plans, strict=True):
        row.plan = plan
        row.steps = within(read_plan(plan.answer, row.question), limits) or row.steps


def _request_plan(row: SolveRow) -> StepRequest:
    most = row.limits.steps
    return StepRequest(
        what="plans",
        question=row.question,
        prompt=plan_prompt(row.question, most),
        json_schema=plan_schema(most),
        max_tokens=STEP_TOKENS * most,
        private=row.private,
        max_cost_usd=row.share((_PLAN + _LIKELY) / _PLAN),
    )


def _do(rows: Sequence[SolveRow], runner: StepRunner) -> bool:
    """Do all steps of all rows that can be done now; return True while some are left."""
    ready = [(row, i) for row in rows for i in row.ready()]
    if ready:
        later = sum(row.left for row in rows) - len(ready)
        results = runner.run([row.request(i) for row, i in ready], later)
        for (row, i), result in zip(ready, results, strict=True):
            row.take(i, result)
    return any(row.left for row in rows)


def _solved_row(row: SolveRow | None) -> dict[str, Any]:
    """Return a row of `SOLVED`."""
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
        "cost_usd": round(sum(each.cost_usd for each in row.results), DECIMALS),
        "list_cost_usd": round(sum(each.list_cost_usd for each in row.results), DECIMALS),
        "error": "; ".join(wrong) or None,
    }


def _answer(row: SolveRow) -> str | None:
    """Return the one answer; parts that were not joined stand one below the other."""
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
