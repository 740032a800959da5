"""Frontier: measure whole-batch choices by predictions against the recorded outcomes.

Plain NumPy over tables [n questions, e experts], so any predictor can be measured. Recorded scores and costs must all
be known; a NaN among predictions bars an expert for a question, as in `choose`. Costs are USD a question, and of points
USD per 1,000 questions. A question that a budget leaves without an answer costs nothing and scores 0. Knows nothing of
routers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from leeroo.engine.arrays import Float64s, Floats, Int32s, Int64s
from leeroo.engine.errors import UsageError
from leeroo.engine.orchestrator.choose import choose
from leeroo.engine.orchestrator.statistics import calibration_error

# Budgets as parts of what an expert costs, in the order of their size.
SHARES = (1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1.0)
# The number of further budgets, and how far they extend beyond the most expensive expert.
_BUDGETS, _BEYOND = 60, 1.2
# RouteLLM measures at every tenth of the calls.
_TENTHS = np.linspace(0, 1, 11)
_RESAMPLES = 1000
_BINS = 10


@dataclass(frozen=True)
class Point:
    """Mean recorded score, and recorded cost in USD per 1,000 questions, of one way of answering them all."""

    cost_usd_per_1k: float
    accuracy: float


@dataclass(frozen=True)
class Budgeted(Point):
    """The point that a budget reaches, in USD per 1,000 questions; the recorded cost may be above or below it."""

    budget_usd_per_1k: float


@dataclass(frozen=True)
class Interval:
    """A measure and its 95 % bootstrap interval over questions."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class PairMeasures:
    """RouteLLM's measures of choosing between a weak and a strong expert (Ong et al. 2024, arXiv 2406.18665).

    Attributes:
        apgr: Mean over the shares of calls of the gap that is recovered, from 0 (weak) to 1 (strong); 0.5 by chance.
        cpt50, cpt80: Least share of calls to the strong expert, in [0, 1], that recovers 50 % and 80 % of the gap.
    """

    apgr: float
    cpt50: float
    cpt80: float


def budgets_usd_per_1k(costs: Floats) -> Float64s:
    """Return budgets to measure at, ascending: 60 from the least expert's cost to 1.2 times the greatest one's.

    `SHARES` of every expert's cost on these questions are added. The 60 are evenly spread over the logarithm; if an
    expert is free, evenly over the dollars from 0 on.
    """
    of_experts = 1000 * costs.mean(axis=0, dtype=np.float64)
    low, high = of_experts.min(), _BEYOND * of_experts.max()
    spread = np.geomspace if low > 0 else np.linspace
    return np.unique(np.concatenate([spread(low, high, _BUDGETS), *(share * of_experts for share in SHARES)]))


def measure_frontier(
    scores_pred: Floats, costs_pred: Floats, scores: Floats, costs: Floats, budgets: Sequence[float] | Float64s
) -> list[Budgeted]:
    """Return the point reached under each budget; `choose` sees only predictions, and recorded scores and costs count.

    Args:
        scores_pred, costs_pred: [n, e], the expected score and USD of each expert; NaN bars.
        scores, costs: [n, e], recorded.
        budgets: USD per 1,000 questions.

    Raises:
        UsageError: the tables differ in shape, or something recorded is not known.
    """
    _check(scores_pred, costs_pred, scores, costs)
    points = []
    for budget in budgets:
        chosen = chosen_by(scores_pred, costs_pred, float(budget) * len(scores_pred) / 1000)
        point = measure_choice(chosen, scores, costs)
        points.append(Budgeted(point.cost_usd_per_1k, point.accuracy, float(budget)))
    return points


def accuracy_at(
    scores_pred: Floats, costs_pred: Floats, scores: Floats, costs: Floats, budget_usd_per_1k: float
) -> Interval:
    """Return the accuracy under one budget, with its interval.

    The choice is made once, for all questions; only the questions that are counted are drawn again. So the interval
    does not include the effect of another draw on the choice itself, which for batches of this size is small.

    Raises:
        UsageError: as `measure_frontier`.
    """
    _check(scores_pred, costs_pred, scores, costs)
    got = _taken(chosen_by(scores_pred, costs_pred, budget_usd_per_1k * len(scores_pred) / 1000), scores)
    return estimate(lambda rows: float(got[rows].mean()), len(got))


def estimate(statistic: Callable[[Int64s], float], n: int, resamples: int = _RESAMPLES, seed: int = 0) -> Interval:
    """Return a statistic of n questions with its percentile bootstrap interval (Efron 1979).

    Args:
        statistic: From row numbers [n], some of them repeated, to the measure.
        n: The number of questions.
        resamples: How often n of them are drawn with replacement.
        seed: Random seed of the draws; two predictors with the same seed get the same draws.
    """
    random = np.random.default_rng(seed)
    drawn = [statistic(random.integers(n, size=n)) for _ in range(resamples)]
    low, high = np.percentile(drawn, [2.5, 97.5])
    return Interval(statistic(np.arange(n)), float(low), float(high))


def chosen_by(scores: Floats, costs: Floats, budget_usd: float | None = None) -> Int32s:
    """Return the whole-batch choice by these scores and costs, in hindsight: columns [n], -1 where one is left out."""
    return choose(scores, costs, budget_usd=budget_usd).expert


def measure_choice(chosen: Int32s, scores: Floats, costs: Floats) -> Point:
    """Return the point of a choice: columns [n], -1 where a question is left out."""
    return Point(1000 * float(_taken(chosen, costs).mean()), float(_taken(chosen, scores).mean()))


def singles(scores: Floats, costs: Floats) -> list[Point]:
    """Return the point of each expert when it answers everything."""
    n, e = scores.shape
    return [measure_choice(np.full(n, j, np.int32), scores, costs) for j in range(e)]


def oracle(scores: Floats, costs: Floats) -> Point:
    """Return the point of the best recorded score of each question, at the cost of the cheapest expert that has it."""
    return measure_choice(chosen_by(scores, costs), scores, costs)


def hull(points: Sequence[Point]) -> tuple[Float64s, Float64s]:
    """Return the corners of the non-decreasing convex hull: costs and accuracies, both ascending.

    Every point on it can be reached on average, by throwing a coin for each question between two points. No answer at
    all is a point too, at no cost (Hu et al. 2024, RouterBench, arXiv 2403.12031).
    """
    corners: list[tuple[float, float]] = []
    for cost, accuracy in sorted([(0.0, 0.0), *((p.cost_usd_per_1k, p.accuracy) for p in points)]):
        if corners and accuracy <= corners[-1][1]:
            continue
        while len(corners) > 1 and _slope(corners[-2], corners[-1]) <= _slope(corners[-2], (cost, accuracy)):
            corners.pop()
        if corners and corners[-1][0] == cost:  # only what is free can still stand at the same cost
            corners.pop()
        corners.append((cost, accuracy))
    costs, accuracies = np.array(corners).T
    return costs, accuracies


def random_mix(experts: Sequence[Point], budgets: Sequence[float] | Float64s) -> list[Budgeted]:
    """Return RouterBench's zero router: the convex hull of the single experts, by their recorded costs and scores.

    That is the best that a coin can do which knows the experts but not the questions. At each budget it mixes two of
    them, or the cheapest with no answer.
    """
    costs, accuracies = hull(experts)
    return [
        Budgeted(min(float(budget), float(costs[-1])), float(np.interp(budget, costs, accuracies)), float(budget))
        for budget in budgets
    ]


def aiq(points: Sequence[Point], experts: Sequence[Point]) -> float:
    """Return RouterBench's average improvement in quality: the mean height of the points' hull over the range of costs.

    The range is from the cheapest expert to the most expensive one; beyond its last point the hull stays level.
    """
    costs, accuracies = hull(points)
    of_experts = [p.cost_usd_per_1k for p in experts]
    low, high = min(of_experts), max(of_experts)
    if low == high:
        return float(np.interp(low, costs, accuracies))
    at = np.unique(np.concatenate([[low, high], costs[(costs > low) & (costs < high)]]))
    return _area(np.interp(at, costs, accuracies), at) / (high - low)


def pair_measures(gain: Floats, weak: Floats, strong: Floats) -> PairMeasures | None:
    """Return APGR and CPT by the predicted gain of the strong expert and the two recorded scores, all [n].

    At every tenth of the calls the questions of the greatest predicted gain are sent to the strong expert. In between,
    the recovered gap is interpolated, as RouteLLM's own evaluation does. None when the strong expert is not the better
    one.
    """
    gap = float((strong - weak).mean(dtype=np.float64))
    if not gap > 0:
        return None
    order = np.argsort(-gain, kind="stable")
    gained = np.concatenate([[0.0], np.cumsum((strong - weak)[order], dtype=np.float64)]) / len(gain)
    recovered = gained[np.rint(_TENTHS * len(gain)).astype(np.int64)] / gap
    return PairMeasures(_area(recovered, _TENTHS), _first_reached(recovered, 0.5), _first_reached(recovered, 0.8))


def expected_calibration_error(scores_pred: Floats, scores: Floats) -> float:
    """Return the mean over the experts of the calibration error of each, in ten bins."""
    weights = np.ones(len(scores))
    known = np.isfinite(scores_pred)
    of_experts = [
        calibration_error(scores_pred[rows, j], scores[rows, j], weights[rows])
        for j, rows in enumerate(known.T)
        if rows.any()
    ]
    return float(np.mean(of_experts))


def reliability(scores_pred: Floats, scores: Floats) -> tuple[Float64s, Float64s, Int64s]:
    """Return mean predicted and mean recorded score, and their number, in ten bins of equal width; both scores are [n].

    Bins without predictions are left out.
    """
    bins = np.minimum((scores_pred * _BINS).astype(np.int64), _BINS - 1)
    count = np.bincount(bins, minlength=_BINS)
    there = count > 0
    expected, recorded = (np.bincount(bins, values, _BINS)[there] / count[there] for values in (scores_pred, scores))
    return expected, recorded, count[there]


def _first_reached(recovered: Float64s, wanted: float) -> float:
    """Return the share of calls at which the line through the tenths first reaches `wanted`; its end is 1."""
    end = int(np.argmax(recovered >= wanted))
    return float(np.interp(wanted, recovered[end - 1 : end + 1], _TENTHS[end - 1 : end + 1]))


def _area(heights: Float64s, at: Float64s) -> float:
    return float(np.sum((heights[1:] + heights[:-1]) / 2 * np.diff(at)))


def _slope(one: tuple[float, float], other: tuple[float, float]) -> float:
    run = other[0] - one[0]
    return (other[1] - one[1]) / run if run > 0 else np.inf


def _taken(chosen: Int32s, values: Floats) -> Float64s:
    """Return the values of the chosen experts in a table [n, e]; 0 where nobody is chosen."""
    taken = values[np.arange(len(chosen)), np.maximum(chosen, 0)]
    return np.where(chosen >= 0, taken, 0).astype(np.float64)


def _check(scores_pred: Floats, costs_pred: Floats, scores: Floats, costs: Floats) -> None:
    shapes = {scores_pred.shape, costs_pred.shape, scores.shape, costs.shape}
    if len(shapes) > 1 or scores.ndim != 2 or not scores.size:
        raise UsageError(f"predictions and records must be tables of one shape, but theirs are {sorted(shapes)}")
    if not (np.isfinite(scores).all() and np.isfinite(costs).all()):
        raise UsageError("recorded scores and costs must all be known: leave the questions out where one is not")
