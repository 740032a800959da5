"""Waves: lines that are answered together, and the call of the engine that answers them.

A wave holds lines of one key that want the same of the engine, so that no tenant's lines wait for another's. Lines that
name a remote expert form waves of their own: an expert that hangs holds up nobody who did not name it.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from leeroo.engine.answer import STOPPED, Criteria, Engine
from leeroo.engine.schema import ANSWERS, ASK
from leeroo.serve.work.batches import Batch
from leeroo.serve.work.queue import Backlog, Waiting
from leeroo.serve.work.results import joined

# A wave should take so many seconds: as long as a new batch of the same key may have to wait for its first answers.
WAVE_S = 5.0
# Lines a second that are expected of a batch before any of it was answered, and how much faster a wave may be than the
# one before. Lines wait in a random order, so that the speed so far is that of the rest.
_FIRST_PER_S, _FASTER = 10.0, 8.0
_MOST_LINES = 20_000

_LINE = pa.schema(
    [
        *(pa.field(name, pa.string()) for name in ("question", "subject", "category")),
        pa.field("private", pa.bool_()),
        pa.field("ask", pa.struct(list(ASK))),
    ]
)

Rows = list[tuple[Batch, Waiting]]


@dataclass(frozen=True)
class Lane:
    """What the lines of a wave have in common; waves of different lanes run side by side."""

    owner: str
    cost_weight: float
    latency_weight: float
    batch: int | None  # of one that has a budget, or is tried alone
    expert: str  # a remote one that the lines name, '' for all others


@dataclass(eq=False)
class Wave:
    """Lines that were claimed together."""

    number: int
    lane: Lane
    batches: frozenset[int]
    began: float = field(default_factory=time.monotonic)
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def age(self) -> float:
        """Return for how many seconds it has run."""
        return time.monotonic() - self.began


class Speeds:
    """How many lines of each batch are answered in a second, as far as it is known."""

    def __init__(self) -> None:
        self._per_s: dict[int, float] = {}

    def seats(self, backlog: Sequence[Backlog]) -> list[tuple[Backlog, int]]:
        """Choose how many lines of each make a wave: the same seconds for every batch, and those left over for more."""
        quickest = sorted(backlog, key=lambda of: of.lines / self._of(of.batch))
        left, room, seats = WAVE_S, _MOST_LINES, []
        for place, of in enumerate(quickest):
            share = int(left / (len(quickest) - place) * self._of(of.batch))
            lines = min(of.lines, max(1, share), max(1, room))
            left -= lines / self._of(of.batch)
            room -= lines
            seats.append((of, lines))
        return seats

    def learn(self, lines: dict[int, int], seconds: float) -> None:
        """Learn from a wave that had so many lines of each batch answered."""
        expected = sum(n / self._of(batch) for batch, n in lines.items())
        for batch in lines:
            self._per_s[batch] = self._of(batch) * min(expected / max(seconds, 1e-3), _FASTER)

    def forget(self, batch: int) -> None:
        """Forget a batch that has ended."""
        self._per_s.pop(batch, None)

    def _of(self, batch: int) -> float:
        return max(self._per_s.get(batch, _FIRST_PER_S), 1e-3)


def lanes(backlog: Iterable[Backlog], remote: frozenset[str], alone: set[int]) -> dict[Lane, list[Backlog]]:
    """Sort what waits into lanes."""
    found: dict[Lane, list[Backlog]] = {}
    for of in backlog:
        single = of.batch if of.with_budget or of.batch in alone else None
        expert = of.expert if of.expert in remote else ""
        lane = Lane(of.owner, of.cost_weight, of.latency_weight, single, expert)
        found.setdefault(lane, []).append(of)
    return found


def answer(engine: Engine, rows: Rows, budget: float | None, stop: threading.Event) -> list[dict[str, Any] | None]:
    """Return a row of the answers table for each line; None where the call was stopped before it had a result."""
    first = rows[0][0]
    criteria = Criteria(
        column="question",
        private_column="private",
        ask_column="ask",
        max_cost_usd=budget,
        cost_weight=first.cost_weight,
        latency_weight=first.latency_weight,
    )
    # The pool may be another than when the batch was checked.
    known = [line.asked.get("expert") in (None, *engine.pool.names) for _, line in rows]
    table = _table([row for row, there in zip(rows, known, strict=True) if there])
    answered = engine.answer(table.to_reader(), criteria, stop, partial=True).read_all()
    kept = [name for name in (*ANSWERS.names, "logprobs") if name in answered.column_names]
    answers = iter(answered.select(kept).to_pylist())
    results: list[dict[str, Any] | None] = []
    for (_, line), there in zip(rows, known, strict=True):
        if there:
            results.append(_whole([next(answers) for _ in range(_choices(line))]))
        else:
            results.append(nothing(f"there is no model {line.asked['expert']!r} any more"))
    return results


def _whole(answers: list[dict[str, Any]]) -> dict[str, Any] | None:
    return None if any(answer["error"] == STOPPED for answer in answers) else joined(answers)


def nothing(error: str) -> dict[str, Any]:
    """Return a row of the answers table without an answer."""
    return {
        **dict.fromkeys(ANSWERS.names),
        "cost_usd": 0.0,
        "list_cost_usd": 0.0,
        "finish_reason": "error",
        "error": error,
    }


def lost_expert(experts: Iterable[str], result: dict[str, Any]) -> bool:
    """Tell whether a line failed because its expert was given up in this wave, and not by itself."""
    names = "|".join(map(re.escape, experts))
    return re.match(rf"the expert '({names})' cannot answer: |({names}): ", result["error"] or "") is not None


def _choices(line: Waiting) -> int:
    return int(line.asked.get("n", 1))


def _table(rows: Rows) -> pa.Table:
    """Return lines of several batches as rows for the engine, one for each choice."""
    told = [
        {
            **{name: line.asked.get(name) for name in ("question", "subject", "category")},
            "private": batch.private,
            "ask": {**{name: line.asked.get(name) for name in ASK.names}, **_seed(line, choice)},
        }
        for batch, line in rows
        for choice in range(_choices(line))
    ]
    return pa.Table.from_pylist(told, schema=_LINE)


def _seed(line: Waiting, choice: int) -> dict[str, int]:
    """Return a seed of its own for each choice of a line that has one."""
    seed = line.asked.get("seed")
    return {} if seed is None else {"seed": seed + choice}
