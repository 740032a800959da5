"""Runs of one job: the steps of many rows are answered by the engine, several times over, within one budget.

Each run gets a part of the rest of the budget: the part that its requests are of all that are still to come. So the
first does not spend what the last needs. The budget counts list prices, also for answers that the store already has.
So a repeated job chooses the same experts in the same runs, and nothing is paid for twice. Knows nothing of plans.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine, Estimate
from leeroo.engine.batch.prompts import build_asks
from leeroo.engine.jobs.questions import left_usd
from leeroo.engine.schema import ASK


@dataclass(frozen=True, kw_only=True)
class StepRequest:
    """A step on its way to the engine; fields that `schema.ASK` names are handed on as they are.

    Attributes:
        what: Its kind, in a word for people.
        question: The text that routers and recorded outcomes know it by.
        prompt: Shown in place of the question.
        json_schema, max_tokens: Of its answer.
        expert: Answers it; one is chosen by default.
        system: In place of the expert's own.
        private: Only local experts may see it.
        excluded: The experts that have failed on it.
        max_cost_usd: Its expected cost may not be higher.
    """

    what: str
    question: str
    prompt: str | None = None
    json_schema: str | None = None
    max_tokens: int | None = None
    expert: str | None = None
    system: str | None = None
    private: bool = False
    excluded: tuple[str, ...] | None = None
    max_cost_usd: float | None = None

    @property
    def constrained(self) -> bool:
        """True if it may not go to every expert."""
        return self.excluded is not None or self.max_cost_usd is not None


_ARGUMENTS = [field.name for field in fields(StepRequest) if field.name in ASK.names]


@dataclass(frozen=True)
class StepResult:
    """The outcome of a request: columns of the answers."""

    expert: str | None = None
    answer: str | None = None
    cost_usd: float = 0.0
    list_cost_usd: float = 0.0
    error: str | None = None
    finish_reason: str | None = None

    @property
    def refused(self) -> bool:
        """True if no expert could answer."""
        return self.expert is None and self.error is not None


@dataclass(frozen=True)
class StepWave:
    """The figures of one run."""

    what: str
    asked: int
    failed: int
    cost_usd: float
    experts: Mapping[str, int]  # how many were answered by each


class StepRunner:
    """The engine with the rest of a job's budget."""

    def __init__(self, engine: Engine, criteria: Criteria) -> None:
        self.waves: list[StepWave] = []
        self._engine = engine
        self._criteria = replace(
            criteria, column="question", private_column="private", ask_column="ask", prefix="", on_error="null"
        )
        self._spent = 0.0

    def run(self, requests: Sequence[StepRequest], later: float = 0, expert: str | None = None) -> list[StepResult]:
        """Have all of these answered in one run.

        Args:
            requests: [n].
            later: How many more such requests will come, weighted by their expected cost.
            expert: Answers all of them.

        """
        criteria = self._share(len(requests), later)
        if expert is not None:  # a row's own expert is still known to the router, that of a run is not
            criteria = replace(criteria, expert=None)
        answers = self._engine.answer_table(_table(requests, expert).to_reader(), criteria)
        columns = (answers.column(each.name).to_pylist() for each in fields(StepResult))
        results = [StepResult(*values) for values in zip(*columns, strict=True)]
        self._count(requests, results)
        return results

    def explain(self, requests: Sequence[StepRequest]) -> Estimate:
        """Estimate what these would take; nothing is generated."""
        return self._engine.explain(_table(requests, None).to_reader(), self._share(1, 0))

    def _share(self, now: int, later: float) -> Criteria:
        """Return the criteria of a run."""
        left = left_usd(self._criteria, self._spent)
        share = None if left is None else left * now / max(1, now + later)
        return replace(self._criteria, max_cost_usd=share)

    def _count(self, requests: Sequence[StepRequest], results: Sequence[StepResult]) -> None:
        # Nothing was sent where a request's own constraints leave no expert.
        pairs = zip(requests, results, strict=True)
        sent = [(request, result) for request, result in pairs if not (request.constrained and result.refused)]
        if not sent:
            return
        distinct = {(each.question, each.prompt, each.private): result.list_cost_usd for each, result in sent}
        self._spent += sum(distinct.values())
        results = [result for _, result in sent]
        what = " and ".join(dict.fromkeys(request.what for request, _ in sent))
        experts = Counter(each.expert for each in results if each.expert is not None)
        failed = sum(each.error is not None for each in results)
        self.waves.append(StepWave(what, len(sent), failed, sum(each.cost_usd for each in results), dict(experts)))


def _table(requests: Sequence[StepRequest], expert: str | None) -> pa.Table:
    """Return a table for the engine; `expert` answers all of it where it is given."""
    arguments = {name: [getattr(each, name) for each in requests] for name in _ARGUMENTS}
    if expert is not None:
        arguments["expert"] = [expert] * len(requests)
    return pa.table(
        {
            "question": pa.array([each.question for each in requests], pa.string()),
            "private": pa.array([each.private for each in requests], pa.bool_()),
            "ask": build_asks(len(requests), arguments),
        }
    )
