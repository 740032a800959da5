"""The money of one run: what was paid, what is in flight, what the rest is expected to cost.

Predictions are right on average and wrong for every row, so the spend is watched while it grows. A request
leaves only when the most it can cost still fits the budget; and when the forecast for all that is left
runs away from the budget, the run is told to choose again.
"""

from __future__ import annotations

import math

import numpy as np

# How far the forecast may run over the budget, as a share of what is still to be handed out: what is left can
# still make up for it. Towards the end of a run the share of nothing is nothing.
_TOLERANCE = 0.1
# Predictions of an expert's cost are trusted as much as this many of its answers.
_TRUST = 5


class Ledger:
    """Counts USD against a budget (None: no limit) for experts numbered from 0."""

    def __init__(self, budget_usd: float | None, experts: int) -> None:
        self.budget = math.inf if budget_usd is None else budget_usd
        self.spent = 0.0
        self._held = 0.0  # the most that what is in flight can cost
        self._flying = 0.0  # what it is expected to cost
        self._in_flight: dict[int, tuple[float, float]] = {}  # request id: expected, at most
        self._waiting = 0.0  # expected cost of what is planned and not handed out
        self._expected = np.zeros(experts)
        self._actual = np.zeros(experts)
        self._answers = np.zeros(experts)

    @property
    def left(self) -> float:
        """What may still be spent; `inf` without a budget."""
        return max(self.budget - self.spent, 0.0)

    @property
    def busy(self) -> bool:
        """Whether anything is in flight."""
        return bool(self._in_flight)

    def plan(self, expected: float) -> None:
        """All that is left was planned anew, at this expected cost."""
        self._waiting = expected

    def admit(self, at_most: np.ndarray) -> int:
        """How many of these rows, in order, may go now, given the most that each can cost [n]."""
        room = self.budget - self.spent - self._held
        return len(at_most) if math.isinf(room) else int(np.searchsorted(np.cumsum(at_most), room, side="right"))

    def hand_out(self, ids: list[int], expected: np.ndarray, at_most: np.ndarray) -> None:
        """These requests are in flight now."""
        self._waiting -= float(expected.sum())
        self._held += float(at_most.sum())
        self._flying += float(expected.sum())
        self._in_flight.update(zip(ids, zip(expected.tolist(), at_most.tolist(), strict=True), strict=True))

    def settle(self, requests: list[int], experts: np.ndarray, actual: np.ndarray, failed: np.ndarray) -> None:
        """Requests came back from these experts and cost `actual`, or failed and cost nothing, [n] all."""
        expected = self._land(requests)
        self.observe(experts[~failed], expected[~failed], actual[~failed])

    def _land(self, requests: list[int]) -> np.ndarray:
        """Take requests out of the air, and give what each was expected to cost [n]."""
        expected, at_most = np.array([self._in_flight.pop(request) for request in requests]).reshape(-1, 2).T
        # An empty flight holds nothing at all: rounding must not add up over a million rows.
        self._held = self._held - float(at_most.sum()) if self._in_flight else 0.0
        self._flying = self._flying - float(expected.sum()) if self._in_flight else 0.0
        return expected

    def observe(self, experts: np.ndarray, expected: np.ndarray, actual: np.ndarray) -> None:
        """Answers of these experts were paid for: what was expected and what they cost [n]."""
        self.spent += float(actual.sum())
        np.add.at(self._expected, experts, expected)
        np.add.at(self._actual, experts, actual)
        np.add.at(self._answers, experts, 1)

    def drop(self, requests: list[int]) -> None:
        """These requests are not coming back."""
        self._land(requests)

    def drifted(self) -> bool:
        """Whether the rest should be chosen anew, because the forecast has run away from the budget."""
        return self.spent + self._flying + self._waiting > self.budget + _TOLERANCE * max(self._waiting, 0.0)

    def correction(self) -> np.ndarray:
        """Actual over expected cost of each expert so far, float64 [e], drawn towards 1 while little is known."""
        known = self._expected > 0
        mean = np.where(known, self._expected / np.maximum(self._answers, 1), 1.0)
        ratio: np.ndarray = (self._actual + _TRUST * mean) / (self._expected + _TRUST * mean)
        return np.where(known, ratio, 1.0)
