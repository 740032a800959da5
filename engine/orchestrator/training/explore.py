"""Choose which expert gets which question, so that the next choices are better, where not all can get all.

The measure is expected information. A choice is contested where another expert may well be the better option. Its
expected loss grows with the variance of the difference of the two. That is the knowledge gradient (Frazier, Powell &
Dayanik, "The Knowledge-Gradient Policy for Correlated Normal Beliefs", 2009). So pairs are chosen one after the other.
Each is the pair whose outcome reduces these variances most, summed over questions and budgets, given the pairs before
(greedy A-optimal design; for the greedy: Krause, Singh & Guestrin, JMLR 2008).

This alone makes it compare two experts on the same question, whose own difficulty then cancels out. Where a budget is
short, the overall quality of the expensive experts is left out: it decides the price of a dollar, not the choice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from leeroo.engine.arrays import Bools, Float32s, Float64s, Int64s
from leeroo.engine.orchestrator.choose import choose
from leeroo.engine.orchestrator.training.gaussian_process import Beliefs, GaussianProcess

# Budgets as parts of the most expensive expert's cost: the choice should be good under any.
_SHARES = (0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
# Requests for one portion of the questions, the most questions in it, and those of them whose choices count.
_AT_ONCE, _PORTION, _COUNTED = 100, 200, 32
# Experts with less than this part of what is contested get no question.
_LEAST_CONTESTED = 0.01

Pairs = list[tuple[int, int]]


def explore(
    known: GaussianProcess,
    features: Float32s,
    costs: Float64s,
    requests: int,
    rng: np.random.Generator,
    *,
    max_cost_usd: float | None = None,
    allowed: Bools | None = None,
) -> Pairs:
    """Choose pairs of question and expert, the most informative first.

    If too few are informative, the rest is chosen at random. Takes time in proportion to the requests and to the
    square of the known outcomes: 0.5 s for 100 requests and 1,000 outcomes.

    Args:
        known: Learned from the outcomes of e experts so far.
        features: [n, k], of new questions.
        costs: [n, e], expected USD of an answer.
        requests: The most pairs to choose.
        rng: Random numbers.
        max_cost_usd: The most that all pairs may be expected to cost; an expensive pair then has to inform more.
        allowed: [n, e], pairs that may be chosen; default: all.
    """
    n, e = costs.shape
    remaining = _Remaining(np.ones((n, e), bool) if allowed is None else allowed.copy(), costs, requests, max_cost_usd)
    portions = max(1, min(-(-requests // _AT_ONCE), -(-n // _PORTION)))
    mean = features @ known.weight + known.bias
    order = rng.permutation(n)
    pairs: Pairs = []
    for i in range(portions):
        some = order[i::portions][:_PORTION]
        until = requests * (i + 1) // portions
        pairs += _most_informative(known, features, mean, remaining, some, until - len(pairs))
    for at in rng.permutation(n * e).tolist():
        question, expert = divmod(at, e)
        if remaining.can(np.array([question]), np.array([expert]))[0]:
            remaining.take(question, expert)
            pairs.append((question, expert))
    return pairs


@dataclass
class _Remaining:
    """The pairs, requests and dollars that are left."""

    open: Bools
    costs: Float64s
    requests: int
    usd: float | None

    def can(self, questions: Int64s, experts: Int64s) -> Bools:
        if self.requests == 0:
            return np.zeros(len(questions), bool)
        affordable = self.usd is None or self.costs[questions, experts] <= self.usd
        return self.open[questions, experts] & affordable

    def take(self, question: int, expert: int) -> None:
        self.open[question, expert] = False
        self.requests -= 1
        if self.usd is not None:
            self.usd -= float(self.costs[question, expert])


def _most_informative(
    known: GaussianProcess, features: Float32s, mean: Float64s, remaining: _Remaining, some: Int64s, requests: int
) -> Pairs:
    """Choose the most informative pairs of some questions, at most `requests`, the first first."""
    counted = some[:_COUNTED]
    t, e = len(counted), mean.shape[1]
    beliefs = known.beliefs(np.repeat(features[counted], e, axis=0), np.tile(np.arange(e), t))
    contested, short = _contested(beliefs, mean, remaining.costs, counted)
    by_expert = contested.sum(axis=(0, 1, 2))
    experts = np.flatnonzero(by_expert > _LEAST_CONTESTED * by_expert.sum())
    m = len(experts)
    if not m or requests <= 0:
        return []
    weighed = _weighed(contested[:, :, experts][..., experts], remaining.costs[np.ix_(counted, experts)], short)
    questions, columns = np.repeat(some, m), np.tile(experts, len(some))
    candidates = known.beliefs(features[questions], columns)
    targets = beliefs.at((np.arange(t)[:, None] * e + experts).ravel())
    moved = targets.covariance(candidates).astype(np.float32)
    *_, alone, noise = known.variances
    variance = _own_variances(candidates) + alone + noise
    information = (weighed(moved) * moved).sum(axis=0)
    price = 1 / remaining.requests + (remaining.costs[questions, columns] / remaining.usd if remaining.usd else 0)
    before = np.zeros((requests, len(columns)))
    pairs: Pairs = []
    for i in range(requests):
        open_ = remaining.can(questions, columns)
        if not open_.any():
            break
        at = int(np.argmax(np.where(open_, information / variance / price, -np.inf)))
        remaining.take(int(questions[at]), int(columns[at]))
        pairs.append((int(questions[at]), int(columns[at])))
        # Given this outcome, all covariances are less by a product of two vectors.
        shared = candidates.covariance(candidates.at(np.array([at])))[:, 0] + alone * (questions == questions[at])
        shared = ((shared - before[:i, at] @ before[:i]) / np.sqrt(variance[at])).astype(np.float32)
        step = moved[:, at] / np.float32(np.sqrt(variance[at]))
        along = weighed(step)
        information += shared * (shared * (along @ step) - 2 * (along @ moved))
        moved -= np.outer(step, shared)
        variance = np.maximum(variance - shared**2, noise / 2)
        before[i] = shared
    return pairs


def _contested(beliefs: Beliefs, mean: Float64s, costs: Float64s, counted: Int64s) -> tuple[Float64s, Bools]:
    """Measure how much more a choice loses the less is known of the difference of two experts.

    Return [s, t, e, e], symmetric, for s budgets and t counted questions, and [s], True where the budget is short. The
    beliefs are of all e experts on each of the questions.
    """
    t, e = len(counted), mean.shape[1]
    # Covariances on the average question: few outcomes change what is known of one question alone.
    average = beliefs.covariance(beliefs).reshape(t, e, t, e).mean(axis=(0, 2))
    own = np.diag(average)
    spread = np.sqrt(np.maximum(own[:, None] + own - 2 * average, 1e-9))
    contested, short = np.zeros((len(_SHARES), t, e, e)), np.zeros(len(_SHARES), bool)
    most_expensive = float(costs.sum(axis=0).max())
    for s, share in enumerate(_SHARES):
        choice = choose(mean, costs, budget_usd=share * most_expensive)
        short[s] = choice.multiplier > 0
        rows = np.flatnonzero(choice.expert[counted] >= 0)
        first = choice.expert[counted[rows]]
        value = mean[counted[rows]] - choice.multiplier * costs[counted[rows]]
        behind = value[np.arange(len(rows)), first][:, None] - value
        # The slope of E[max(0, d)] by the variance of d, which is expected to be that far below 0.
        slope = np.exp(-0.5 * (behind / spread[first]) ** 2) / spread[first]
        slope[np.arange(len(rows)), first] = 0
        contested[s, rows, first] = slope
    return contested + contested.transpose(0, 1, 3, 2), short


def _weighed(contested: Float64s, costs: Float64s, short: Bools) -> Callable[[Float32s], Float32s]:
    """Give the matrix W as a function from errors x [t * e, q] to W x; a choice with errors x loses x W x.

    W is the sum of what is contested [s, t, e, e] times the squared differences of errors. Where a budget is short [s],
    the part of these that is in proportion to the differences of the costs [t, e] is left out. That part changes the
    choice's multiplier, and not the choice.
    """
    _, t, e, _ = contested.shape
    laplacians = (np.eye(e) * contested.sum(axis=(0, 3))[:, :, None] - contested.sum(axis=0)).astype(np.float32)
    extra_cost = costs[:, :, None] - costs[:, None]
    tilts = (contested * extra_cost).sum(axis=3).reshape(-1, t * e)
    lengths = (contested * extra_cost**2).sum(axis=(1, 2, 3)) / 2
    removed = short & (lengths > 0)
    tilts = (tilts[removed] / np.sqrt(lengths[removed])[:, None]).astype(np.float32)

    def weighed(errors: Float32s) -> Float32s:
        product: Float32s = (laplacians @ errors.reshape(t, e, -1)).reshape(errors.shape)
        product -= tilts.T @ (tilts @ errors)
        return product

    return weighed


def _own_variances(beliefs: Beliefs) -> Float64s:
    hard, rate, lean, *_ = beliefs.variances
    length = np.square(beliefs.features).sum(axis=1)
    variances: Float64s = hard * length + rate + lean * length - np.square(beliefs.explained).sum(axis=0)
    return variances
