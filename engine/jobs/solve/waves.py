"""Runs of one job: the steps of many rows are answered by the engine, several times over, within one budget.

Each run gets a part of the rest of the budget: the part that its requests are of all that are still to come. So the
first does not spend what the last needs. The budget counts list prices, also for answers that the store already has.
So a repeated job chooses the same experts in the same runs, and nothing is paid for twice. Knows nothing of plans.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine, Estimate
from leeroo.engine.backends.select import unavailable
from leeroo.engine.batch.prompts import asking
from leeroo.engine.jobs.questions import left_usd
from leeroo.engine.money import usd
from leeroo.engine.orchestrator.choose import choose
from leeroo.engine.schema import ASK


@dataclass(frozen=True, kw_only=True)
class StepRequest:
    """A step on its way to the engine; fields that `schema.ASK` names are handed on as they are.

    Attributes:
        what: Its kind, in a word for people.
        question: The text that routers and recorded outcomes know it by.
        prompt: Shown in place of the question.
        json_schema, max_tokens: Of its answer.
        private: Only local experts may see it.
        most_usd: Its expected cost may not be higher.
        but: The expert that has failed on it.
    """

    what: str
    question: str
    prompt: str | None = None
    json_schema: str | None = None
    max_tokens: int | None = None
    private: bool = False
    most_usd: float | None = None
    but: str | None = None


_ARGUMENTS = [field.name for field in fields(StepRequest) if field.name in ASK.names]


@dataclass(frozen=True)
class StepResult:
    """The outcome of a request: columns of the answers."""

    expert: str | None = None
    answer: str | None = None
    cost_usd: float = 0.0
    list_cost_usd: float = 0.0
    error: str | None = None


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

    def run(
        self, requests: Sequence[StepRequest], later: float = 0, expert: str | None = None
    ) -> list[StepResult | None]:
        """Have all of these answered in one run.

        Args:
            requests: [n].
            later: How many more such requests will come, weighted by their expected cost.
            expert: Answers all of them.

        Returns:
            The result of each; None for one that has failed before and that no other expert may answer.

        """
        criteria = self._share(len(requests), later)
        if expert is not None:  # a row's own expert is still known to the router, that of a run is not
            criteria = replace(criteria, expert=None)
        allowed = self._allowed(requests, criteria, expert)
        results = [_refused(each) if experts == () else None for each, experts in zip(requests, allowed, strict=True)]
        there = [i for i, experts in enumerate(allowed) if experts != ()]
        if not there:
            return results
        sent = [requests[i] for i in there]
        table = _table(sent, [experts[0] if (experts := allowed[i]) else expert for i in there])
        answers = self._engine.answer_table(table.to_reader(), criteria)
        columns = (answers.column(each.name).to_pylist() for each in fields(StepResult))
        answered = [StepResult(*values) for values in zip(*columns, strict=True)]
        for i, each in zip(there, answered, strict=True):
            results[i] = each
        self._count(sent, answered)
        return results

    def explain(self, requests: Sequence[StepRequest]) -> Estimate:
        """Estimate what these would take; nothing is generated."""
        return self._engine.explain(_table(requests, [None] * len(requests)).to_reader(), self._share(1, 0))

    def _share(self, now: int, later: float) -> Criteria:
        """Return the criteria of a run."""
        left = left_usd(self._criteria, self._spent)
        share = None if left is None else left * now / max(1, now + later)
        return replace(self._criteria, max_cost_usd=share)

    def _allowed(
        self, requests: Sequence[StepRequest], criteria: Criteria, expert: str | None
    ) -> list[tuple[str, ...] | None]:
        """Return the expert of each: None where the engine chooses, else one; none where no expert may answer."""
        may: list[tuple[str, ...] | None] = [None] * len(requests)
        if all(each.most_usd is None and each.but is None for each in requests):
            return may
        expected = self._engine.expect(_table(requests, [None] * len(requests)).to_reader(), criteria)
        names = np.array(expected.experts)
        pool = [self._engine.pool[name] for name in expected.experts]
        able = np.array([unavailable(each) is None and expert in (None, each.name) for each in pool])
        allowed = np.tile(able, (len(requests), 1))
        allowed[np.array([each.private for each in requests])] &= [each.location == "local" for each in pool]
        open_ = allowed.copy()
        allowed &= names[None, :] != np.array([each.but or "" for each in requests])[:, None]
        most = np.array([np.inf if each.most_usd is None else each.most_usd for each in requests])
        allowed &= ~(expected.costs > most[:, None])
        chosen = choose(
            expected.scores,
            expected.costs,
            latency_s=expected.seconds if criteria.latency_weight else None,
            budget_usd=criteria.max_cost_usd,
            cost_weight=criteria.cost_weight,
            latency_weight=criteria.latency_weight,
            allowed=allowed,
        ).expert
        cheapest = np.where(allowed, np.nan_to_num(expected.costs), np.inf).argmin(axis=1)
        for i in np.flatnonzero((allowed != open_).any(axis=1)).tolist():
            at = int(chosen[i] if chosen[i] >= 0 else cheapest[i])
            may[i] = (str(names[at]),) if allowed[i].any() else ()
        return may

    def _count(self, sent: Sequence[StepRequest], results: Sequence[StepResult]) -> None:
        distinct = {
            (each.question, each.prompt, each.private): result.list_cost_usd
            for each, result in zip(sent, results, strict=True)
        }
        self._spent += sum(distinct.values())
        what = " and ".join(dict.fromkeys(each.what for each in sent))
        experts = Counter(each.expert for each in results if each.expert is not None)
        failed = sum(each.error is not None for each in results)
        self.waves.append(StepWave(what, len(sent), failed, sum(each.cost_usd for each in results), dict(experts)))


def _refused(request: StepRequest) -> StepResult | None:
    if request.but is not None or request.most_usd is None:
        return None
    limit = f"{usd(request.most_usd)}, what is left of the row's limit for this"
    return StepResult(error=f"no expert is expected to stay within {limit}")


def _table(requests: Sequence[StepRequest], experts: Sequence[str | None]) -> pa.Table:
    """Return a table for the engine."""
    arguments = {name: [getattr(each, name) for each in requests] for name in _ARGUMENTS}
    return pa.table(
        {
            "question": pa.array([each.question for each in requests], pa.string()),
            "private": pa.array([each.private for each in requests], pa.bool_()),
            "ask": asking(len(requests), {**arguments, "expert": experts}),
        }
    )
