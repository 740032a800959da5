"""A plot of plain characters, for terminals and pipes: cost on a logarithmic scale against accuracy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from leeroo.engine.money import usd
from leeroo.engine.orchestrator.analysis.frontier import Point

# Rows of the plot, and columns left of it for the accuracies.
_HEIGHT, _MARGIN = 17, 8
# Costs at which the axis has a mark, in each power of ten.
_MARKED = (1, 2, 5)
_TEN = math.log(10)
# Accuracies are marked at multiples of this part of 1.
_STEP = 0.05


def draw_frontier(layers: Mapping[str, Sequence[Point]], joined: str, least: float, width: int) -> list[str]:
    """Return the lines of a plot.

    Args:
        layers: Points by the character that marks them; later layers cover earlier ones.
        joined: The characters of the layers whose points are joined, in the order of their costs.
        least: The lowest accuracy that is shown.
        width: Columns of the whole plot.
    """
    shown = [point for layer in layers.values() for point in layer if point.accuracy >= least]
    costs = np.log([point.cost_usd_per_1k for point in shown])
    axes = _Axes(costs.min(), costs.max(), least, max(point.accuracy for point in shown), width - _MARGIN - 1)
    cells = [[" "] * axes.width for _ in range(_HEIGHT)]
    for mark, layer in layers.items():
        for cost, accuracy in axes.between(layer) if mark in joined else _logarithms(layer):
            if accuracy >= least:
                cells[axes.row(accuracy)][axes.column(cost)] = mark
    labels = axes.accuracies()
    lines = [f"{labels.get(row, ''):>{_MARGIN - 1}} |{''.join(cells[row])}" for row in range(_HEIGHT)]
    return [line.rstrip() for line in (*lines, " " * _MARGIN + "+" + "-" * axes.width, " " * _MARGIN + axes.costs())]


def _logarithms(points: Sequence[Point]) -> list[tuple[float, float]]:
    return [(math.log(point.cost_usd_per_1k), point.accuracy) for point in points]


class _Axes:
    """Where logarithms of costs and accuracies are on a plot."""

    def __init__(self, low: float, high: float, least: float, greatest: float, width: int) -> None:
        self.low, self.high, self.least, self.greatest, self.width = low, high, least, greatest, width

    def between(self, points: Sequence[Point]) -> Iterator[tuple[float, float]]:
        """Return a point of the curve for each column that it reaches."""
        costs, accuracies = zip(*_logarithms(points), strict=True)
        for cost in np.linspace(self.low, self.high, self.width):
            if costs[0] <= cost <= costs[-1]:
                yield cost, float(np.interp(cost, costs, accuracies))

    def accuracies(self) -> dict[int, str]:
        """Return the marks of the vertical axis, by row."""
        first = np.ceil(self.least / _STEP - 1e-9)
        marks = np.arange(first, np.floor(self.greatest / _STEP + 1e-9) + 1) * _STEP
        return {self.row(float(mark)): f"{100 * mark:.0f} %" for mark in marks}

    def costs(self) -> str:
        """Return the marks of the horizontal axis."""
        line = ""
        for cost in self._marked():
            column = self.column(math.log(cost))
            label = usd(cost).removesuffix(".00")
            if column >= len(line) + bool(line) and column + len(label) <= self.width + 1:
                line = line.ljust(column + 1) + label
        return line

    def _marked(self) -> Iterator[float]:
        tens = [10.0**power for power in range(math.floor(self.low / _TEN), math.ceil(self.high / _TEN) + 1)]
        costs = [step * ten for ten in tens for step in _MARKED]
        yield from (cost for cost in costs if self.low <= math.log(cost) <= self.high)

    def row(self, accuracy: float) -> int:
        """Return the line of an accuracy."""
        return round((self.greatest - accuracy) / (self.greatest - self.least) * (_HEIGHT - 1))

    def column(self, cost: float) -> int:
        """Return the column of the logarithm of a cost."""
        return round((cost - self.low) / (self.high - self.low) * (self.width - 1))
