"""Pictures of a run: shares of rows and spend, calibration, and the costs of rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from leeroo.engine.arrays import Float64s
from leeroo.engine.jobs.answered.figures import NO_EXPERT, Figures
from leeroo.reports.plot import (
    OTHERS,
    OURS,
    Bins,
    as_svg,
    in_percent,
    new_axes,
    plot_bins,
    scale_costs,
    shorten,
    use_style,
)

# Inches: of an expert's bars, and of what stands around them.
_ROW, _AROUND = 0.42, 1.0
# Characters of an expert's name.
_NAME = 32
# Colours of the experts with most rows in the distribution of costs; the others share one.
_COLOURS = (OURS, *OTHERS[1:])


def plot_shares(experts: Sequence[Figures]) -> str:
    """Draw the shares of rows and of list cost of each expert, as two bars.

    Raises:
        UsageError: matplotlib is not installed.
    """
    shares = {name: _shares([each[of] for each in experts]) for name, of in _BARS.items()}
    with use_style():
        figure, axes = new_axes(8.5, _AROUND + _ROW * len(experts))
        places = np.arange(len(experts))
        for (name, share), shift, colour in zip(shares.items(), (-0.2, 0.2), (OURS, OTHERS[1]), strict=True):
            axes.barh(places + shift, share, height=0.36, color=colour, label=name, zorder=2)
        axes.set_yticks(places, [shorten(each["expert"], _NAME) for each in experts])
        axes.invert_yaxis()
        in_percent(axes.xaxis)
        axes.grid(axis="x", color="#eeeeee", zorder=0)
        axes.tick_params(axis="y", length=0)
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        return as_svg(figure, "shares")


_BARS = {"rows": "rows", "list cost": "list_cost_usd"}


def _shares(values: Iterable[float | None]) -> Float64s:
    found: Float64s = np.array([value or 0 for value in values], np.float64)
    return found / max(float(found.sum()), 1e-12)


def plot_calibration(bins: Sequence[Figures], predicted: str) -> str:
    """Draw bins of predictions against observed scores, of all experts and of each.

    Raises:
        UsageError: matplotlib is not installed.
    """
    names = dict.fromkeys(each["expert"] for each in bins if each["expert"] is not None)
    each = [_bins(row for row in bins if row["expert"] == name) for name in names]
    return plot_bins(each, _bins(row for row in bins if row["expert"] is None), predicted, "observed score")


def _bins(rows: Iterable[Figures]) -> Bins:
    listed = [(row["predicted"], row["observed"], row["rows"]) for row in rows]
    predicted, observed, count = np.array(listed, np.float64).T
    return predicted, observed, count.astype(np.int64)


def plot_costs(bins: Sequence[Figures]) -> str:
    """Draw how many rows have which list cost, the experts above one another.

    Raises:
        UsageError: matplotlib is not installed.
    """
    from matplotlib.ticker import MaxNLocator

    ends = {each["bin"]: (each["from_usd"], each["to_usd"]) for each in bins}
    places = {number: at for at, number in enumerate(sorted(ends))}
    left, right = np.array([ends[number] for number in places], np.float64).T
    with use_style():
        figure, axes = new_axes(8.5, 4.0)
        bottom = np.zeros(len(places))
        for colour, (name, own) in zip((*_COLOURS, OTHERS[0]), _stacked(bins).items(), strict=False):
            height = np.zeros(len(places))
            for each in own:
                height[places[each["bin"]]] += each["rows"]
            axes.bar(left, height, right - left, bottom, align="edge", label=name, color=colour, zorder=2)
            bottom += height
        scale_costs(axes, left.min(), right.max())
        axes.set_xlim(left.min() / 1.1, right.max() * 1.1)
        axes.set_xlabel("list cost of a row")
        axes.set_ylabel("rows")
        axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
        axes.grid(axis="y", color="#eeeeee", zorder=0)
        if {each["expert"] for each in bins} != {NO_EXPERT}:
            figure.legend(loc="outside lower center", ncols=3, frameon=False)
        return as_svg(figure, "costs")


_REST = "other experts"


def _stacked(bins: Sequence[Figures]) -> dict[str, list[Figures]]:
    """Return the bins of the experts with most rows by name, and those of all others together, the last."""
    rows: dict[str, int] = {}
    for each in bins:
        rows[each["expert"]] = rows.get(each["expert"], 0) + each["rows"]
    first = sorted(rows, key=lambda name: -rows[name])[: len(_COLOURS)]
    stacked: dict[str, list[Figures]] = {shorten(name, _NAME): [] for name in first}
    for each in bins:
        name = shorten(each["expert"], _NAME) if each["expert"] in first else _REST
        stacked.setdefault(name, []).append(each)
    return stacked
