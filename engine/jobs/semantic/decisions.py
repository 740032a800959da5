"""Decisions: questions with few choices that operations ask of experts, many operations in one batch.

An operation is a generator. It yields what it wants next, vectors or decisions, and gets it back. `run_together` runs
all operations of a statement side by side, so that what they want at the same time is one batch under one budget.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.arrays import Float64s
from leeroo.engine.batch.prompts import build_asks
from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.questions import left_usd
from leeroo.engine.jobs.semantic.embed import Embedded, embed

YES_NO = ("yes", "no")


@dataclass(frozen=True)
class Vectors:
    """Texts whose vectors an operation wants."""

    texts: Sequence[str]
    model: str | None = None
    private: bool = False


@dataclass(frozen=True)
class Decisions:
    """Questions that an operation wants decided.

    Attributes:
        questions: Text [n].
        arguments: Columns of `schema.ASK` [n] by name.
        private: They must not leave local experts.
        later: About how many more decisions the operation will want, for which a part of the budget is kept.

    """

    questions: pa.Array
    arguments: Mapping[str, pa.Array]
    private: bool = False
    later: int = 0


@dataclass(frozen=True)
class Decided:
    """The decisions on n questions.

    Attributes:
        answers: Text [n], NULL where there is none.
        confidence: Probability of the answer among the choices [n], NaN where the expert tells none.
        experts: Text [n].
        costs: USD paid in this run [n].
        errors: Text [n], NULL where there is an answer.

    """

    answers: pa.Array
    confidence: Float64s
    experts: pa.Array
    costs: Float64s
    errors: pa.Array

    def __len__(self) -> int:
        return len(self.answers)

    def chances(self, choice: str = "yes") -> Float64s:
        """Return the probability of one of two choices [n]: 1 or 0 where only the answer is known, NaN without one."""
        said: np.ndarray = pc.equal(self.answers, choice).fill_null(False).to_numpy(zero_copy_only=False)
        sure = np.nan_to_num(self.confidence, nan=1.0)
        found: Float64s = np.where(said, sure, 1 - sure)
        found[self.answers.is_null().to_numpy(zero_copy_only=False)] = np.nan
        return found


@dataclass
class Tally:
    """The decisions of one operation so far."""

    decisions: int = 0
    cost_usd: float = 0.0
    failed: int = 0
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, decided: Decided) -> None:
        """Count decisions, what they cost, and those that failed."""
        self.decisions += len(decided)
        self.cost_usd += float(decided.costs.sum())
        for reason in filter(None, decided.errors.to_pylist()):
            self.failed += 1
            self.reasons[reason] = self.reasons.get(reason, 0) + 1

    @property
    def error(self) -> str | None:
        """Say how many decisions have no answer, and the most frequent reason; None where all have one."""
        if not self.failed:
            return None
        reason = max(self.reasons, key=lambda each: self.reasons[each])
        return f"{self.failed:,} of {self.decisions:,} decisions failed: {reason}"


Found = TypeVar("Found")
Operation = Generator[Vectors | Decisions, Any, Found]


def check_threshold(threshold: float) -> None:
    """Check the least probability of a yes.

    Raises:
        UsageError: it is no probability.

    """
    if not 0 <= threshold <= 1:
        raise UsageError(f"threshold must be from 0 to 1, not {threshold:g}")


def yes_no(task: str, fields: pa.Array, questions: pa.Array, expert: str | None, *, private: bool) -> Decisions:
    """Return decisions between yes and no on questions of one task with fields (JSON text) [n]."""
    n = len(questions)
    arguments: dict[str, pa.Array] = {
        "task": pa.repeat(pa.scalar(task), n),
        "fields": fields,
        "choices": pa.array([YES_NO], pa.list_(pa.string())).take(pa.array(np.zeros(n, np.int64))),
    }
    if expert is not None:
        arguments["expert"] = pa.repeat(pa.scalar(expert), n)
    return Decisions(questions, arguments, private)


def run_together(
    engine: Engine, operations: Sequence[Operation[Found]], criteria: Criteria
) -> list[tuple[Found, Tally]]:
    """Run operations side by side to their ends; return what each found, and what it took.

    Args:
        engine: With the pool.
        operations: Not begun yet.
        criteria: The budget of all of them, and other conditions.

    Raises:
        PoolError, OutputError: as `Engine.answer`.

    """
    tallies = [Tally() for _ in operations]
    found: dict[int, Found] = {}
    wanted: dict[int, Vectors | Decisions] = {}

    def send(at: int, value: Any) -> None:
        wanted.pop(at, None)
        try:
            wanted[at] = operations[at].send(value)
        except StopIteration as end:
            found[at] = end.value

    with engine.delivery():
        for at in range(len(operations)):
            send(at, None)
        while wanted:
            left = replace(criteria, max_cost_usd=left_usd(criteria, sum(tally.cost_usd for tally in tallies)))
            # Decisions wait for the vectors of other operations, so that all go into one batch.
            if vectors := {at: each for at, each in wanted.items() if isinstance(each, Vectors)}:
                for at, embedded in _embed_all(engine, vectors, left).items():
                    tallies[at].cost_usd += float(embedded.costs.sum())
                    send(at, embedded)
                continue
            decisions = {at: each for at, each in wanted.items() if isinstance(each, Decisions)}
            for at, decided in _decide_all(engine, decisions, left).items():
                tallies[at].add(decided)
                send(at, decided)
    return [(found[at], tally) for at, tally in enumerate(tallies)]


def _embed_all(engine: Engine, wanted: Mapping[int, Vectors], criteria: Criteria) -> dict[int, Embedded]:
    """Embed the texts of all operations, those of one model as one batch."""
    given: dict[int, Embedded] = {}
    spent = 0.0
    for model, private in dict.fromkeys((each.model, each.private) for each in wanted.values()):
        own = {at: each.texts for at, each in wanted.items() if (each.model, each.private) == (model, private)}
        texts = [text for each in own.values() for text in each]
        left = replace(criteria, max_cost_usd=left_usd(criteria, spent))
        whole = embed(engine, texts, model, left, private=private)
        spent += float(whole.costs.sum())
        start = 0
        for at, each in own.items():
            part = slice(start, start + len(each))
            given[at] = Embedded(whole.vectors[part], whole.errors[part], whole.costs[part])
            start = part.stop
    return given


def _decide_all(engine: Engine, wanted: Mapping[int, Decisions], criteria: Criteria) -> dict[int, Decided]:
    """Have the questions of all operations decided as one batch."""
    counts = [len(each.questions) for each in wanted.values()]
    if not sum(counts):
        return {at: decided_of(None) for at in wanted}
    if criteria.max_cost_usd is not None:
        share = sum(counts) / (sum(counts) + sum(each.later for each in wanted.values()))
        criteria = replace(criteria, max_cost_usd=criteria.max_cost_usd * share)
    answers = engine.answer_table(
        decision_table(list(wanted.values())).to_reader(),
        replace(criteria, ask_column="ask", private_column="private", on_error="null"),
    )
    ends = np.cumsum([0, *counts])
    return {at: decided_of(answers.slice(ends[i], counts[i])) for i, at in enumerate(wanted)}


def decision_table(decisions: Sequence[Decisions]) -> pa.Table:
    """Return the questions of all these as a table for the engine: question, private, ask."""
    parts = [
        pa.table(
            {
                "question": each.questions,
                "private": pa.repeat(pa.scalar(each.private), len(each.questions)),
                "ask": build_asks(len(each.questions), each.arguments),
            }
        )
        for each in decisions
    ]
    return pa.concat_tables(parts)


def decided_of(answers: pa.Table | None) -> Decided:
    """Read the answers of the engine; None is no questions."""
    if answers is None:
        none = pa.nulls(0, pa.string())
        return Decided(none, np.empty(0), none, np.empty(0), none)
    texts = {name: answers.column(name).combine_chunks().cast(pa.string()) for name in ("answer", "expert", "error")}
    numbers = {name: answers.column(name).to_numpy() for name in ("confidence", "cost_usd")}
    costs = np.nan_to_num(numbers["cost_usd"].astype(np.float64))
    return Decided(texts["answer"], numbers["confidence"].astype(np.float64), texts["expert"], costs, texts["error"])
