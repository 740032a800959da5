"""The options of each row: the value and the cost of every expert, a block of rows at a time.

Knows nothing of budgets. Large tables are never copied whole: a block is turned into float64 when it
is read, and dropped afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leeroo.engine.arrays import Bools, Float64s, Floats, Int32s, Int64s
from leeroo.engine.errors import UsageError

# Stands for "cannot be had". Finite, so that a price of zero times it is not NaN.
_BARRED = 1e150
# Numbers in a block: three such blocks in float64 stay within a core's second-level cache.
_BLOCK = 1 << 16


@dataclass
class Picks:
    """One option for each row: its column, its value and its cost; arrays [n]."""

    option: Int32s
    value: Float64s
    cost: Float64s

    @classmethod
    def empty(cls, n: int) -> Picks:
        """Make room for the picks of n rows."""
        return cls(np.empty(n, np.int32), np.empty(n), np.empty(n))

    @classmethod
    def of(cls, option: Int64s, value: Float64s, cost: Float64s) -> Picks:
        """Pick these columns of the rows of a block [m, options]."""
        row = np.arange(len(option))
        return cls(option.astype(np.int32), value[row, option], cost[row, option])

    def put(self, at: slice | Int64s, other: Picks) -> None:
        """Overwrite the rows `at` with the picks of `other`."""
        self.option[at], self.value[at], self.cost[at] = other.option, other.value, other.cost

    def at(self, rows: Int64s | Bools) -> Picks:
        """Copy the picks of some rows."""
        return Picks(self.option[rows], self.value[rows], self.cost[rows])


# From value and cost [m, options] to columns [m], as many as the rule picks for each row.
Rule = Callable[[Float64s, Float64s], tuple[Int64s, ...]]


@dataclass(frozen=True)
class ChoiceOptions:
    """The options of n rows: e experts, and column e for leaving the row out.

    `scores` and `costs` are [n, e]; `rows` [n] is how many input rows share each question; `allowed` is
    [n, e] or [e]. A score or cost that is not finite bars that expert for that row. Leaving it out is
    an option for every row when `may_skip`, else only for rows that no expert may take.
    """

    scores: Floats
    costs: Floats
    rows: npt.NDArray[np.generic] | None
    latency_s: Floats | None
    allowed: Bools | None
    cost_weight: float
    latency_weight: float
    may_skip: bool = False

    @property
    def n(self) -> int:
        """The number of rows."""
        return int(self.scores.shape[0])

    def block(self, at: slice | Int64s) -> tuple[Float64s, Float64s]:
        """Return value and cost of the rows `at`, both [m, e + 1]."""
        cost = self._with_skip(self.costs[at], 0.0)
        if (cost < 0).any():
            raise UsageError(f"costs must not be negative, but one is {np.nanmin(cost)} USD")
        value = self._with_skip(self.scores[at], 0.0)
        if self.rows is not None:
            value *= np.asarray(self.rows[at], np.float64)[:, None]
        if self.cost_weight:
            value -= self.cost_weight * cost
        if self.latency_weight and self.latency_s is not None:
            value[:, :-1] -= self.latency_weight * np.asarray(self.latency_s[at], np.float64)
        barred = ~(np.isfinite(value) & np.isfinite(cost))
        if self.allowed is not None:
            barred[:, :-1] |= ~(self.allowed if self.allowed.ndim == 1 else self.allowed[at])
        if not self.may_skip:
            barred[:, -1] = ~barred[:, :-1].all(axis=1)
        value[barred] = -np.inf
        cost[barred] = _BARRED
        return value, cost

    def blocks(self, among: Int64s | None = None) -> Iterator[tuple[slice, Float64s, Float64s]]:
        """Yield all rows, or those `among`, a block at a time: its slice of that list, value and cost."""
        n = self.n if among is None else len(among)
        step = max(1, _BLOCK // (self.scores.shape[1] + 1))
        for start in range(0, max(n, 1), step):  # at least one block, so that no rows have picks too
            part = slice(start, min(start + step, n))
            yield part, *self.block(part if among is None else among[part])

    def sweep(self, rule: Rule, among: Int64s | None = None) -> list[Picks]:
        """Apply a rule to all rows, or to the rows `among`; return one `Picks` for each of its columns."""
        picks: list[Picks] = []
        for part, value, cost in self.blocks(among):
            options = rule(value, cost)
            picks = picks or [Picks.empty(self.n if among is None else len(among)) for _ in options]
            for option, picked in zip(options, picks, strict=True):
                picked.put(part, Picks.of(option, value, cost))
        return picks

    def _with_skip(self, values: Floats, skip: float) -> Float64s:
        wide = np.empty((values.shape[0], values.shape[1] + 1))
        wide[:, :-1] = values
        wide[:, -1] = skip
        return wide


def best_and_cheapest(value: Float64s, cost: Float64s) -> tuple[Int64s, Int64s]:
    """Pick the two ends: most value (the cheapest in a tie), and least cost (the most value in a tie)."""
    least = cost == cost.min(axis=1, keepdims=True)
    return best_at_price(0.0)(value, cost)[0], np.where(least, value, -np.inf).argmax(axis=1)


def best_at_price(price: float) -> Rule:
    """Make the rule that picks the most value left after paying `price` for each dollar.

    In a tie the first pick is the cheapest option and the second the most expensive one.
    """

    def rule(value: Float64s, cost: Float64s) -> tuple[Int64s, Int64s]:
        left = value - price * cost if price else value
        thrifty = left.argmax(axis=1)
        equal = left == left[np.arange(len(left)), thrifty][:, None]
        tied = np.flatnonzero(np.count_nonzero(equal, axis=1) > 1)
        if not len(tied):
            return thrifty, thrifty
        lavish = thrifty.copy()
        thrifty[tied] = np.where(equal[tied], cost[tied], np.inf).argmin(axis=1)
        lavish[tied] = np.where(equal[tied], cost[tied], -np.inf).argmax(axis=1)
        return thrifty, lavish

    return rule
