"""Universe: which few experts, between them, can answer the most; chosen from recorded outcomes.

Tables are [n questions, e experts]. What is maximised is the mean over the questions of the best worth in the pool,
worth being score - cost_weight x USD. That function is submodular: the more experts there are, the less another one
adds. So taking the best addition again and again comes to at least 1 - 1/e, 63 %, of what the best pool of that size
adds to answering every question in the worst way (Nemhauser, Wolsey & Fisher 1978), and in practice to nearly all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from leeroo.engine.arrays import Float64s, Int64s
from leeroo.engine.errors import RouterError, UsageError
from leeroo.engine.orchestrator.analysis.baselines import subject_means
from leeroo.engine.orchestrator.outcomes.impute import costs_usd, count_outcomes, impute_scores
from leeroo.engine.orchestrator.outcomes.read import read_outcomes

_USUAL_SIZE = 6
# Sums of the same numbers in another order differ by less.
_EQUAL = 1e-9


@dataclass(frozen=True)
class SelectedPool:
    """A pool of k experts, and what it comes to.

    Attributes:
        k: How many experts.
        oracle_accuracy: Mean of the best score of each question (of what is worth most, when costs count).
        cost_usd_per_1k: What the cheapest such answers cost; None where costs are not known.
        held_out_accuracy: The same accuracy on questions that the experts were not chosen by.
        by_subject_accuracy, by_subject_cost_usd_per_1k: What choosing by the subject alone comes to on such questions;
            None without subjects, and the costs where they are not known.
    """

    k: int
    oracle_accuracy: float
    cost_usd_per_1k: float | None
    held_out_accuracy: float
    by_subject_accuracy: float | None
    by_subject_cost_usd_per_1k: float | None


@dataclass(frozen=True)
class SelectionStep(SelectedPool):
    """The pool after its k-th expert was taken.

    Attributes:
        expert: The k-th.
        adds: What it adds to the oracle's accuracy.
        worth: Mean of the best worth: what is maximised; the oracle's accuracy when costs do not count.
    """

    expert: str
    adds: float
    worth: float


@dataclass(frozen=True)
class SingleExpert:
    """One expert that answers everything."""

    expert: str
    accuracy: float
    cost_usd_per_1k: float | None


@dataclass(frozen=True)
class ExpertSelection:
    """A pool chosen among all experts, step by step.

    Attributes:
        n: Questions.
        cost_weight: Score points that one dollar is worth.
        curve: A pool for each k, each one expert more than the last.
        best_single: The expert of the best accuracy, the cheapest of equals.
        all: The pool of everybody.
        judged_on: Recorded outcomes of each expert; the rest of the n are expectations.
        notes: What people should know about these numbers, a line each.
    """

    n: int
    cost_weight: float
    curve: list[SelectionStep]
    best_single: SingleExpert
    all: SelectedPool
    judged_on: dict[str, int]
    notes: list[str]

    @property
    def experts(self) -> list[str]:
        """The chosen ones, in the order in which they were taken."""
        return [step.expert for step in self.curve]

    def as_json(self) -> dict[str, Any]:
        """What `leeroo select-experts --json` prints.

        {"n", "k", "cost_weight", "experts": [in the order taken], "curve": [{"k", "expert", "adds", "worth",
        "oracle_accuracy", "cost_usd_per_1k", "held_out_accuracy", "by_subject_accuracy",
        "by_subject_cost_usd_per_1k"}], "best_single": {"expert", "accuracy", "cost_usd_per_1k"}, "all": {as in the
        curve, less expert, adds and worth}, "judged_on": {expert: outcomes}, "notes": [line]}. What is not known is
        null: costs, and what is by subject.
        """
        return {
            "n": self.n,
            "k": len(self.curve),
            "cost_weight": self.cost_weight,
            "experts": self.experts,
            "curve": [asdict(step) for step in self.curve],
            "best_single": asdict(self.best_single),
            "all": asdict(self.all),
            "judged_on": self.judged_on,
            "notes": self.notes,
        }


def select_experts(
    data: Sequence[Path], k: int | None = None, split: str = "train", cost_weight: float = 0.0
) -> ExpertSelection:
    """Choose k experts that complement each other, by the recorded outcomes of data folders taken together.

    The accuracy of an oracle flatters a pool twice. The experts are chosen by the very outcomes that are counted; so
    they are also chosen by one half of the questions and counted on the other, and the other way round. And with
    scores of 0 and 1 every further expert is right somewhere by mere luck, which an oracle knows of and no router
    can; so there is also what a router comes to that knows of a question only its subject: it asks the expert that
    was best on that subject in the other half. What a good router reaches lies between the two.

    Where an expert has no outcome on a question it is taken for what can be expected of it there, see
    `filled_scores`. Were it no option there, an expert would be rewarded for having been asked what the others were
    not. An expectation is never luck, so experts with few outcomes are judged with caution: they add little where they
    were not tried.

    Args:
        data: Data folders.
        k: How many experts; six, or all where there are fewer, without.
        split: 'train', 'test', or 'all'.
        cost_weight: Score points that one dollar is worth.

    Raises:
        RouterError: the data is not as `read_outcomes` wants it, or costs count and are not known.
        UsageError: k is not between 1 and the number of experts, there is only one expert, or the cost weight is
            negative.
    """
    if not 0 <= cost_weight < float("inf"):
        raise UsageError(f"cost_weight must be a number of at least 0, but it is {cost_weight:g}")
    outcomes, notes = read_outcomes(data, split), list[str]()
    size = _pool_size(k, outcomes.experts, data)
    costs = costs_usd(outcomes, data, notes)
    if cost_weight and np.isnan(costs).any():
        raise RouterError(f"costs cannot count: {notes[-1]}")
    judged = count_outcomes(outcomes, notes)
    candidates = _Candidates(impute_scores(outcomes.scores), costs, cost_weight, outcomes.subjects, outcomes.categories)
    if not candidates.has_topics:
        notes.append("no accuracy by subject, as the queries name neither subject nor category")
    order, single = candidates.greedy(size), candidates.most_accurate()
    accuracy, usd = candidates.oracle([single])
    points = _points(candidates, order)
    before = [0.0, *(point.oracle_accuracy for point in points)]
    return ExpertSelection(
        n=len(candidates.scores),
        cost_weight=cost_weight,
        curve=[
            SelectionStep(
                **asdict(points[i]),
                expert=outcomes.experts[j],
                adds=points[i].oracle_accuracy - before[i],
                worth=float(candidates.worth[:, order[: i + 1]].max(axis=1).mean()),
            )
            for i, j in enumerate(order)
        ],
        best_single=SingleExpert(outcomes.experts[single], accuracy, _known(usd)),
        all=points[-1],
        judged_on=judged,
        notes=notes,
    )


@dataclass(frozen=True)
class _Candidates:
    """Questions, and what all experts made or would make of them; scores and costs [n, e], costs NaN if not known."""

    scores: Float64s
    costs: Float64s
    cost_weight: float
    subjects: list[str | None]
    categories: list[str | None]

    @cached_property
    def worth(self) -> Float64s:
        return self.scores - self.cost_weight * self.costs if self.cost_weight else self.scores

    @property
    def has_topics(self) -> bool:
        return any(self.subjects) or any(self.categories)

    def at(self, rows: Int64s) -> _Candidates:
        return _Candidates(
            self.scores[rows],
            self.costs[rows],
            self.cost_weight,
            [self.subjects[row] for row in rows],
            [self.categories[row] for row in rows],
        )

    def greedy(self, k: int) -> list[int]:
        """The best addition, k times; the cheapest of equals."""
        pool: list[int] = []
        best = self.worth.min(axis=1)  # before anybody is taken every question is answered in the worst way
        for _ in range(k):
            reached = np.maximum(self.worth, best[:, None]).mean(axis=0)
            reached[pool] = -np.inf
            pool.append(self._cheapest(reached))
            best = np.maximum(best, self.worth[:, pool[-1]])
        return pool

    def most_accurate(self) -> int:
        """Column of the expert of the best mean score."""
        return self._cheapest(self.scores.mean(axis=0))

    def oracle(self, pool: Sequence[int]) -> tuple[float, float]:
        """Accuracy and USD per 1,000 questions, of the cheapest in the pool that has the best worth."""
        worth = self.worth[:, pool]
        equal = worth >= worth.max(axis=1, keepdims=True) - _EQUAL
        cheapest = np.where(equal, np.nan_to_num(self.costs[:, pool]), np.inf).argmin(axis=1)
        return self.of(np.array(pool)[cheapest])

    def of(self, chosen: Int64s) -> tuple[float, float]:
        """Accuracy and USD per 1,000 questions, of the experts [n] chosen for the questions."""
        row = np.arange(len(chosen))
        return float(self.scores[row, chosen].mean()), 1000 * float(self.costs[row, chosen].mean())

    def _cheapest(self, values: Float64s) -> int:
        """Column of the greatest value, by cost and then by name where several have it."""
        costs = np.nan_to_num(self.costs.mean(axis=0))
        equal: list[int] = np.flatnonzero(values >= values.max() - _EQUAL).tolist()
        return min(equal, key=lambda j: (costs[j], j))


def _points(candidates: _Candidates, order: list[int]) -> list[SelectedPool]:
    """The first expert, the first two, and so on, and everybody."""
    everybody = list(range(candidates.scores.shape[1]))
    held_out = _held_out(candidates, lambda half: [*_nested(half.greedy(len(order))), everybody])
    pools = [*_nested(order), everybody]
    return [
        SelectedPool(len(pool), accuracy, _known(usd), float(oracle), _known(by_subject), _known(by_subject_usd))
        for pool, (accuracy, usd), (oracle, by_subject, by_subject_usd) in zip(
            pools, map(candidates.oracle, pools), held_out, strict=True
        )
    ]


def _nested(order: list[int]) -> list[list[int]]:
    return [order[: i + 1] for i in range(len(order))]


def _held_out(candidates: _Candidates, pools_of: Callable[[_Candidates], list[list[int]]]) -> Float64s:
    """Pools chosen by one half and counted on the other: the oracle's accuracy, and accuracy and USD by subject.

    That is [pools, 3], the means of the halves; NaN where not known.
    """
    n = len(candidates.scores)
    halves = np.array_split(np.random.default_rng(0).permutation(n), 2)
    total = np.zeros(())
    for learned, counted in (halves, halves[::-1]):
        half, other = candidates.at(learned), candidates.at(counted)
        expected = subject_means(half.worth, half.subjects, half.categories, other.subjects, other.categories)
        of_pools = []
        for pool in pools_of(half):
            by_subject = other.of(np.array(pool)[expected[:, pool].argmax(axis=1)])
            of_pools.append((other.oracle(pool)[0], *(by_subject if candidates.has_topics else (np.nan, np.nan))))
        total = total + np.array(of_pools) * len(counted) / n
    return total


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _pool_size(k: int | None, experts: Sequence[str], data: Sequence[Path]) -> int:
    where = ", ".join(map(str, data))
    if len(experts) < 2:
        raise UsageError(f"there is nothing to choose: {where} has outcomes of one expert only, {experts[0]!r}")
    if k is None:
        return min(_USUAL_SIZE, len(experts))
    if not 1 <= k <= len(experts):
        raise UsageError(f"k is {k}, but must be from 1 to {len(experts)}, the number of experts in {where}")
    return k
