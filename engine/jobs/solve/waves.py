"""Waves: many rows ask the engine at once, several times over, within one budget and within a limit for each row.

Each wave gets the part of what is left of the budget that its questions are of all that are still to be asked, so that
the first does not spend what the last needs. Of what is left it counts what answers cost at list prices, whether
the store had them or not: asked again, the same waves choose the same experts and nothing is paid for twice.
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
from leeroo.engine.jobs.cascade import left_usd
from leeroo.engine.money import usd
from leeroo.engine.orchestrator.choose import choose


@dataclass(frozen=True, kw_only=True)
class Ask:
    """Something to ask of the engine.

    Attributes:
        what: It is, in a word for people.
        question: By which it is known to routers and recorded outcomes.
        prompt: What is shown in its place.
        json_schema, max_tokens: Of its answer.
        private: Whether only local experts may see it.
        most_usd: What it may be expected to cost.
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


@dataclass(frozen=True)
class Done:
    """What came of it."""

    expert: str | None = None
    answer: str | None = None
    cost_usd: float = 0.0
    list_cost_usd: float = 0.0
    error: str | None = None


@dataclass(frozen=True)
class Wave:
    """One time that the engine was asked."""

    what: str
    asked: int
    failed: int
    cost_usd: float
    experts: Mapping[str, int]  # how many were answered by each


class Asker:
    """The engine, asked in waves, with what is left of the budget."""

    def __init__(self, engine: Engine, criteria: Criteria) -> None:
        self.waves: list[Wave] = []
        self._engine = engine
        self._criteria = replace(
            criteria, column="question", private_column="private", ask_column="ask", prefix="", on_error="null"
        )
        self._spent = 0.0

    def ask(self, asks: Sequence[Ask], later: float = 0, expert: str | None = None) -> list[Done | None]:
        """Have all of these answered as one wave.

        Args:
            later: How many of such will come after it, by what they are expected to cost.
            expert: Is asked for all of them.

        Returns:
            What came of each; None of one that has failed before and that no other expert may be asked.

        """
        criteria = self._share(len(asks), later)
        if expert is not None:  # a row's own expert is still known to the router, that of a run is not
            criteria = replace(criteria, expert=None)
        may = self._may(asks, criteria, expert)
        done = [_nobody(each) if experts == () else None for each, experts in zip(asks, may, strict=True)]
        there = [i for i, experts in enumerate(may) if experts != ()]
        if not there:
            return done
        asked = [asks[i] for i in there]
        table = _table(asked, [experts[0] if (experts := may[i]) else expert for i in there])
        answers = self._engine.answer(table.to_reader(), criteria).read_all()
        columns = (answers.column(each.name).to_pylist() for each in fields(Done))
        answered = [Done(*values) for values in zip(*columns, strict=True)]
        for i, each in zip(there, answered, strict=True):
            done[i] = each
        self._count(asked, answered)
        return done

    def explain(self, asks: Sequence[Ask]) -> Estimate:
        """What it would take to have these answered; nothing is generated."""
        return self._engine.explain(_table(asks, [None] * len(asks)).to_reader(), self._share(1, 0))

    def _share(self, now: int, later: float) -> Criteria:
        """The criteria of a wave."""
        left = left_usd(self._criteria, self._spent)
        share = None if left is None else left * now / max(1, now + later)
        return replace(self._criteria, max_cost_usd=share)

    def _may(self, asks: Sequence[Ask], criteria: Criteria, expert: str | None) -> list[tuple[str, ...] | None]:
        """Whom to ask each: None where the engine shall choose, else one expert, or none where nobody may be asked."""
        may: list[tuple[str, ...] | None] = [None] * len(asks)
        if all(each.most_usd is None and each.but is None for each in asks):
            return may
        expected = self._engine.expect(_table(asks, [None] * len(asks)).to_reader(), criteria)
        names = np.array(expected.experts)
        pool = [self._engine.pool[name] for name in expected.experts]
        able = np.array([unavailable(each) is None and expert in (None, each.name) for each in pool])
        allowed = np.tile(able, (len(asks), 1))
        allowed[np.array([each.private for each in asks])] &= [each.location == "local" for each in pool]
        open_ = allowed.copy()
        allowed &= names[None, :] != np.array([each.but or "" for each in asks])[:, None]
        most = np.array([np.inf if each.most_usd is None else each.most_usd for each in asks])
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

    def _count(self, asked: Sequence[Ask], done: Sequence[Done]) -> None:
        same = {
            (each.question, each.prompt, each.private): came.list_cost_usd
            for each, came in zip(asked, done, strict=True)
        }
        self._spent += sum(same.values())
        what = " and ".join(dict.fromkeys(each.what for each in asked))
        experts = Counter(each.expert for each in done if each.expert is not None)
        failed = sum(each.error is not None for each in done)
        self.waves.append(Wave(what, len(asked), failed, sum(each.cost_usd for each in done), dict(experts)))


def _nobody(ask: Ask) -> Done | None:
    if ask.but is not None or ask.most_usd is None:
        return None
    limit = f"{usd(ask.most_usd)}, what is left of the row's limit for this"
    return Done(error=f"no expert is expected to stay within {limit}")


def _table(asks: Sequence[Ask], experts: Sequence[str | None]) -> pa.Table:
    """A table for the engine."""
    given = {name: [getattr(each, name) for each in asks] for name in ("prompt", "json_schema", "max_tokens")}
    return pa.table(
        {
            "question": pa.array([each.question for each in asks], pa.string()),
            "private": pa.array([each.private for each in asks], pa.bool_()),
            "ask": asking(len(asks), {**given, "expert": experts}),
        }
    )
