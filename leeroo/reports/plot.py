"""Plots of an evaluation, as SVG text: cost against accuracy, and reliability."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from leeroo.engine.arrays import Float64s
from leeroo.engine.errors import UsageError
from leeroo.engine.money import usd
from leeroo.engine.orchestrator.analysis.evaluate import Evaluation
from leeroo.engine.orchestrator.analysis.frontier import Budgeted, Estimate, Point, reliability
from leeroo.reports.findings import BASELINES
from leeroo.reports.label_places import place_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind can tell apart.
OURS, ORACLE, EXPERT = "#0072B2", "#D55E00", "#333333"
OTHERS = ("#999999", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#F0E442")
# Text stays text, a name with two $ is no formula, and the same evaluation gives the same file.
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "leeroo",
    "text.parse_math": False,
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
# A label farther from its point than so many pixels has a line to it.
_LEADER = 8
# More entries side by side would be wider than the picture.
_LEGEND_COLUMNS = 4
# An expert's bin with fewer questions shows chance more than calibration.
_FEW = 20


def plot_evaluation(evaluation: Evaluation) -> str:
    """The frontier of an evaluation beside its baselines, with intervals where the budget is a part of the best's cost.

    Raises:
        UsageError: matplotlib is not installed.
    """
    return plot_frontier(
        evaluation.experts,
        evaluation.frontier,
        {BASELINES[name]: points for name, points in evaluation.baselines.items() if points is not None},
        evaluation.oracle,
        [
            (evaluation.at(evaluation.frontier, share).cost_usd_per_1k, accuracy)
            for share, accuracy in evaluation.shares.items()
        ],
    )


def plot_frontier(
    experts: Mapping[str, Point],
    ours: Sequence[Budgeted],
    others: Mapping[str, Sequence[Point]],
    oracle: Point,
    intervals: Sequence[tuple[float, Estimate]] = (),
) -> str:
    """Cost against accuracy: every expert a labelled point, our frontier, other ways of choosing, and the oracle.

    The picture is one SVG element, without scripts and without anything from elsewhere.

    Args:
        experts: By name.
        ours: In the order of the budgets.
        others: Curves by their names in the legend.
        oracle: The best outcome of each question.
        intervals: Costs on our frontier, and the accuracy there.

    Raises:
        UsageError: matplotlib is not installed.
    """
    with styled():
        figure, axes = new_axes(9.5, 6.2)
        axes.plot(*_xy(ours), color=OURS, linewidth=2.4, label="this router", zorder=3)
        for (name, curve), colour in zip(others.items(), OTHERS * len(others), strict=False):
            axes.plot(*_xy(curve), color=colour, linewidth=1.4, linestyle="--", label=name)
        for cost, accuracy in intervals:
            spread = [[accuracy.value - accuracy.low], [accuracy.high - accuracy.value]]
            axes.errorbar(cost, accuracy.value, yerr=spread, color=OURS, marker="o", markersize=4, capsize=2, zorder=3)
        axes.plot(*_xy(experts.values()), "o", color=EXPERT, markersize=4.5, zorder=4, label="single experts")
        axes.plot(*_xy([oracle]), "*", color=ORACLE, markersize=13, zorder=4, label="oracle")
        _limits(axes, [*experts.values(), oracle], [*ours, *(point for curve in others.values() for point in curve)])
        axes.set_xlabel("USD per 1,000 questions")
        axes.set_ylabel("accuracy")
        axes.grid(color="#eeeeee", zorder=0)
        figure.legend(loc="outside lower center", ncols=min(len(others) + 3, _LEGEND_COLUMNS), frameon=False)
        upright = [(cost, accuracy.low, accuracy.high) for cost, accuracy in intervals]
        upright.append((oracle.cost_usd_per_1k, oracle.accuracy - 0.01, oracle.accuracy + 0.01))
        bars = [[Point(cost, low), Point(cost, high)] for cost, low, high in upright]
        _label(figure, axes, experts, [ours, *others.values(), *bars])
        return as_svg(figure, "frontier")


def plot_reliability(scores_pred: Float64s, scores: Float64s) -> str:
    """Predicted against recorded scores [n, e] in ten bins: all experts together, and each as a thin line.

    Where a prediction is NaN it is left out.

    Raises:
        UsageError: matplotlib is not installed.
    """
    with styled():
        figure, axes = new_axes(5.2, 5.0)
        axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1, linestyle="--", label="right on average")
        known = np.isfinite(scores_pred)
        for j, rows in enumerate(known.T):
            expected, recorded, count = reliability(scores_pred[rows, j], scores[rows, j])
            told = count >= _FEW
            label = None if j else "each expert"
            axes.plot(expected[told], recorded[told], color="#cccccc", linewidth=0.8, label=label)
        expected, recorded, count = reliability(scores_pred[known], scores[known])
        axes.plot(expected, recorded, color=OURS, linewidth=2, zorder=3, label="all experts")
        axes.scatter(expected, recorded, s=200 * count / count.max() + 5, color=OURS, alpha=0.6, zorder=3, linewidths=0)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="predicted score", ylabel="recorded score", aspect="equal")
        axes.grid(color="#eeeeee", zorder=0)
        axes.legend(loc="upper left", frameon=False)
        return as_svg(figure, "reliability")


def check_plotting() -> None:
    """Check that plots can be made, before anything is spent on what they show.

    Raises:
        UsageError: matplotlib is not installed.
    """
    with styled():
        pass


@contextmanager
def styled() -> Iterator[None]:
    """The look of all pictures, while entered. Raises UsageError where Matplotlib is not installed."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise UsageError(f"plots and reports need matplotlib: pip install 'leeroo[plot]' ({error})") from error
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # Text stays text, so whoever looks at it brings the font.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def shortened(name: str, most: int) -> str:
    """A name of so many characters at most."""
    return name if len(name) <= most else name[: most - 3] + "..."


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """A figure of that size in inches, in which a pixel is a point of the page."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=72, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def in_percent(axis: Axis) -> None:
    """Write the ticks of parts of 1 in per cent, each exactly as it is."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda part, _: f"{round(100 * part, 6):g}%"))


def as_svg(figure: Figure, name: str) -> str:
    """The picture as one element, whose ids do not meet those of another picture on the same page."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata=dict.fromkeys(["Date", "Creator", "Format", "Type"]))
    svg = text.getvalue()
    return re.sub(r'((?:\bid|href)="#?|url\(#)', rf"\1{name}-", svg[svg.index("<svg") :])


def _xy(points: Iterable[Point]) -> Float64s:
    return np.array([(point.cost_usd_per_1k, point.accuracy) for point in points]).T


def _limits(axes: Axes, points: Sequence[Point], curves: Sequence[Point]) -> None:
    """Room for all points and, to the right, the curves; where budgets leave questions unanswered nobody need look."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    costs, accuracies = _xy(points)
    low, high = costs.min(), max(costs.max(), *(point.cost_usd_per_1k for point in curves))
    if low > 0:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.25, high * 2.1)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(-0.05 * high, 1.15 * high)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda amount, _: usd(amount).removesuffix(".00")))
    room = 0.08 * float(np.ptp(accuracies)) + 0.01
    axes.set_ylim(max(0, accuracies.min() - room), min(1.02, accuracies.max() + room))
    in_percent(axes.yaxis)


def _label(figure: Figure, axes: Axes, points: Mapping[str, Point], curves: Sequence[Sequence[Point]]) -> None:
    """Write the names beside their points, with lines to those that are farther off."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # all stays where it was measured
    at = axes.transData.transform(_xy(points.values()).T)
    notes = [
        axes.annotate(name, tuple(xy), textcoords="offset points", xytext=(0, 0), fontsize=7.5)
        for name, xy in zip(points, _xy(points.values()).T, strict=True)
    ]
    sizes = np.array([note.get_window_extent().size for note in notes])
    crossed = np.concatenate([_every_few_pixels(axes.transData.transform(_xy(curve).T)) for curve in curves])
    corners, ends = place_labels(at, sizes, np.array(axes.get_window_extent().extents), crossed)
    for note, point, corner, end in zip(notes, at, corners, ends, strict=True):
        note.set(position=corner - point, va="bottom", color=EXPERT)
        if np.hypot(*(end - point)) > _LEADER:
            line = axes.transData.inverted().transform([point, end])
            axes.plot(*line.T, color="#aaaaaa", linewidth=0.6, zorder=2)


def _every_few_pixels(corners: Float64s) -> Float64s:
    """Points along a line with these corners [n, 2]."""
    gone = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(corners, axis=0).T))])
    at = np.arange(0, gone[-1], 4)
    return np.stack([np.interp(at, gone, axis) for axis in corners.T], axis=1)
