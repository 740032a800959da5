"""The money of one run: what was paid, what is in flight, what the rest is expected to cost.

Predictions are right on average and wrong for every row, so the spend is watched while it grows. A request leaves only
when the most it can cost still fits the budget. When the forecast for all that is left runs away from the budget, in
either direction, the rest should be chosen anew.
"""

from __future__ import annotations

import math

import numpy as np

# How far the forecast may run away from the budget, as a share of what is still to be handed out: what is left can
# still make up for it. Towards the end of a run the share of nothing is nothing.
_TOLERANCE = 0.1
# Predictions of an expert's cost are trusted as much as this many of its answers.
_TRUST = 5


class Ledger:
    """Counts USD against a budget (None: no limit) for experts numbered from 0; n requests at a time.

    Expected costs that it is given are those of the forecast. It corrects them itself by what answers really cost.

    Attributes:
        budget: USD, `inf` without a limit.
        spent: All that was billed, failed requests too.
        reserved: The most that requests may have cost whose fate a kill of the run has hidden.
        ceiling: What `spent` may become before a spending cap of the store is used up, as far as was known at the last
            choice; `inf` without one.
        stretch: By how much each expert was seen to bill more than it was thought able to, float64 [e], at least 1:
            hidden reasoning keeps to no limit on tokens.

    """

    def __init__(self, budget_usd: float | None, experts: int) -> None:
        self.budget = math.inf if budget_usd is None else budget_usd
        self.spent = self.reserved = 0.0
        self.ceiling = math.inf
        self.stretch = np.ones(experts)
        self._in_flight = 0  # requests
        self._held = np.zeros(experts)  # the most that what is in flight was thought able to cost
        self._parked = np.zeros(experts)  # the same of lines of open batches that are not awaited now
        self._flying = np.zeros(experts)  # what it is expected to cost
        self._waiting = np.zeros(experts)  # expected cost of what is planned and not handed out
        self._binding = False
        self._expected = np.zeros(experts)
        self._actual = np.zeros(experts)
        self._answers = np.zeros(experts)
        self._answers_planned = 0.0  # when the plan was made

    @property
    def left_of_budget(self) -> float:
        """The USD that are left of the run's own budget; `inf` without one."""
        return max(self.budget - self.spent - self.reserved, 0.0)

    @property
    def left(self) -> float:
        """The USD that may still be spent, under spending caps too; `inf` without a limit."""
        return max(min(self.left_of_budget, self.ceiling - self.spent), 0.0)

    @property
    def room(self) -> float:
        """The USD that are left when all requests in flight cost the most that they can."""
        return self.left - float(((self._held + self._parked) * self.stretch).sum())

    @property
    def waiting(self) -> np.ndarray:
        """The corrected cost of what is planned and not handed out, by expert, float64 [e]."""
        waiting: np.ndarray = (self._waiting * self.correction()).clip(0.0)
        return waiting

    @property
    def busy(self) -> bool:
        """True while any request is in flight."""
        return self._in_flight > 0

    def plan(self, expected: np.ndarray, *, binding: bool) -> None:
        """Note that all open requests were planned anew.

        Args:
            expected: Their cost by expert, float64 [e].
            binding: Whether more money would have bought better answers.

        """
        self._waiting, self._binding = expected.copy(), binding
        self._answers_planned = self._answers.sum()

    def park(self, experts: np.ndarray, at_most: np.ndarray) -> None:
        """Hold the most that these lines of open batches can cost [n], in the place of others held so before."""
        self._parked[:] = 0.0
        np.add.at(self._parked, experts, at_most)

    def unpark(self, experts: np.ndarray, at_most: np.ndarray) -> None:
        """Hold these lines [n] no more: they are sent as others are."""
        np.add.at(self._parked, experts, -at_most)
        self._parked = self._parked.clip(0.0)

    def fits(self, experts: np.ndarray, at_most: np.ndarray) -> np.ndarray:
        """Return which of these requests could go now if they went alone, bool [n]."""
        alone: np.ndarray = at_most * self.stretch[experts] <= self.room
        return alone

    def admit(self, experts: np.ndarray, at_most: np.ndarray) -> int:
        """Count how many of these requests, in order, may go now together, given the most that each can cost [n]."""
        if math.isinf(self.left):
            return len(at_most)
        return int(np.searchsorted(np.cumsum(at_most * self.stretch[experts]), self.room, side="right"))

    def send(self, experts: np.ndarray, expected: np.ndarray, at_most: np.ndarray) -> None:
        """Count requests to these experts as in flight: their expected and their highest cost [n]."""
        np.add.at(self._held, experts, at_most)
        np.add.at(self._waiting, experts, -expected)
        np.add.at(self._flying, experts, expected)
        self._in_flight += len(experts)

    def charge(self, experts: np.ndarray, expected: np.ndarray, at_most: np.ndarray, actual: np.ndarray) -> None:
        """Count requests that came back and were billed `actual` [n], 0 for one that was refused."""
        self.land(experts, expected, at_most)
        billed = actual > 0
        self.observe(experts[billed], expected[billed], actual[billed])
        limited = billed & (at_most > 0)
        np.maximum.at(self.stretch, experts[limited], actual[limited] / at_most[limited])

    def observe(self, experts: np.ndarray, expected: np.ndarray, actual: np.ndarray) -> None:
        """Count billed requests to these experts: their expected and their actual cost [n]."""
        self.spent += float(actual.sum())
        np.add.at(self._expected, experts, expected)
        np.add.at(self._actual, experts, actual)
        np.add.at(self._answers, experts, 1)

    def has_drifted(self) -> bool:
        """Return whether the rest should be chosen anew, because the forecast has run away from the budget."""
        waiting = float(self.waiting.sum())
        forecast, left = float((self._flying * self.correction()).sum()) + waiting, self.left
        if forecast > left + _TOLERANCE * waiting:
            return True
        # What is saved is worth a new choice only where it buys something, and when enough was learned since the last.
        learned = self._answers.sum() - self._answers_planned > max(_TRUST, _TOLERANCE * self._answers_planned)
        return self._binding and bool(learned) and forecast < left - _TOLERANCE * waiting and waiting > 0

    def correction(self) -> np.ndarray:
        """Return actual over expected cost of each expert so far, float64 [e], drawn to a guess while little is known.

        The guess is 1, or what all experts together were cheaper than expected: the lengths of answers err alike. It is
        never more: an expert that seems more expensive than it is would not be chosen, and never be known better.
        """
        asked, answers = self._expected.sum(), max(self._answers.sum(), 1.0)
        guess = min(1.0, (self._actual.sum() + _TRUST * asked / answers) / (1 + _TRUST / answers) / max(asked, 1e-300))
        prior = _TRUST * self._expected / np.maximum(self._answers, 1.0)
        known = self._expected > 0
        ratio = (self._actual + guess * prior) / np.where(known, self._expected + prior, 1.0)
        return np.where(known, ratio, guess if asked > 0 else 1.0)

    def land(self, experts: np.ndarray, expected: np.ndarray, at_most: np.ndarray) -> None:
        """Count requests as in flight no more: given what `send` was given for them [n]."""
        np.add.at(self._held, experts, -at_most)
        np.add.at(self._flying, experts, -expected)
        self._in_flight -= len(experts)
        if not self._in_flight:  # an empty flight holds nothing: rounding must not add up over a million rows
            self._held[:] = self._flying[:] = 0.0
