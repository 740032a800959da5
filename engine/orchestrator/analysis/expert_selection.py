"""Select the few experts that together can answer the most, by recorded outcomes.

Tables are [n questions, e experts]. The mean over the questions of the pool's best value is maximised, where the value
is score - cost_weight x USD. In the results it is called `worth`. That function is submodular: the more experts there
are, the less another one adds. So a greedy selection reaches at least 1 - 1/e, 63 %, of the best pool's gain over
answering every question in the worst way (Nemhauser, Wolsey & Fisher 1978). In practice it reaches nearly all. Knows
nothing of routers.
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
# Sums of the same numbers in another order differ by less than this.
_EQUAL = 1e-9


@dataclass(frozen=True)
class SelectedPool:
    """A pool of k experts, and its accuracy and cost.

    Attributes:
        k: The number of experts.
        oracle_accuracy: Mean of the best score of each question (of the best value, when costs count).
        cost_usd_per_1k: Cost of the cheapest such answers; None where costs are not known.
        held_out_accuracy: The same accuracy on questions that the experts were not selected by.
        by_subject_accuracy, by_subject_cost_usd_per_1k: Accuracy and cost on such questions when the choice depends on
            the subject alone; None without subjects, and the costs where they are not known.
    """

    k: int
    oracle_accuracy: float
    cost_usd_per_1k: float | None
    held_out_accuracy: float
    by_subject_accuracy: float | None
    by_subject_cost_usd_per_1k: float | None


@dataclass(frozen=True)
class SelectionStep(SelectedPool):
    """The pool after its k-th expert was added.

    Attributes:
        expert: The k-th.
        adds: Its gain in the oracle's accuracy.
        worth: Mean of the best value, which is maximised; the oracle's accuracy when costs do not count.
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
    """A pool selected among all experts, step by step.

    Attributes:
        n: Questions.
        cost_weight: Score points that one dollar equals.
        curve: A pool for each k, each one expert more than the last.
        best_single: The expert of the best accuracy; the cheapest in a tie.
        all: The pool of all experts.
        judged_on: Recorded outcomes of each expert; the rest of the n are expectations.
        notes: Caveats about these numbers, a line each.
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
        """The selected experts, in the order in which they were added."""
        return [step.expert for step in self.curve]

    def as_json(self) -> dict[str, Any]:
        """Return the object that `leeroo select-experts --json` prints.

        {"n", "k", "cost_weight", "experts": [in the order taken], "curve": [{"k", "expert", "adds", "worth",
        "oracle_accuracy", "cost_usd_per_1k", "held_out_accuracy", "by_subject_accuracy",
        "by_subject_cost_usd_per_1k"}], "best_single": {"expert", "accuracy", "cost_usd_per_1k"}, "all": {as in the
        curve, less expert, adds and worth}, "judged_on": {expert: outcomes}, "notes": [line]}. Unknown costs and
        results by subject are null.
        """
        first = {"n": self.n, "k": len(self.curve), "cost_weight": self.cost_weight, "experts": self.experts}
        return {**first, **asdict(self)}


def select_experts(
    data: Sequence[Path], k: int | None = None, split: str = "train", cost_weight: float = 0.0
) -> ExpertSelection:
    """Select k experts that complement each other, by the recorded outcomes of data folders taken together.

    The accuracy of an oracle flatters a pool twice. First, the experts are selected by the very outcomes that are
    counted. So they are also selected by one half of the questions and counted on the other, and the reverse. Second,
    with scores of 0 and 1 every further expert is right somewhere by mere luck, which an oracle knows and no router
    can. So the result also has the accuracy of a router that knows only the subject of a question. It chooses the
    expert that was best on that subject in the other half. A good router reaches something between the two.

    Where an expert has no outcome on a question, its expected score counts, see `impute_scores`. If it were no option
    there, an expert would gain from questions that the others never got. An expectation is never luck, so experts with
    few outcomes are judged with caution: they add little where they were not tried.

    Args:
        data: Data folders.
        k: The number of experts; default: six, or all where there are fewer.
        split: 'train', 'test', or 'all'.
        cost_weight: Score points that one dollar equals.

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
    """Recorded or expected scores and costs of all experts on the questions, [n, e]; costs NaN if not known."""

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
        """Select the best addition, k times; the cheapest in a tie."""
        pool: list[int] = []
        best = self.worth.min(axis=1)  # without an expert every question counts as answered in the worst way
        for _ in range(k):
            reached = np.maximum(self.worth, best[:, None]).mean(axis=0)
            reached[pool] = -np.inf
            pool.append(self._cheapest(reached))
            best = np.maximum(best, self.worth[:, pool[-1]])
        return pool

    def most_accurate(self) -> int:
        """Return the column of the expert of the best mean score."""
        return self._cheapest(self.scores.mean(axis=0))

    def oracle(self, pool: Sequence[int]) -> tuple[float, float]:
        """Return accuracy and USD per 1,000 questions, with the cheapest of the best in the pool for each."""
        worth = self.worth[:, pool]
        equal = worth >= worth.max(axis=1, keepdims=True) - _EQUAL
        cheapest = np.where(equal, np.nan_to_num(self.costs[:, pool]), np.inf).argmin(axis=1)
        return self.of(np.array(pool)[cheapest])

    def of(self, chosen: Int64s) -> tuple[float, float]:
        """Return accuracy and USD per 1,000 questions, of the experts [n] chosen for the questions."""
        row = np.arange(len(chosen))
        return float(self.scores[row, chosen].mean()), 1000 * float(self.costs[row, chosen].mean())

    def _cheapest(self, values: Float64s) -> int:
        """Return the column of the greatest value, by cost and then by name in a tie."""
        costs = np.nan_to_num(self.costs.mean(axis=0))
        equal: list[int] = np.flatnonzero(values >= values.max() - _EQUAL).tolist()
        return min(equal, key=lambda j: (costs[j], j))


def _points(candidates: _Candidates, order: list[int]) -> list[SelectedPool]:
    """Measure the first expert, the first two, and so on, and all experts."""
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
    """Select pools by one half and count them on the other: the oracle's accuracy, and accuracy and USD by subject.

    The result is [pools, 3], the means of the halves; NaN where not known.
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
