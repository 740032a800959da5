"""Evaluate a router's choices on recorded questions, and compare them with simpler ways of choosing.

Knows nothing of how the results are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from leeroo.engine.arrays import Float32s, Float64s
from leeroo.engine.errors import RouterError, UsageError
from leeroo.engine.listeners import LineListener
from leeroo.engine.orchestrator.analysis.baselines import best_neighbours, neighbour_means, subject_means
from leeroo.engine.orchestrator.analysis.frontier import (
    SHARES,
    Budgeted,
    Interval,
    PairMeasures,
    Point,
    accuracy_at,
    aiq,
    budgets_usd_per_1k,
    expected_calibration_error,
    measure_frontier,
    oracle,
    pair_measures,
    random_mix,
    singles,
)
from leeroo.engine.orchestrator.encoders.encode import encode
from leeroo.engine.orchestrator.outcomes.read import Outcomes, read_outcomes
from leeroo.engine.orchestrator.outcomes.recorded import Recorded, prices_of, recorded
from leeroo.engine.orchestrator.router import Router


@dataclass(frozen=True)
class Pair:
    """A weak and a strong expert, and how well the router chooses between them; None where strong is not better."""

    weak: str
    strong: str
    measures: PairMeasures | None


@dataclass(frozen=True)
class Evaluation:
    """A router against recorded outcomes of n questions; points are in the order of their budgets.

    Attributes:
        n: Questions that all the experts have outcomes on; only these are measured.
        experts: By name, the point of each when it answers everything.
        best: Name of the expert of the best accuracy; the cheapest in a tie.
        oracle: The best outcome of each question.
        frontier: The router's choices.
        baselines: Those of simpler predictors, 'random', 'subject_mean' and 'knn'; None without training rows.
        shares: By part of the best expert's cost: the accuracy of the router's choice, with its interval.
        aiq, ece: See `frontier`.
        scores_pred, scores: [n, e], for a picture of the calibration.
        notes: Caveats about these numbers, a line each.
    """

    n: int
    experts: dict[str, Point]
    best: str
    oracle: Point
    frontier: list[Budgeted]
    baselines: dict[str, list[Budgeted] | None]
    shares: dict[float, Interval]
    pair: Pair
    aiq: float
    ece: float
    scores_pred: Float64s
    scores: Float64s
    notes: list[str]

    def at(self, points: Sequence[Budgeted], share: float) -> Budgeted:
        """Return the point whose budget is that part of the best expert's cost."""
        budget = share * self.experts[self.best].cost_usd_per_1k
        return min(points, key=lambda point: abs(point.budget_usd_per_1k - budget))

    def as_json(self) -> dict[str, Any]:
        """Return the object that `leeroo evaluate --json` prints."""
        frontiers = {
            name: None if points is None else [asdict(point) for point in points]
            for name, points in self.baselines.items()
        }
        best_single = {"expert": self.best, **asdict(self.experts[self.best])}
        unknown = dict.fromkeys(PairMeasures.__dataclass_fields__)
        return {
            "n": self.n,
            "experts": {name: asdict(point) for name, point in self.experts.items()},
            "oracle": asdict(self.oracle),
            "frontier": [asdict(point) for point in self.frontier],
            "baselines": {**frontiers, "best_single": best_single},
            "pair": {
                "weak": self.pair.weak,
                "strong": self.pair.strong,
                **(asdict(self.pair.measures) if self.pair.measures else unknown),
            },
            "aiq": self.aiq,
            "ece": self.ece,
        }


def evaluate(
    router: Router,
    data: Sequence[Path],
    split: str = "test",
    experts: Sequence[str] | None = None,
    pair: tuple[str, str] | None = None,
    on_progress: LineListener | None = None,
) -> Evaluation:
    """Measure a router on the rows of one split of data folders, taken together.

    Every choice depends on predicted scores and predicted costs alone (predicted tokens at the folders' prices), and
    is then counted with recorded scores and costs. The baselines learn from the folders' rows with `split = 'train'`.

    Args:
        router: With some of the data's experts.
        data: Data folders.
        split: 'test', 'train', or 'all'.
        experts: Only these; default: all that the router and the data have in common.
        pair: Weak and strong expert; default: the cheapest and the most accurate one.
        on_progress: Called with progress, in lines for people.

    Raises:
        RouterError: the data is not as `read_outcomes` wants it, lacks prices or costs, or has no question on which
            all the experts have outcomes; or the router's encoder cannot be loaded.
        UsageError: a named expert is unknown, or router and data have none in common.
        PoolError: the encoder is nowhere to be found.
    """
    say = on_progress or (lambda _: None)
    say(f"reading {', '.join(map(str, data))}")
    notes = [] if split == "test" else ["measured on questions that routers and baselines learn from: no fair test"]
    outcomes = read_outcomes(data, split)
    names = _common(router, outcomes, experts, notes)
    prices = prices_of(data, names)
    test = _complete(recorded(outcomes, names, prices), names, notes)
    say(f"predicting {len(names)} experts on {len(test.prompts):,} questions")
    scores_pred, costs_pred = _predicted(router, test, names, prices, notes)
    costs_pred *= _cost_levels(outcomes, names, costs_pred, test.costs, notes)
    points = dict(zip(names, singles(test.scores, test.costs), strict=True))
    best = max(names, key=lambda name: (points[name].accuracy, -points[name].cost_usd_per_1k))
    cheapest = min(names, key=lambda name: (points[name].cost_usd_per_1k, -points[name].accuracy))
    budgets = budgets_usd_per_1k(test.costs)

    def frontier(scores: Float64s, costs: Float64s) -> list[Budgeted]:
        # Where the training rows have no cost, only the router's prediction is left.
        return measure_frontier(scores, np.where(np.isnan(costs), costs_pred, costs), test.scores, test.costs, budgets)

    say(f"choosing under {len(budgets)} budgets")
    ours = frontier(scores_pred, costs_pred)
    baselines: dict[str, list[Budgeted] | None] = {"random": random_mix(list(points.values()), budgets)}
    for name, predicted in _baselines(router, data, names, prices, test, say, notes).items():
        baselines[name] = frontier(*predicted) if predicted else None
    return Evaluation(
        n=len(test.prompts),
        experts=points,
        best=best,
        oracle=oracle(test.scores, test.costs),
        frontier=ours,
        baselines=baselines,
        shares={
            share: accuracy_at(scores_pred, costs_pred, test.scores, test.costs, share * points[best].cost_usd_per_1k)
            for share in SHARES
        },
        pair=_pair(*(pair or (cheapest, best)), names, scores_pred, test.scores, notes),
        aiq=aiq(ours, list(points.values())),
        ece=expected_calibration_error(scores_pred, test.scores),
        scores_pred=scores_pred,
        scores=test.scores,
        notes=notes,
    )


def _common(router: Router, outcomes: Outcomes, wanted: Sequence[str] | None, notes: list[str]) -> tuple[str, ...]:
    """Return the experts to measure, in the order of the data."""
    for who, known in (("the data has no outcomes of", outcomes.experts), ("the router does not know", router.experts)):
        for name in wanted or ():
            if name not in known:
                raise UsageError(f"{who} the expert {name!r}, only of {', '.join(known)}")
    names = tuple(name for name in outcomes.experts if name in (wanted or router.experts))
    if not names:
        raise UsageError(
            f"router and data have no expert in common: the router knows {', '.join(router.experts)}, "
            f"the data has {', '.join(outcomes.experts)}"
        )
    unknown = [name for name in outcomes.experts if name not in router.experts]
    if unknown and not wanted:
        notes.append(f"left out, as the router does not know them: {', '.join(unknown)}")
    return names


def _complete(of_all: Recorded, names: Sequence[str], notes: list[str]) -> Recorded:
    """Keep the questions on which all of the experts have outcomes."""
    known = np.isfinite(of_all.scores).all(axis=1)
    if not known.any():
        raise RouterError(
            f"no question has outcomes of all of {', '.join(names)}: measure fewer experts at a time with --experts"
        )
    if not known.all():
        notes.append(f"{(~known).sum():,} questions left out, on which not all {len(names)} experts have outcomes")
    test = of_all.at(np.flatnonzero(known))
    if np.isnan(test.costs).any():
        raise RouterError(
            "what the outcomes cost cannot be told: record prompt_tokens and completion_tokens, or cost_usd, in "
            "outcomes.parquet"
        )
    if test.guessed.any():
        who = ", ".join(names[int(j)] for j in np.unique(np.nonzero(test.guessed)[1]))
        notes.append(
            f"{test.guessed.sum():,} outcomes have no recorded tokens; the mean of the other experts on the question "
            f"stands in (for {who})"
        )
    return test


def _predicted(
    router: Router, test: Recorded, names: Sequence[str], prices: Float32s, notes: list[str]
) -> tuple[Float64s, Float64s]:
    """Return expected scores and USD, [n, e]."""
    prediction = router.predict(test.prompts, list(zip(test.subjects, test.categories, strict=True)))
    columns = [router.experts.index(name) for name in names]
    scores, prompt, completion = (
        table[:, columns].astype(np.float64)
        for table in (prediction.scores, prediction.prompt_tokens, prediction.completion_tokens)
    )
    if np.isnan(completion).any():
        notes.append("the router has learned no completion tokens: the costs it expects are those of the prompts alone")
    return scores, (prompt * prices[0] + np.nan_to_num(completion) * prices[1]) / 1e6


def _cost_levels(
    outcomes: Outcomes, names: Sequence[str], predicted: Float64s, costs: Float64s, notes: list[str]
) -> Float64s:
    """Return what the expected costs of each expert, [n, e], are multiplied by: [e], 1 where tokens are recorded.

    Without tokens a price follows from costs as if they were those of the prompts alone. So the router's expected
    tokens say how the costs of questions differ, and the recorded mean says how high they are.
    """
    at = [outcomes.experts.index(name) for name in names]
    tokens, usd = outcomes.completion_tokens[:, at], outcomes.cost_usd[:, at]
    without = np.isnan(tokens).all(axis=0) & np.isfinite(usd).any(axis=0) & (predicted.sum(axis=0) > 0)
    if without.any():
        notes.append("no tokens are recorded: expected costs have the mean of the recorded ones")
    levels: Float64s = np.where(without, costs.sum(axis=0) / np.where(without, predicted.sum(axis=0), 1), 1)
    return levels


def _baselines(
    router: Router,
    data: Sequence[Path],
    names: Sequence[str],
    prices: Float32s,
    test: Recorded,
    say: LineListener,
    notes: list[str],
) -> dict[str, tuple[Float64s, Float64s] | None]:
    """Return the scores and USD [n, e] that simpler predictors expect; None without training rows."""
    try:
        train = recorded(read_outcomes(data, "train"), names, prices)
    except RouterError as none:  # the folders themselves were fine for the test split
        notes.append(f"no baselines subject_mean and knn: {none}")
        return {"subject_mean": None, "knn": None}
    say(f"learning the baselines from {len(train.prompts):,} questions")
    values = np.concatenate([train.scores, train.costs], axis=1)
    by_subject = subject_means(values, train.subjects, train.categories, test.subjects, test.categories)
    encoder = router.encoders[0]
    vectors = encode(train.prompts, encoder)
    k = best_neighbours(train.scores, vectors)
    nearest = neighbour_means(values, vectors, encode(test.prompts, encoder), k)
    e = len(names)
    return {"subject_mean": (by_subject[:, :e], by_subject[:, e:]), "knn": (nearest[:, :e], nearest[:, e:])}


def _pair(
    weak: str, strong: str, names: Sequence[str], scores_pred: Float64s, scores: Float64s, notes: list[str]
) -> Pair:
    for name in (weak, strong):
        if name not in names:
            raise UsageError(f"the pair's {name!r} is not among the experts measured: {', '.join(names)}")
    i, j = names.index(weak), names.index(strong)
    measures = pair_measures(scores_pred[:, j] - scores_pred[:, i], scores[:, i], scores[:, j])
    if weak == strong:
        notes.append("no APGR and CPT: they are of two experts, a weak one and a strong one")
    elif measures is None:
        notes.append(f"no APGR and CPT: on these questions {strong} is no better than {weak}")
    return Pair(weak, strong, measures)
