"""Waves: lines that are answered together, and how many of them, from which batches.

A wave holds lines of one key that want the same of the engine, so that no tenant's lines wait for another's. Lines that
name a remote expert form waves of their own: an expert that hangs holds up nobody who did not name it. Knows nothing of
the engine and of threads.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from leeroo.serve.work.queue import Backlog

# Seconds that a wave should take: as long as a new batch of the same key may have to wait for its first answers.
WAVE_S = 5.0
# Lines a second that are expected of a batch before any of it was answered, and how much faster a wave may be than the
# one before. Lines wait in a random order, so that the speed so far is that of the rest.
_FIRST_PER_S, _FASTER = 10.0, 8.0
_MOST_LINES = 20_000


@dataclass(frozen=True)
class WaveGroup:
    """Properties that all lines of a wave share; waves of different groups run at the same time."""

    owner: str
    cost_weight: float
    latency_weight: float
    batch: int | None  # of one that has a budget, or is tried alone
    expert: str  # a remote one that the lines name, '' for all others
    learns: bool  # from its first answers whom to ask the rest


@dataclass(eq=False)
class LineWave:
    """Lines that were claimed together."""

    number: int
    group: WaveGroup
    batches: frozenset[int]
    alone: bool = False  # it may have ended the process: no other is begun meanwhile
    began: float = field(init=False, default_factory=time.monotonic)
    stop: threading.Event = field(init=False, default_factory=threading.Event)
    cleared: bool = field(init=False, default=False)  # an end of the process is not its fault

    @property
    def age(self) -> float:
        """Seconds since its start."""
        return time.monotonic() - self.began


class Speeds:
    """How many lines of each batch are answered in a second, as far as it is known."""

    def __init__(self) -> None:
        self._per_s: dict[int, float] = {}

    def portions(self, backlogs: Sequence[Backlog]) -> list[tuple[Backlog, int]]:
        """Choose how many lines of each backlog make a wave.

        Each batch gets the same seconds; those that a short one leaves over go to longer ones. A batch that learns is
        one wave: what a part of it teaches is for the rest.
        """
        if any(backlog.learns for backlog in backlogs):
            return [(backlog, min(backlog.lines, _MOST_LINES)) for backlog in backlogs]
        shortest_first = sorted(backlogs, key=lambda backlog: backlog.lines / self._of(backlog.batch))
        left, room, portions = WAVE_S, _MOST_LINES, []
        for place, backlog in enumerate(shortest_first):
            share = int(left / (len(shortest_first) - place) * self._of(backlog.batch))
            lines = min(backlog.lines, max(1, share), max(1, room))
            left -= lines / self._of(backlog.batch)
            room -= lines
            portions.append((backlog, lines))
        return portions

    def learn(self, lines: dict[int, int], seconds: float) -> None:
        """Learn from a wave that answered this many lines of each batch."""
        expected = sum(n / self._of(batch) for batch, n in lines.items())
        for batch in lines:
            self._per_s[batch] = self._of(batch) * min(expected / max(seconds, 1e-3), _FASTER)

    def forget_others(self, batches: set[int]) -> None:
        """Forget all but these batches."""
        for batch in set(self._per_s) - batches:
            self._per_s.pop(batch, None)

    def _of(self, batch: int) -> float:
        return max(self._per_s.get(batch, _FIRST_PER_S), 1e-3)


def group_backlogs(
    backlogs: Iterable[Backlog], remote: frozenset[str], alone: set[int]
) -> dict[WaveGroup, list[Backlog]]:
    """Group waiting lines by what their waves have in common.

    Args:
        backlogs: The waiting lines.
        remote: Names of remote experts.
        alone: Batches that are tried alone.

    """
    groups: dict[WaveGroup, list[Backlog]] = {}
    for backlog in backlogs:
        batch = backlog.batch if backlog.with_budget or backlog.batch in alone else None
        expert = backlog.expert if backlog.expert in remote else ""
        group = WaveGroup(backlog.owner, backlog.cost_weight, backlog.latency_weight, batch, expert, backlog.learns)
        groups.setdefault(group, []).append(backlog)
    return groups
