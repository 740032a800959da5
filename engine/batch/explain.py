"""Explain: the plan of a run for people, with its expected cost and time. Generates nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.backends.api.limits.times import least_seconds
from leeroo.engine.backends.identity import engine_key
from leeroo.engine.backends.residency import Engines
from leeroo.engine.backends.select import capabilities, resolve
from leeroo.engine.batch.plan import longest_lane, order_waves
from leeroo.engine.batch.run import RunPlan, RunState
from leeroo.engine.money import plain_usd, usd
from leeroo.engine.pool import Expert
from leeroo.engine.pool_prices import describe_prices


@dataclass(frozen=True)
class Part:
    """The part of one expert in a plan: the prompts that have no answer yet."""

    expert: str
    model: str
    backend: str
    wave: int  # from 1, in the order in which they run
    prompts: int  # different ones: what is generated and paid for
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float
    least_usd: float  # if every answer were one token
    most_usd: float  # if every answer were as long as it may be
    seconds: float | None  # None where nothing was measured yet, and there are no limits
    limited_seconds: float  # the least under the limits of its account, 0 where it has none
    price_source: str  # whose prices, and of which day

    @property
    def cells(self) -> tuple[Any, ...]:
        """What people see of it: wave, expert, backend, prompts, tokens in and out, USD expected and at most, time."""
        tokens = self.prompt_tokens, self.completion_tokens
        costs = self.cost_usd, self.most_usd
        return (self.wave, self.expert, self.backend, self.prompts, *tokens, *costs, _time(self.seconds))


@dataclass(frozen=True)
class Estimate:
    """The expected cost and time of answering a table."""

    rows: int  # with a question; of a statement, how often it calls
    prompts: int  # different ones
    stored_rows: int
    stored: int  # different prompts that were answered before
    over_budget: int  # rows that the budget does not reach
    budget_usd: float | None
    seconds: float | None  # the expected time; None where the speed of an expert is not known yet
    parts: tuple[Part, ...]
    errors: tuple[str, ...]  # of rows that no expert can answer
    warnings: tuple[str, ...]
    learning: tuple[str, ...] = ()  # of batches that learn: what each would try out first
    plan: tuple[str, ...] = ()  # of operations that are several runs: what they decide

    @property
    def cost_usd(self) -> float:
        """The expected cost."""
        return sum(part.cost_usd for part in self.parts)

    @property
    def least_usd(self) -> float:
        """The cost if every answer were one token."""
        return sum(part.least_usd for part in self.parts)

    @property
    def most_usd(self) -> float:
        """The cost if every answer were as long as it may be; no more than the budget."""
        most = sum(part.most_usd for part in self.parts)
        return most if self.budget_usd is None else min(most, self.budget_usd)

    @property
    def waves(self) -> int:
        """The number of waves."""
        return len({part.wave for part in self.parts})

    def as_dict(self) -> dict[str, Any]:
        """Return the plan for JSON, with its sums."""
        sums = {name: getattr(self, name) for name in ("cost_usd", "least_usd", "most_usd", "waves")}
        return {**asdict(self), **sums}

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def estimate(state: RunState, engines: Engines) -> Estimate:
    """Add up the plan of a run. The forecast must have kept its tokens."""
    plan = state.plan
    sums = np.zeros((len(plan.experts), 6))  # by expert: columns of `_measure`
    stored = stored_rows = 0
    for batch in state.worktable.estimated_plan():
        known = state.store.look_up(batch.column("key").unique()).column("key").combine_chunks()
        there = pc.is_in(batch.column("key"), value_set=known).to_numpy(zero_copy_only=False)
        stored += int(there.sum())
        stored_rows += int(batch.column("rows").to_numpy()[there].sum())
        np.add.at(sums, batch.column("expert").to_numpy()[~there], _measure(plan, batch)[~there])
    needed = set(np.flatnonzero(sums[:, 0]).tolist())
    order = order_waves(plan.waves, plan.experts, engines, in_turn=plan.criteria.max_cost_usd is not None)
    limited = least_seconds(plan.experts, sums[:, 0], sums[:, 1] + sums[:, 2]).tolist()
    parts: dict[int, Part] = {}
    for number, wave in enumerate((wave for wave in order if needed.intersection(wave.experts)), 1):
        own = [i for i in wave.experts if i in needed]
        # One engine answers for all of them: it is loaded once, for the first.
        parts |= {i: _part(state, engines, i, number, sums[i], limited[i], load=i == own[0]) for i in own}
    state.read_caps()
    unplanned = state.open.copy()
    unplanned[state.worktable.planned_ids()] = False
    return Estimate(
        rows=int(plan.facts.rows.sum()),
        prompts=len(plan.facts.rows),
        stored_rows=stored_rows,
        stored=stored,
        over_budget=int(plan.facts.rows[unplanned].sum()),
        budget_usd=plan.criteria.max_cost_usd,
        seconds=_all_seconds(plan, parts),
        parts=tuple(parts.values()),
        errors=state.meter.failures(),
        warnings=(*state.meter.now.warnings, *state.beyond_caps(sums[:, 3])),
    )


def _measure(plan: RunPlan, batch: pa.RecordBatch) -> np.ndarray:
    """Return prompts, tokens in and out, and USD expected, at least and at most, of each planned question [n, 6]."""
    ids, experts = batch.column("id").to_numpy(), batch.column("expert").to_numpy()
    assert plan.forecast.tokens is not None
    tokens = plan.forecast.tokens[ids, experts].astype(np.float64)
    prices = plan.prices.of(experts, tokens[:, 0]) / 1e6
    expected = batch.column("expected").to_numpy()
    least = np.minimum(tokens[:, 0] * prices[:, 0] + prices[:, 1], expected)
    most = batch.column("at_most").to_numpy()
    # Questions that are one request are sent once.
    once = ~batch.column("duplicate").to_numpy(zero_copy_only=False)
    facts = np.column_stack([np.ones(len(ids)), tokens, expected, least, most])
    measured: np.ndarray = facts * once[:, None]
    return measured


def _all_seconds(plan: RunPlan, parts: Mapping[int, Part]) -> float | None:
    """Return the time of a whole run, None where that of a part is not known."""
    known = [part.seconds for part in parts.values() if part.seconds is not None]
    return longest_lane([plan.experts[i] for i in parts], known) if len(known) == len(parts) else None


def _part(
    state: RunState, engines: Engines, position: int, wave: int, sums: np.ndarray, limited: float, *, load: bool
) -> Part:
    expert = state.plan.experts[position]
    prompts, prompt_tokens, completion_tokens, expected, least, most = sums.tolist()
    load = load and not engines.is_loaded(expert)
    measured = _measured_seconds(state, expert, prompt_tokens, completion_tokens, load=load)
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
        most_usd=min(most, state.ledger.budget),
        seconds=max(measured or 0.0, limited) if limited else measured,
        limited_seconds=limited,
        price_source=expert.price_source,
    )


def _measured_seconds(
    state: RunState, expert: Expert, prompt_tokens: float, completion_tokens: float, *, load: bool
) -> float | None:
    if capabilities(expert).recorded:
        speed = expert.engine.get("tokens_per_second")
        return completion_tokens / float(speed) if speed else 0.0
    if expert.batch:
        return float(state.plan.forecast.waits[state.plan.experts.index(expert)])
    measured = state.store.engine(engine_key(expert))
    if measured.tokens_per_s is None:
        return None
    return (prompt_tokens + completion_tokens) / measured.tokens_per_s + (measured.load_s or 0.0) * load


def _lines(plan: Estimate) -> Iterator[str]:
    """Return the plan as lines of text."""
    stored = f", {plan.stored:,} of them answered before" if plan.stored else ""
    yield f"{_rows(plan.rows)}, {plan.prompts:,} distinct prompts{stored}"
    budget = "" if plan.budget_usd is None else f"; the budget is {usd(plan.budget_usd)}"
    yield f"  Cost: {usd(plan.cost_usd)} expected, between {usd(plan.least_usd)} and {usd(plan.most_usd)}{budget}"
    yield f"  Time: {_time(plan.seconds)}, {plan.waves} wave{'s' * (plan.waves != 1)}"
    if plan.parts:
        yield from _table(plan.parts)
    if (prices := describe_prices({part.expert: part.price_source for part in plan.parts})) is not None:
        yield f"  {prices[0].upper()}{prices[1:]}"
    if plan.over_budget:
        yield f"  {_rows(plan.over_budget)} beyond the budget: answered only if the others cost less than expected"
    yield from _limits(plan.parts)
    yield from (f"  Not answered: {error}" for error in plan.errors)
    yield from (f"  Note: {warning}" for warning in plan.warnings)
    yield from (f"  Learning: {line}" for line in plan.learning)
    yield from (f"  Plan: {line}" for line in plan.plan)


def _table(parts: tuple[Part, ...]) -> Iterator[str]:
    table = [("wave", "expert", "backend", "prompts", "tokens in", "tokens out", "cost USD", "at most", "time")]
    for part in parts:
        wave, expert, backend, prompts, read, written, expected, most, time = part.cells
        counts = f"{prompts:,}", f"{read:,}", f"{written:,}"
        table.append((str(wave), expert, backend, *counts, plain_usd(expected), plain_usd(most), time))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        cells = [
            cell.ljust(width) if at in (1, 2) else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "    " + "  ".join(cells).rstrip()


def _limits(parts: tuple[Part, ...]) -> Iterator[str]:
    limited = [f"{part.expert} at least {_time(part.limited_seconds)}" for part in parts if part.limited_seconds]
    if limited:
        yield f"  Limits of requests and tokens a minute: {', '.join(limited)}"


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
