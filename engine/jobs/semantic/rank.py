"""Rank: the few best of many texts, by a tournament.

Texts meet in groups, all of which stand in one request, and the winner advances: each round is one wave, and all rounds
of the first place take about n / (m - 1) requests for n texts in groups of m. The next place goes to the best of those
who have lost to winners only: the groups of the last winner are decided again without it.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from leeroo.engine.batch.assign import BEYOND_BUDGET
from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.semantic.decisions import Decided, Decisions, Operation
from leeroo.engine.jobs.semantic.results import MATCHES

# Letters of the texts in a group.
_MOST = len(string.ascii_uppercase)
_TASK = "Which of these is the {}? Answer with its letter."


@dataclass
class _Bout:
    """A group of a round: who is in it, and who won."""

    members: list[int]
    winner: int | None = None
    confidence: float = float("nan")
    expert: str | None = None


@dataclass(frozen=True)
class Rank:
    """The search for the best texts.

    Attributes:
        criterion: What the best one is, as "most helpful review".
        k: How many are wanted.
        group: Texts in one request.
        expert, private: As in `Join`.
        seed: Of the order in which texts meet, which spares the first ones a bias towards their place.

    Raises:
        UsageError: a number that cannot be, or no criterion.

    """

    criterion: str
    k: int = 5
    group: int = 8
    expert: str | None = None
    private: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.criterion.strip():
            raise UsageError("the criterion is blank: say what the best row is, as 'most helpful review'")
        if self.k < 1:
            raise UsageError(f"k must be a number above 0, not {self.k}")
        if not 2 <= self.group <= _MOST:
            raise UsageError(f"a group has from 2 to {_MOST} rows, not {self.group}")

    def rounds(self, n: int) -> list[int]:
        """Return the number of requests of each round of the first place."""
        found = []
        while n > 1:
            found.append((n - 2) // self.group + 1)
            n = -(-n // self.group)
        return found

    def requests(self, n: int) -> int:
        """Return the most requests for n texts."""
        rounds = self.rounds(n)
        return sum(rounds) + (min(self.k, n) - 1) * len(rounds)

    def run(self, texts: list[str]) -> Operation[pa.Table]:
        """Find the best of these different texts: a table of `MATCHES`, the best first."""
        tree = _Tree(self, texts, _levels(self.shuffle(len(texts)), self.group))
        places: list[_Bout] = []
        while len(places) < min(self.k, len(texts)):
            final = yield from tree.play()
            if final is None or final.winner is None:
                break
            places.append(_Bout([], final.winner, final.confidence, final.expert))
            tree.remove(final.winner)
        return _table(texts, places)

    def shuffle(self, n: int) -> list[int]:
        """Return the order in which n texts meet."""
        return [int(at) for at in np.random.default_rng(self.seed).permutation(n)]

    def first_round(self, texts: Sequence[str]) -> Decisions:
        """Return the decisions of the first round."""
        bouts = _levels(self.shuffle(len(texts)), self.group)[0]
        return self.decisions(texts, [bout.members for bout in bouts if len(bout.members) > 1])

    def decisions(self, texts: Sequence[str], groups: Sequence[Sequence[int]], later: int = 0) -> Decisions:
        """Return the decisions on groups of texts."""
        questions = [_question(self.criterion, [texts[at] for at in group]) for group in groups]
        choices = [list(string.ascii_uppercase[: len(group)]) for group in groups]
        arguments = {"choices": pa.array(choices, pa.list_(pa.string()))}
        if self.expert is not None:
            arguments["expert"] = pa.array([self.expert] * len(groups), pa.string())
        return Decisions(pa.array(questions, pa.string()), arguments, self.private, later)


@dataclass
class _Tree:
    """The groups of all rounds; a winner of one is a member of one in the next."""

    rank: Rank
    texts: list[str]
    levels: list[list[_Bout]]
    requests: int = 0
    beyond_budget: bool = False

    def play(self) -> Operation[_Bout | None]:
        """Decide what is undecided, round by round; return the last group, None where nobody is left or no money is."""
        for level, bouts in enumerate(self.levels):
            opened = [at for at, bout in enumerate(bouts) if bout.winner is None and bout.members]
            yield from self._decide([bouts[at] for at in opened])
            if self.beyond_budget:
                return None
            for at in opened if level + 1 < len(self.levels) else ():
                winner = bouts[at].winner
                assert winner is not None
                self.levels[level + 1][at // self.rank.group].members.append(winner)
        final = self.levels[-1][0]
        return final if final.members else None

    def _decide(self, bouts: list[_Bout]) -> Operation[None]:
        """Find the winner of each group; one alone wins without a request."""
        for bout in bouts:
            if len(bout.members) == 1:
                bout.winner = bout.members[0]
        asked = [bout for bout in bouts if bout.winner is None]
        if not asked:
            return
        later = self.rank.requests(len(self.texts)) - self.requests - len(asked)
        self.requests += len(asked)
        decided: Decided = yield self.rank.decisions(self.texts, [bout.members for bout in asked], max(later, 0))
        answers, experts = decided.answers.to_pylist(), decided.experts.to_pylist()
        for at, bout in enumerate(asked):
            if answers[at] is not None:
                bout.winner = bout.members[string.ascii_uppercase.index(answers[at])]
                bout.confidence, bout.expert = float(decided.confidence[at]), experts[at]
        self.beyond_budget |= any((error or "").startswith(BEYOND_BUDGET) for error in decided.errors.to_pylist())
        if not self.beyond_budget:
            yield from self._decide_in_parts([bout for bout in asked if bout.winner is None])

    def _decide_in_parts(self, failed: list[_Bout]) -> Operation[None]:
        """Decide groups that failed, perhaps because they are too long, by halves; the shorter of two advances."""
        for bout in failed:
            if len(bout.members) == 2:
                bout.winner = min(bout.members, key=lambda at: len(self.texts[at]))
        larger = [bout for bout in failed if bout.winner is None]
        if not larger:
            return
        halves = [_Bout(half) for bout in larger for half in _halves(bout.members)]
        yield from self._decide(halves)
        if self.beyond_budget:
            return
        finals = [_Bout([half.winner for half in pair if half.winner is not None]) for pair in _pairs(halves)]
        yield from self._decide(finals)
        for bout, final in zip(larger, finals, strict=True):
            bout.winner, bout.confidence, bout.expert = final.winner, final.confidence, final.expert

    def remove(self, winner: int) -> None:
        """Take a winner out of all its groups, which are undecided then."""
        for bouts in self.levels:
            for bout in bouts:
                if winner in bout.members:
                    bout.members.remove(winner)
                    bout.winner = None


def _halves(members: list[int]) -> tuple[list[int], list[int]]:
    middle = len(members) // 2
    return members[:middle], members[middle:]


def _pairs(halves: list[_Bout]) -> list[tuple[_Bout, _Bout]]:
    return list(zip(halves[::2], halves[1::2], strict=True))


def _levels(order: list[int], m: int) -> list[list[_Bout]]:
    """Return the groups of all rounds, those of the first with their members."""
    levels = [[_Bout(order[start : start + m]) for start in range(0, len(order), m)]]
    while len(levels[-1]) > 1:
        levels.append([_Bout([]) for _ in range(-(-len(levels[-1]) // m))])
    return levels


def _question(criterion: str, texts: Sequence[str]) -> str:
    lines = [f"{letter}. {text}" for letter, text in zip(string.ascii_uppercase, texts, strict=False)]
    return "\n".join([_TASK.format(criterion), "", *lines])


def _table(texts: Sequence[str], places: Sequence[_Bout]) -> pa.Table:
    n = len(places)
    return pa.table(
        [
            pa.array([texts[place.winner] for place in places if place.winner is not None], pa.string()),
            pa.nulls(n, pa.string()),
            pa.array(range(1, n + 1), pa.int64()),
            pa.nulls(n, pa.float64()),
            pa.array(np.array([place.confidence for place in places], np.float64), from_pandas=True),
            pa.array([place.expert for place in places], pa.string()),
            pa.nulls(n, pa.float64()),
            pa.nulls(n, pa.float64()),
        ],
        schema=MATCHES,
    )
