"""Plan: which rows go to which engine, in which order.

Rows of experts that share an engine go in one wave. Waves run from the cheapest engine to the most expensive. Where
the cheap ones cost more or less than expected, rows of the expensive ones move: they always have somewhere cheaper.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from leeroo.engine.backends.api.limits.times import account_of
from leeroo.engine.backends.identity import engine_key, fingerprint
from leeroo.engine.backends.residency import Engines
from leeroo.engine.backends.select import capabilities
from leeroo.engine.batch.worktable import Worktable
from leeroo.engine.pool import Expert


@dataclass(frozen=True)
class Wave:
    """The rows of one engine; `experts` are positions in the list of candidates."""

    number: int
    experts: tuple[int, ...]


def waves(experts: tuple[Expert, ...]) -> list[Wave]:
    """Return one wave for each engine, from the cheapest to the most expensive."""
    engines: dict[str, list[int]] = {}
    for position, expert in enumerate(experts):
        engines.setdefault(engine_key(expert), []).append(position)

    def highest_price(group: list[int]) -> float:
        return max(experts[i].rates[0].input + experts[i].rates[0].output for i in group)

    groups = sorted(engines.values(), key=highest_price)
    return [Wave(number, tuple(group)) for number, group in enumerate(groups)]


def order_waves(waves: list[Wave], experts: Sequence[Expert], engines: Engines, *, in_turn: bool) -> list[Wave]:
    """Order waves: those of loaded engines first, unless they are to run `in_turn`, from cheap to expensive."""
    return waves if in_turn else sorted(waves, key=lambda wave: not engines.is_loaded(experts[wave.experts[0]]))


def longest_lane(experts: Sequence[Expert], seconds: Sequence[float]) -> float:
    """Return the time of a run, given that of each expert's part: parts of one lane follow each other.

    Models of this machine share a lane, and so do experts that share the limits of an account.
    """
    lanes: dict[Hashable, float] = {}
    for expert, part in zip(experts, seconds, strict=True):
        lane = (account_of(expert) or expert.name) if capabilities(expert).runs_elsewhere else None
        lanes[lane] = lanes.get(lane, 0.0) + part
    return max(lanes.values(), default=0.0)


def describe(worktable: Worktable, experts: tuple[Expert, ...], order: list[Wave]) -> None:
    """Note in the worktable how each candidate is asked, and in which wave."""
    wave_of = {position: wave.number for wave in order for position in wave.experts}
    around = [(e.template or "{question}").partition("{question}")[::2] for e in experts]  # what is before and after it
    worktable.describe(
        [
            (
                *(i, e.name, wave_of[i], fingerprint(e), *around[i], e.system, e.max_tokens, thinks(e), *_effort(e)),
                e.adapter,
            )
            for i, e in enumerate(experts)
        ]
    )


def _effort(expert: Expert) -> tuple[str | None, int]:
    """Return how hard an expert is to think, and the most tokens of that; recorded answers are thought already."""
    return (None, 0) if capabilities(expert).recorded else (expert.effort, expert.thinking_tokens)


def thinks(expert: Expert) -> bool:
    """Return whether an expert has more tokens than the default, and so may think before it names a choice."""
    return bool(expert.max_tokens > Expert.model_fields["max_tokens"].default)
