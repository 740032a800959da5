"""Estimates of operations that are several runs: added up for people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from leeroo.engine.batch.explain import Estimate, Part

Item = TypeVar("Item")


def free(texts: int, distinct: int, note: str) -> Estimate:
    """Return the estimate of what costs nothing."""
    return Estimate(texts, distinct, 0, 0, 0, None, None, (), (), (note,))


def combine(estimates: Iterable[Estimate]) -> Estimate:
    """Add up the estimates of runs that follow each other."""
    each = list(estimates)
    waves = 0
    parts: list[Part] = []
    for estimate in each:
        parts += [replace(part, wave=part.wave + waves) for part in estimate.parts]
        waves += estimate.waves
    seconds = [estimate.seconds for estimate in each if estimate.parts]
    known = [second for second in seconds if second is not None]
    return Estimate(
        rows=sum(estimate.rows for estimate in each),
        prompts=sum(estimate.prompts for estimate in each),
        stored_rows=sum(estimate.stored_rows for estimate in each),
        stored=sum(estimate.stored for estimate in each),
        over_budget=sum(estimate.over_budget for estimate in each),
        budget_usd=next((e.budget_usd for e in each if e.budget_usd is not None), None),
        seconds=sum(known) if len(known) == len(seconds) else None,
        parts=tuple(parts),
        errors=_once(error for estimate in each for error in estimate.errors),
        warnings=_once(warning for estimate in each for warning in estimate.warnings),
        learning=_once(line for estimate in each for line in estimate.learning),
        plan=tuple(line for estimate in each for line in estimate.plan),
    )


def scale(estimate: Estimate, factor: float) -> Estimate:
    """Return the estimate of a run that is this many times as large; budgets and what is stored stay."""
    parts = [
        replace(
            part,
            prompts=round(part.prompts * factor),
            prompt_tokens=round(part.prompt_tokens * factor),
            completion_tokens=round(part.completion_tokens * factor),
            cost_usd=part.cost_usd * factor,
            least_usd=part.least_usd * factor,
            most_usd=part.most_usd * factor,
            seconds=None if part.seconds is None else part.seconds * factor,
            limited_seconds=part.limited_seconds * factor,
        )
        for part in estimate.parts
    ]
    seconds = None if estimate.seconds is None else estimate.seconds * factor
    rows, prompts = round(estimate.rows * factor), round(estimate.prompts * factor)
    return replace(estimate, rows=rows, prompts=prompts, seconds=seconds, parts=tuple(parts))


def _once(lines: Iterable[Item]) -> tuple[Item, ...]:
    return tuple(dict.fromkeys(lines))
