"""Choose an expert for each row: the most expected quality for the whole batch within a budget.

With a budget this is a multiple-choice knapsack. Its relaxation needs a single number, the price of a
dollar in units of quality. At that price every row simply takes its best option. The price is found
without guessing its scale, by pivoting on the exchange rates of the rows that are still undecided.
The rest of the budget is then spent greedily, so the outcome is at most one row's gain below the bound.

The method is that of Dyer 1984 and Zemel 1984, with the pivots of Pisinger 1995 and the bound of Sinha and
Zoltners 1979. All are in Kellerer, Pferschy & Pisinger, "Knapsack Problems", 2004, chapter 11; `value` and `cost`
are its p and w. Knows nothing of how qualities and costs are predicted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from leeroo.engine.arrays import Bools, Float64s, Floats, Int32s, Int64s
from leeroo.engine.errors import UsageError
from leeroo.engine.orchestrator.choice_options import ChoiceOptions, Picks, best_and_cheapest, best_at_price

# Passes over the rows that spend what is left; a third one finds almost nothing.
_POLISH = 2


@dataclass(frozen=True)
class Choice:
    """Who answers what.

    Attributes:
        expert: int32 [n], the column of each row's expert; -1 where the row is left out.
        multiplier: The price of a dollar: how much expected quality one more dollar of budget would
            buy. 0 when the budget does not bind or there is none.
    """

    expert: Int32s
    multiplier: float


def choose(
    scores: Floats,
    costs: Floats,
    *,
    rows: npt.NDArray[np.generic] | None = None,
    latency_s: Floats | None = None,
    budget_usd: float | None = None,
    cost_weight: float = 0.0,
    latency_weight: float = 0.0,
    allowed: Bools | None = None,
) -> Choice:
    """Choose an expert for each of n distinct questions out of e experts.

    Without a budget each row takes the greatest `rows * score - cost_weight * cost - latency_weight *
    latency`. With one, the sum of these is maximised while the costs chosen add up to at most `budget_usd`.
    Ties go to the cheaper expert. The outcome depends on nothing but the arguments.

    Every row that some expert may take gets one, if the cheapest allowed experts together fit the budget.
    If they do not, rows are left out so that `rows * score` over the others is greatest. The weights play no
    part then, because they do not say how much an unanswered row loses.

    Args:
        scores: [n, e], expected quality; NaN bars that expert for that row. May be a memory map.
        costs: [n, e], USD that the row costs, never negative; NaN bars that expert too. May be a memory map.
        rows: [n], how many input rows share the question: quality counts for each, cost and latency once.
        latency_s: [n, e], seconds; NaN bars that expert when `latency_weight` is not 0.
        budget_usd: The most that may be spent, in USD.
        cost_weight: Quality given up for each USD saved.
        latency_weight: Quality given up for each second saved.
        allowed: bool [n, e] or [e], who may answer what.

    Raises:
        UsageError: shapes that do not fit together, a negative cost, or a budget that is no amount of money.
    """
    _check(scores, costs, rows, latency_s, budget_usd, allowed)
    options = ChoiceOptions(scores, costs, rows, latency_s, allowed, cost_weight, latency_weight)
    if budget_usd is None:
        return _choice(options, options.sweep(best_at_price(0.0))[0], 0.0)
    expensive, cheap = options.sweep(best_and_cheapest)
    if cheap.cost.sum() > budget_usd:
        options = replace(options, cost_weight=0.0, latency_weight=0.0, may_skip=True)
        expensive, cheap = options.sweep(best_and_cheapest)
    if expensive.cost.sum() <= budget_usd:
        return _choice(options, expensive, 0.0)
    price = _spend(options, cheap, expensive, budget_usd)
    return _choice(options, cheap, price)


def _spend(options: ChoiceOptions, cheap: Picks, expensive: Picks, budget: float) -> float:
    """Move `cheap`, which fits the budget, up to the best that fits; return the price of a dollar."""
    open_rows, price = _pivot(options, cheap, expensive, budget)
    upgrade = expensive.at(open_rows)
    expensive_first = np.argsort(cheap.cost[open_rows] - upgrade.cost, kind="stable")
    _fill(cheap, open_rows[expensive_first], upgrade.at(expensive_first), budget)
    for _ in range(_POLISH):
        _polish(options, cheap, budget)
    return price


def _pivot(options: ChoiceOptions, cheap: Picks, expensive: Picks, budget: float) -> tuple[Int64s, float]:
    """Narrow `cheap` (fits) and `expensive` (does not) until they meet at one price.

    Both only ever hold picks that are best at some price, so a row where they agree is decided.
    Return the rows where they still differ and the price, which is the exchange rate of all of those.
    """
    open_rows, price = np.arange(options.n), 0.0
    while len(open_rows := _undecided(cheap, expensive, open_rows)):
        paid = expensive.cost[open_rows] - cheap.cost[open_rows]
        rate = (expensive.value[open_rows] - cheap.value[open_rows]) / paid
        price = _weighted_median(rate, paid)
        thrifty, lavish = options.sweep(best_at_price(price), open_rows)
        # At its own rate a row's two ends are equal, also after rounding, so that each round decides something.
        even = rate == price
        _prefer(expensive, cheap, lavish, open_rows, even)
        _prefer(cheap, expensive, thrifty, open_rows, even)
        if _total(cheap, open_rows, lavish) <= budget:
            cheap.put(open_rows, lavish)
        elif _total(cheap, open_rows, thrifty) > budget:
            expensive.put(open_rows, thrifty)
        else:
            cheap.put(open_rows, thrifty)
            expensive.put(open_rows, lavish)
            break
    return _undecided(cheap, expensive, open_rows), price


def _undecided(cheap: Picks, expensive: Picks, rows: Int64s) -> Int64s:
    wider = expensive.cost[rows] > cheap.cost[rows]
    return rows[wider & (expensive.value[rows] > cheap.value[rows])]


def _prefer(wanted: Picks, other: Picks, picks: Picks, rows: Int64s, where: Bools) -> None:
    """Turn those of the picks for `rows` that equal `other` into `wanted`, where `where` is true."""
    swap = np.flatnonzero(where & (picks.option == other.option[rows]))
    picks.put(swap, wanted.at(rows[swap]))


def _total(picks: Picks, rows: Int64s, instead: Picks) -> float:
    """Return the cost of `picks` with those of `rows` replaced; summed as the final cost is."""
    cost = picks.cost.copy()
    cost[rows] = instead.cost
    return float(cost.sum())


def _weighted_median(values: Float64s, weights: Float64s) -> float:
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(reached, reached[-1] / 2)]])


def _fill(picks: Picks, rows: Int64s, upgrade: Picks, budget: float) -> None:
    """Upgrade `rows` in their order as long as the budget allows, passing over those that do not fit."""
    while len(rows):
        left = budget - picks.cost.sum()
        fits = int(np.searchsorted(np.cumsum(upgrade.cost - picks.cost[rows]), left, side="right"))
        # Sums depend on their order by a rounding error, and the budget is never exceeded by even that.
        while fits and _total(picks, rows[:fits], upgrade.at(np.arange(fits))) > budget:
            fits -= 1
        picks.put(rows[:fits], upgrade.at(np.arange(fits)))
        left = budget - picks.cost.sum()
        after = np.arange(fits + 1, len(rows))
        after = after[upgrade.cost[after] - picks.cost[rows[after]] <= left]
        rows, upgrade = rows[after], upgrade.at(after)


def _polish(options: ChoiceOptions, picks: Picks, budget: float) -> None:
    """Spend what is left on the upgrades that still fit it, the best rate of exchange first."""
    left = budget - picks.cost.sum()
    upgrade = Picks.empty(options.n)
    for part, value, cost in options.blocks():
        affordable = np.where(cost <= picks.cost[part, None] + left, value, -np.inf)
        upgrade.put(part, Picks.of(best_at_price(0.0)(affordable, cost)[0], value, cost))
    gain = upgrade.value - picks.value
    better = np.flatnonzero(gain > 0)
    rate = gain[better] / np.maximum(upgrade.cost[better] - picks.cost[better], np.finfo(float).tiny)
    order = better[np.argsort(-rate, kind="stable")]
    _fill(picks, order, upgrade.at(order), budget)


def _choice(options: ChoiceOptions, picks: Picks, price: float) -> Choice:
    left_out = options.scores.shape[1]
    return Choice(np.where(picks.option == left_out, np.int32(-1), picks.option), price)


def _check(
    scores: Floats,
    costs: Floats,
    rows: npt.NDArray[np.generic] | None,
    latency_s: Floats | None,
    budget_usd: float | None,
    allowed: Bools | None,
) -> None:
    if scores.ndim != 2 or scores.shape[1] == 0:
        raise UsageError(f"scores must be [questions, experts], but their shape is {scores.shape}")
    fitting: dict[str, tuple[npt.NDArray[np.generic] | None, list[tuple[int, ...]]]] = {
        "costs": (costs, [scores.shape]),
        "rows": (rows, [scores.shape[:1]]),
        "latency_s": (latency_s, [scores.shape]),
        "allowed": (allowed, [scores.shape, scores.shape[1:]]),
    }
    for name, (array, shapes) in fitting.items():
        if array is not None and array.shape not in shapes:
            raise UsageError(f"{name} has the shape {array.shape}, which does not fit scores of shape {scores.shape}")
    if budget_usd is not None and not budget_usd >= 0:
        raise UsageError(f"a budget of {budget_usd} USD is not an amount of money: give 0 or more")
