"""The state of a loop of self-play: what it is to do, what all its stages share, and the round under way.

Knows nothing of what the stages do.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.selfplay.families import SAFE
from leeroo.engine.jobs.selfplay.generate import Generated
from leeroo.engine.jobs.selfplay.judge import RUBRIC
from leeroo.engine.jobs.selfplay.stages import Stage, once, round_folder, spent_usd
from leeroo.engine.listeners import LineListener
from leeroo.engine.money import usd
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.pool import Expert


@dataclass(frozen=True, kw_only=True)
class Play:
    """The options of a loop of self-play.

    Attributes:
        outcomes: Outcomes of a round; as many questions are made.
        held_out: Questions that routers are measured on; every expert answers them once.
        families: Of `FAMILIES`; 'code' needs `run_code`.
        run_code: Run code that experts write, in a sandbox.
        seeds: A user's own questions; a quarter of those with a right answer is held out.
        data: Data folders with outcomes that are there already; with them nobody answers anything at the start.
        writer: The expert that writes questions; the most expensive of the pool by default.
        written: The part of a round's questions that it writes.
        judge: The expert that judges where nothing is computed; the most expensive by default.
        rubric: The judge's instructions.
        max_cost_usd: Most USD that all runs of this loop spend together.
        seed: Random seed.
    """

    outcomes: int = 150
    held_out: int = 150
    families: tuple[str, ...] = SAFE
    run_code: bool = False
    seeds: tuple[Generated, ...] = ()
    data: tuple[Path, ...] = ()
    writer: str | None = None
    written: float = 0.25
    judge: str | None = None
    rubric: str = RUBRIC
    max_cost_usd: float | None = None
    seed: int = 0


@dataclass(frozen=True)
class Loop:
    """The state that all stages share; the experts are those of the pool that can run here."""

    engine: Engine
    out: Path
    what: Play
    experts: tuple[Expert, ...]
    say: LineListener

    @property
    def names(self) -> list[str]:
        """The names of the experts."""
        return [e.name for e in self.experts]

    @property
    def most_expensive(self) -> str:
        """The most expensive expert."""
        return max(self.experts, key=lambda e: e.usd_per_m_input + e.usd_per_m_output).name

    @property
    def judge(self) -> str:
        """The expert that judges."""
        return self.what.judge or self.most_expensive

    def rng(self, number: int, stage: str) -> random.Random:
        """Return the random numbers of a stage, the same however often it is begun."""
        return random.Random(f"{self.what.seed} {number} {stage}")

    def once(self, file: Path, make: Stage) -> pa.Table:
        """Return the table of a stage, made now if its file is not there."""
        return once(self.engine, file, make)

    def left(self, rounds_left: int | None = None) -> float | None:
        """Return the USD that may still be spent, or the part of it for one of `rounds_left` rounds.

        Raises:
            UsageError: nothing is left.
        """
        if self.what.max_cost_usd is None:
            return None
        left = self.what.max_cost_usd - spent_usd(self.out)
        if left <= 0:
            raise self.over(left)
        return left / (rounds_left or 1)

    def over(self, left: float) -> UsageError:
        """Return the error that the budget is used up."""
        return UsageError(
            f"the budget of {usd(self.what.max_cost_usd or 0.0)} is spent but for {usd(max(left, 0.0))}, with which "
            f"nobody answers: raise --max-cost-usd to go on in {self.out}"
        )


@dataclass(frozen=True)
class Round:
    """A round under way.

    Attributes:
        number: 0 is the start.
        share: Number of rounds that share the rest of the budget; None for all of it.
        before: The router of the round before; None at the start.
        data: Data folders with the outcomes so far, the oldest first.
    """

    loop: Loop
    number: int
    share: int | None
    before: Router | None
    data: list[Path]

    @property
    def folder(self) -> Path:
        """The folder of the round."""
        return round_folder(self.loop.out, self.number)

    @property
    def name(self) -> str:
        """The name of the round, for people."""
        return f"round {self.number}" if self.number else "start"

    @property
    def criteria(self) -> Criteria:
        """The criteria of a stage, with what is left for the round."""
        return Criteria(max_cost_usd=self.loop.left(self.share))

    def once(self, name: str, make: Stage) -> pa.Table:
        """Return the table of a stage, made now if its file is not there."""
        return self.loop.once(self.folder / f"{name}.parquet", make)

    def say(self, line: str) -> None:
        """Report a line about the round."""
        self.loop.say(f"{self.name}: {line}")
