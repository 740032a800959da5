"""Explain: what answering a table would take, as a plan for people; nothing is generated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.backends.identity import engine_key
from leeroo.engine.backends.residency import Engines
from leeroo.engine.backends.select import capabilities, resolve
from leeroo.engine.batch.job import Job
from leeroo.engine.batch.plan import order_waves
from leeroo.engine.money import plain_usd, usd
from leeroo.engine.pool import Expert

_CHUNK = 50_000

_PLANNED = """
SELECT p.id, p.expert, p.expected, p.at_most, p.rows, p.key, p.prompt, p.system, p.turns, p.after, p.max_tokens,
       t.id IS NOT NULL AS twin
FROM plan p LEFT JOIN twins t USING (id)
"""


@dataclass(frozen=True)
class Part:
    """What one expert is expected to do for the prompts that have no answer yet."""

    expert: str
    model: str
    backend: str
    wave: int  # from 1, in the order in which engines are visited
    prompts: int  # different ones: what is generated and paid for
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    least_usd: float  # if every answer were one token
    most_usd: float  # if every answer were as long as it may be
    seconds: float | None  # None where nothing was measured yet


@dataclass(frozen=True)
class Estimate:
    """What answering a table would take."""

    rows: int  # with a question; of a statement, how often it calls
    prompts: int  # different ones
    stored_rows: int
    stored: int  # different prompts that were answered before
    over_budget: int  # rows that the budget does not reach
    budget_usd: float | None
    parts: tuple[Part, ...]
    errors: tuple[str, ...]  # of rows that nobody can answer
    warnings: tuple[str, ...]

    @property
    def cost_usd(self) -> float:
        """Expected."""
        return sum(part.cost_usd for part in self.parts)

    @property
    def least_usd(self) -> float:
        """If every answer were one token."""
        return sum(part.least_usd for part in self.parts)

    @property
    def most_usd(self) -> float:
        """If every answer were as long as it may be; no more than the budget."""
        most = sum(part.most_usd for part in self.parts)
        return most if self.budget_usd is None else min(most, self.budget_usd)

    @property
    def seconds(self) -> float | None:
        """None where the speed of an expert was not measured yet."""
        known = [part.seconds for part in self.parts if part.seconds is not None]
        return sum(known) if len(known) == len(self.parts) else None

    @property
    def waves(self) -> int:
        """How many engines are visited, one after the other."""
        return len({part.wave for part in self.parts})

    def as_dict(self) -> dict[str, Any]:
        """The plan for JSON, with its sums."""
        sums = {name: getattr(self, name) for name in ("cost_usd", "least_usd", "most_usd", "seconds", "waves")}
        return {**asdict(self), **sums}

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def estimate(job: Job, engines: Engines) -> Estimate:
    """What the plan of a job comes to. The forecast must have kept its tokens."""
    sums = np.zeros((len(job.experts), 6))  # by expert: what `_measure` gives
    stored = stored_rows = 0
    for batch in job.scratch.cursor().sql(_PLANNED).to_arrow_reader(_CHUNK):
        known = job.store.look_up(batch.column("key").unique()).column("key").combine_chunks()
        there = pc.is_in(batch.column("key"), value_set=known).to_numpy(zero_copy_only=False)
        stored += int(there.sum())
        stored_rows += int(batch.column("rows").to_numpy()[there].sum())
        np.add.at(sums, batch.column("expert").to_numpy()[~there], _measure(job, batch)[~there])
    asked = np.flatnonzero(sums[:, 0]).tolist()
    order = order_waves(job.waves, job.experts, engines, in_turn=job.criteria.max_cost_usd is not None)
    visited = [wave for wave in order if set(wave.experts) & set(asked)]
    parts = []
    for number, wave in enumerate(visited, 1):
        own = [i for i in wave.experts if i in asked]
        # One engine answers for all of them: it is loaded once, for the first.
        parts += [_part(job, engines, i, number, sums[i], load=i == own[0]) for i in own]
    unplanned = job.open.copy()
    unplanned[job.scratch.con.execute("SELECT id FROM plan").fetchnumpy()["id"]] = False
    return Estimate(
        rows=int(job.rows.sum()),
        prompts=len(job.rows),
        stored_rows=stored_rows,
        stored=stored,
        over_budget=int(job.rows[unplanned].sum()),
        budget_usd=job.criteria.max_cost_usd,
        parts=tuple(parts),
        errors=job.meter.failures(),
        warnings=job.meter.now.warnings,
    )


def _measure(job: Job, batch: pa.RecordBatch) -> np.ndarray:
    """Of each planned question: prompts, tokens in and out, and USD expected, at least and at most [n, 6]."""
    ids, experts = batch.column("id").to_numpy(), batch.column("expert").to_numpy()
    assert job.forecast.tokens is not None
    tokens = job.forecast.tokens[ids, experts].astype(np.float64)
    prices = job.usd_per_m[experts] / 1e6
    expected = batch.column("expected").to_numpy()
    least = np.minimum(tokens[:, 0] * prices[:, 0] + prices[:, 1], expected)
    most = batch.column("at_most").to_numpy()
    # Questions that are one request are asked once.
    once = ~batch.column("twin").to_numpy(zero_copy_only=False)
    facts = np.column_stack([np.ones(len(ids)), tokens, expected, least, most])
    measured: np.ndarray = facts * once[:, None]
    return measured


def _part(job: Job, engines: Engines, position: int, wave: int, sums: np.ndarray, *, load: bool) -> Part:
    expert = job.experts[position]
    prompts, prompt_tokens, completion_tokens, expected, least, most = sums.tolist()
    return Part(
        expert=expert.name,
        model=expert.model,
        backend=resolve(expert),
        wave=wave,
        prompts=int(prompts),
        prompt_tokens=round(prompt_tokens),
        completion_tokens=round(completion_tokens),
        cost_usd=expected,
        least_usd=least,
        most_usd=min(most, job.ledger.budget),
        seconds=_seconds(job, expert, prompt_tokens, completion_tokens, load=load and not engines.loaded(expert)),
    )


def _seconds(job: Job, expert: Expert, prompt_tokens: float, completion_tokens: float, *, load: bool) -> float | None:
    if capabilities(expert).recorded:
        speed = expert.engine.get("tokens_per_second")
        return completion_tokens / float(speed) if speed else 0.0
    measured = job.store.engine(engine_key(expert))
    if measured.tokens_per_s is None:
        return None
    return (prompt_tokens + completion_tokens) / measured.tokens_per_s + (measured.load_s or 0.0) * load


def _lines(plan: Estimate) -> Iterator[str]:
    """The plan as lines of text."""
    stored = f", {plan.stored:,} of them answered before" if plan.stored else ""
    yield f"{_rows(plan.rows)}, {plan.prompts:,} distinct prompts{stored}"
    budget = "" if plan.budget_usd is None else f"; the budget is {usd(plan.budget_usd)}"
    yield f"  Cost: {usd(plan.cost_usd)} expected, between {usd(plan.least_usd)} and {usd(plan.most_usd)}{budget}"
    yield f"  Time: {_time(plan.seconds)}, {plan.waves} wave{'s' * (plan.waves != 1)}"
    if plan.parts:
        yield from _table(plan.parts)
    if plan.over_budget:
        yield f"  {_rows(plan.over_budget)} beyond the budget: answered only if the others cost less than expected"
    yield from (f"  Not answered: {error}" for error in plan.errors)
    yield from (f"  Note: {warning}" for warning in plan.warnings)


def _table(parts: tuple[Part, ...]) -> Iterator[str]:
    table = [("wave", "expert", "backend", "prompts", "tokens in", "tokens out", "cost USD", "at most", "time")]
    table += [
        (
            str(part.wave),
            part.expert,
            part.backend,
            f"{part.prompts:,}",
            f"{part.prompt_tokens:,}",
            f"{part.completion_tokens:,}",
            plain_usd(part.cost_usd),
            plain_usd(part.most_usd),
            _time(part.seconds),
        )
        for part in parts
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = [
            cell.ljust(width) if at in (1, 2) else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "    " + "  ".join(cells).rstrip()


def _rows(count: int) -> str:
    return f"{count:,} row" + "s" * (count != 1)


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "not measured yet"
    return (
        f"{seconds:.0f} s"
        if seconds < 120
        else f"{seconds / 60:.0f} min"
        if seconds < 7200
        else f"{seconds / 3600:.1f} h"
    )
