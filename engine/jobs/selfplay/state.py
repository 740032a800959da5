"""The state of a loop of self-play: its options, its folder, what its stages share, and the round under way.

In the folder every stage of every round leaves one file, whole or not at all. The cost of a stage is in its file's
metadata, `cost_usd`, so the cost of a loop is the sum over its files. Knows nothing of what the stages do.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.judge import RUBRIC
from leeroo.engine.jobs.selfplay.families import SAFE
from leeroo.engine.jobs.selfplay.generate import NewQuestion
from leeroo.engine.listeners import LineListener
from leeroo.engine.money import usd
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.pool import Expert
from leeroo.engine.tables import write_table
from leeroo.engine.tables.outputs import check_own

# Makes the table of a stage, and returns it with its cost in USD.
Stage = Callable[[], tuple[pa.Table, float]]

_LOCK = "selfplay.lock"
_OURS = ("held-out", "rounds", "store", _LOCK)


@dataclass(frozen=True, kw_only=True)
class Play:
    """The options of a loop of self-play.

    Attributes:
        outcomes: Outcomes of a round; as many questions are made.
        held_out: Questions that routers are measured on; every expert answers them once.
        families: Of `FAMILIES`; 'code' needs `run_code`.
        run_code: Run code that experts write, in a sandbox.
        seeds: A user's own questions; a quarter of those with a right answer is held out.
        data: Data folders with outcomes that are there already; with them no expert answers anything at the start.
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
    seeds: tuple[NewQuestion, ...] = ()
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

    def folder(self, number: int) -> Path:
        """Return the folder of a round; 0 is the start."""
        return self.out / "rounds" / f"{number:04}"

    def once(self, file: Path, make: Stage) -> pa.Table:
        """Return the table in a file; if the file is not there, make it, and deliver the answers in it."""
        if not file.is_file():
            with self.engine.delivery():
                table, cost = make()
                file.parent.mkdir(parents=True, exist_ok=True)
                write_table(table.replace_schema_metadata({"cost_usd": repr(cost)}).to_reader(), file)
        return pq.read_table(file)

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
        return self.loop.folder(self.number)

    @property
    def criteria(self) -> Criteria:
        """The criteria of a stage, with what is left for the round."""
        return Criteria(max_cost_usd=self.loop.left(self.share))

    def once(self, name: str, make: Stage) -> pa.Table:
        """Return the table of a stage, made now if its file is not there."""
        return self.loop.once(self.folder / f"{name}.parquet", make)

    def say(self, line: str) -> None:
        """Report a line about the round."""
        self.loop.say(f"round {self.number}: {line}" if self.number else f"start: {line}")


def spent_usd(out: Path) -> float:
    """Return the cost of the stages in a folder, and in the folders in it."""
    return sum(float((pq.read_schema(file).metadata or {}).get(b"cost_usd", 0.0)) for file in out.glob("**/*.parquet"))


def check_folder(out: Path) -> None:
    """Check that a loop may be played in a folder, before anything is written there.

    Raises:
        UsageError: something else is there.
    """
    if out.is_file():
        raise UsageError(f"{out} is a file: name a new folder, or one that self-play has made")
    check_own(out, _OURS)


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold the folder for this process; it is made when it does not exist.

    Raises:
        UsageError: it is not that of a loop, or another process plays in it.
    """
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / _LOCK, timeout=0):
            yield
    except Timeout:
        raise UsageError(f"another process plays in {out}: wait for it, or name another folder") from None
