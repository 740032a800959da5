"""Plots of an evaluation, as SVG text: cost against accuracy, and reliability."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from leeroo.engine.errors import UsageError
from leeroo.engine.orchestrator.frontier import Budgeted, Estimate, Point, reliability
from leeroo.engine.orchestrator.market import Float64s

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind can tell apart.
_OURS, _ORACLE, _EXPERT = "#0072B2", "#D55E00", "#333333"
_OTHERS = ("#999999", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#F0E442")
# Text stays text, and the same evaluation gives the same file.
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "leeroo",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
# A label is tried at these distances from its point, in points of the page, and directions.
_DISTANCES = (5, 10, 16, 24, 34, 46, 60, 80, 100)
_DIRECTIONS = np.linspace(0, 2 * np.pi, 16, endpoint=False)
# Points as near as this are a crowd; labels farther than that have a line to their point.
_CROWD, _LEADER = 60, 10
# An expert's bin with fewer questions shows chance more than calibration.
_FEW = 20

Box = tuple[float, float, float, float]


def plot_frontier(
    experts: Mapping[str, Point],
    ours: Sequence[Budgeted],
    others: Mapping[str, Sequence[Point]],
    oracle: Point,
    intervals: Iterable[tuple[float, Estimate]] = (),
) -> str:
    """Cost against accuracy: every expert a labelled point, our frontier, other ways of choosing, and the oracle.

    Args:
        experts: By name.
        ours: In the order of the budgets.
        others: Curves by their names in the legend.
        oracle: The best outcome of each question.
        intervals: Costs on our frontier, and the accuracy there.

    Raises:
        UsageError: matplotlib is not installed.
    """
    with _styled():
        figure, axes = _axes(9.5, 6.2)
        for (name, curve), colour in zip(others.items(), _OTHERS * len(others), strict=False):
            axes.plot(*_xy(curve), color=colour, linewidth=1.4, linestyle="--", label=name)
        axes.plot(*_xy(ours), color=_OURS, linewidth=2.4, label="this router", zorder=3)
        for cost, accuracy in intervals:
            spread = [[accuracy.value - accuracy.low], [accuracy.high - accuracy.value]]
            axes.errorbar(cost, accuracy.value, yerr=spread, color=_OURS, marker="o", markersize=4, capsize=2, zorder=3)
        axes.plot(*_xy(experts.values()), "o", color=_EXPERT, markersize=4.5, zorder=4, label="single experts")
        axes.plot(*_xy([oracle]), "*", color=_ORACLE, markersize=13, zorder=4, label="oracle")
        _limits(axes, [*experts.values(), oracle], [*ours, *(point for curve in others.values() for point in curve)])
        axes.set_xlabel("USD per 1,000 questions")
        axes.set_ylabel("accuracy")
        axes.grid(color="#eeeeee", zorder=0)
        figure.legend(loc="outside lower center", ncols=len(others) + 3, frameon=False)
        _label(figure, axes, {**experts, "oracle": oracle}, [ours, *others.values()])
        return _svg(figure)


def plot_reliability(scores_pred: Float64s, scores: Float64s) -> str:
    """Predicted against recorded scores [n, e] in ten bins: all experts together, and each as a thin line.

    Raises:
        UsageError: matplotlib is not installed.
    """
    with _styled():
        figure, axes = _axes(5.2, 5.0)
        axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1, linestyle="--", label="right on average")
        for j in range(scores.shape[1]):
            expected, recorded, count = reliability(scores_pred[:, j], scores[:, j])
            told = count >= _FEW
            axes.plot(expected[told], recorded[told], color="#cccccc", linewidth=0.8, label=None if j else "each expert")
        expected, recorded, count = reliability(scores_pred.ravel(), scores.ravel())
        axes.plot(expected, recorded, color=_OURS, linewidth=2, zorder=3, label="all experts")
        axes.scatter(expected, recorded, s=200 * count / count.max() + 5, color=_OURS, alpha=0.6, zorder=3, linewidths=0)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted score", ylabel="recorded score", aspect="equal")
        axes.grid(color="#eeeeee", zorder=0)
        axes.legend(loc="upper left", frameon=False)
        return _svg(figure)


def _styled() -> Any:
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise UsageError("plots and reports need matplotlib: pip install 'leeroo[plot]'") from error
    return mpl.rc_context(_STYLE)


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of that size in inches, in which a pixel is a point of the page."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=72, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :]


def _xy(points: Iterable[Point]) -> Float64s:
    return np.array([(point.cost_usd_per_1k, point.accuracy) for point in points]).T


def _limits(axes: Axes, points: Sequence[Point], curves: Sequence[Point]) -> None:
    """Room for all points and, to the right, the curves; where budgets leave questions unanswered nobody need look."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator, PercentFormatter

    costs, accuracies = _xy(points)
    low, high = costs.min(), max(costs.max(), *(point.cost_usd_per_1k for point in curves))
    if low > 0:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.25, high * 1.5)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(-0.05 * high, 1.15 * high)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda usd, _: f"${usd:g}"))
    room = 0.06 * float(np.ptp(accuracies)) + 0.01
    axes.set_ylim(max(0, accuracies.min() - room), min(1.02, accuracies.max() + room))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _label(figure: Figure, axes: Axes, points: Mapping[str, Point], curves: Sequence[Sequence[Point]]) -> None:
    """Write the names beside their points: where no other name or point, and hardly a curve, is in the way."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # all stays where it was measured
    frame = axes.get_window_extent()
    at = {name: axes.transData.transform((p.cost_usd_per_1k, p.accuracy)) for name, p in points.items()}
    crossed = np.concatenate([_every_few_pixels(axes.transData.transform(_xy(curve).T)) for curve in curves])
    taken: list[Box] = [(x - 4, y - 4, x + 4, y + 4) for x, y in at.values()]

    def crowd(name: str) -> int:
        return sum(np.hypot(*(at[name] - other)) < _CROWD for other in at.values())

    for name in sorted(at, key=crowd):  # the crowded ones last: they have a long way in any case
        where = points[name].cost_usd_per_1k, points[name].accuracy
        note = axes.annotate(name, where, (0, 0), textcoords="offset points", va="bottom", fontsize=7.5, color=_EXPERT)
        size = note.get_window_extent()
        box, distance = _free(at[name], size.width, size.height, frame.extents, taken, crossed)
        taken.append(box)
        note.set_position((box[0] - at[name][0], box[1] - at[name][1]))
        if distance > _LEADER:
            ends = axes.transData.inverted().transform([at[name], np.clip(at[name], box[:2], box[2:])])
            axes.plot(*ends.T, color="#aaaaaa", linewidth=0.6, zorder=2)


def _free(
    at: Float64s, width: float, height: float, frame: Sequence[float], taken: Sequence[Box], crossed: Float64s
) -> tuple[Box, float]:
    """The best place for a label of that size, and how far it is from its point; all in pixels."""
    places: list[tuple[float, Box, float]] = []
    for distance, angle in product(_DISTANCES, _DIRECTIONS):
        x = at[0] + distance * np.cos(angle) - width * (1 - np.cos(angle)) / 2
        y = at[1] + distance * np.sin(angle) - height * (1 - np.sin(angle)) / 2
        box = (x, y, x + width, y + height)
        outside = x < frame[0] or y < frame[1] or box[2] > frame[2] or box[3] > frame[3]
        hidden = sum(_overlap(box, other) for other in taken)
        places.append((distance + 1000 * outside + 200 * hidden + 5 * _inside(crossed, box), box, distance))
    _, box, distance = min(places)
    return box, distance


def _every_few_pixels(corners: Float64s) -> Float64s:
    """Points along a line with these corners [n, 2]."""
    gone = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(corners, axis=0).T))])
    at = np.arange(0, gone[-1], 4)
    return np.stack([np.interp(at, gone, axis) for axis in corners.T], axis=1)


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _inside(points: Float64s, box: Box) -> int:
    x, y = points.T
    return int(((box[0] < x) & (x < box[2]) & (box[1] < y) & (y < box[3])).sum())
