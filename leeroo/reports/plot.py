"""Plots of an evaluation, as SVG text: cost against accuracy, and reliability."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from leeroo.engine.arrays import Float64s, Int64s
from leeroo.engine.errors import UsageError
from leeroo.engine.money import usd
from leeroo.engine.orchestrator.analysis.evaluate import Evaluation
from leeroo.engine.orchestrator.analysis.frontier import Budgeted, Interval, Point, reliability

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

# Mean predicted and mean observed score, and the number of rows, of each bin.
Bins = tuple[Float64s, Float64s, Int64s]

# The names of the baselines for people.
BASELINES = {"random": "random mix", "subject_mean": "subject mean", "knn": "kNN"}
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
# Inches: the least height of a frontier, of an expert's line in its key, and of all that is above and below the key.
_HEIGHT, _LINE, _ABOVE_AND_BELOW = 6.2, 0.19, 1.0
# Pixels from a point to its number in each direction, and the directions, the first that is free.
_AWAY = 7
_CORNERS = ((1, 1), (-1, 1), (1, -1), (-1, -1))
# Behind a number, so that it can be read on a curve.
_BACKGROUND = {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
# More entries side by side would be wider than the picture.
_LEGEND_COLUMNS = 4
# A bin with fewer questions shows chance more than calibration: no line goes through it.
_FEW = 20


def plot_evaluation(evaluation: Evaluation) -> str:
    """Draw the frontier of an evaluation and its baselines, with intervals at parts of the best expert's cost.

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
    intervals: Sequence[tuple[float, Interval]] = (),
) -> str:
    """Draw cost against accuracy: a numbered point for each expert, our frontier, other ways, and the oracle.

    The numbers grow with the cost, and a key on the right has their names. The picture is one SVG element
    without scripts, and nothing in it is from elsewhere.

    Args:
        experts: By name.
        ours: In the order of the budgets.
        others: Curves by their names in the legend.
        oracle: The best outcome of each question.
        intervals: Costs on our frontier, and the accuracy there.

    Raises:
        UsageError: matplotlib is not installed.
    """
    with use_style():
        figure, axes = new_axes(10.5, max(_HEIGHT, _LINE * len(experts) + _ABOVE_AND_BELOW))
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
        number_points(figure, axes, experts)
        return as_svg(figure, "frontier")


def plot_reliability(scores_pred: Float64s, scores: Float64s) -> str:
    """Draw predicted against recorded scores [n, e] in ten bins: all experts together, and each as a thin line.

    Where a prediction is NaN it is left out.

    Raises:
        UsageError: matplotlib is not installed.
    """
    known = np.isfinite(scores_pred)
    each = [reliability(scores_pred[rows, j], scores[rows, j]) for j, rows in enumerate(known.T)]
    return plot_bins(each, reliability(scores_pred[known], scores[known]), "predicted score", "recorded score")


def plot_bins(each: Sequence[Bins], together: Bins, predicted: str, observed: str) -> str:
    """Draw bins of predictions against what was observed: of all experts, and of each as a thin line.

    Args:
        each: The bins of each expert; those with few questions are left out.
        together: The bins of all.
        predicted, observed: The names of the axes.

    Raises:
        UsageError: matplotlib is not installed.
    """
    with use_style():
        figure, axes = new_axes(5.2, 5.0)
        axes.plot([0, 1], [0, 1], color="#bbbbbb", linewidth=1, linestyle="--", label="right on average")
        for j, (expected, recorded, count) in enumerate(each):
            enough = count >= _FEW
            label = None if j else "each expert"
            axes.plot(expected[enough], recorded[enough], color="#cccccc", linewidth=0.8, label=label)
        expected, recorded, count = together
        enough = count >= _FEW
        axes.plot(expected[enough], recorded[enough], color=OURS, linewidth=2, zorder=3, label="all experts")
        axes.scatter(expected, recorded, s=200 * count / count.max() + 5, color=OURS, alpha=0.6, zorder=3, linewidths=0)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel=predicted, ylabel=observed, aspect="equal")
        axes.grid(color="#eeeeee", zorder=0)
        axes.legend(loc="upper left", frameon=False)
        return as_svg(figure, "reliability")


def check_plotting() -> None:
    """Check that plots can be made, before anything is spent on what they show.

    Raises:
        UsageError: matplotlib is not installed.
    """
    with use_style():
        pass


@contextmanager
def use_style() -> Iterator[None]:
    """Give all pictures one look, while entered. Raises UsageError where Matplotlib is not installed."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise UsageError(f"plots and reports need matplotlib: pip install matplotlib ({error})") from error
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        # Text stays text, so the viewer brings the font.
        warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
        yield


def shorten(name: str, most: int) -> str:
    """Return a name cut to that many characters."""
    return name if len(name) <= most else name[: most - 3] + "..."


def new_axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Return a figure of that size in inches, in which a pixel is a point of the page."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=72, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def in_percent(axis: Axis) -> None:
    """Write the ticks of parts of 1 in per cent, each exactly as it is."""
    from matplotlib.ticker import FuncFormatter

    axis.set_major_formatter(FuncFormatter(lambda part, _: f"{round(100 * part, 6):g}%"))


def scale_costs(axes: Axes, low: float, high: float) -> None:
    """Make room for costs on the horizontal axis, with a logarithmic scale where all cost something."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    if low > 0:
        axes.set_xscale("log")
        axes.set_xlim(low / 1.25, high * 2.1)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
    else:
        axes.set_xlim(-0.05 * high, 1.15 * high)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda amount, _: usd(amount).removesuffix(".00")))


def as_svg(figure: Figure, name: str) -> str:
    """Return the picture as one element, whose ids differ from those of another picture on the same page."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata=dict.fromkeys(["Date", "Creator", "Format", "Type"]))
    svg = text.getvalue()
    return re.sub(r'((?:\bid|href)="#?|url\(#)', rf"\1{name}-", svg[svg.index("<svg") :])


def _xy(points: Iterable[Point]) -> Float64s:
    return np.array([(point.cost_usd_per_1k, point.accuracy) for point in points]).T


def _limits(axes: Axes, points: Sequence[Point], curves: Sequence[Point]) -> None:
    """Make room for all points and, to the right, the curves; the part where questions stay unanswered is cut off."""
    costs, accuracies = _xy(points)
    scale_costs(axes, float(costs.min()), max(costs.max(), *(point.cost_usd_per_1k for point in curves)))
    room = 0.08 * float(np.ptp(accuracies)) + 0.01
    axes.set_ylim(max(0, accuracies.min() - room), min(1.02, accuracies.max() + room))
    in_percent(axes.yaxis)


def number_points(figure: Figure, axes: Axes, experts: Mapping[str, Point]) -> None:
    """Write a number at each point, the cheapest expert's first, and a key with their names on the right."""
    from matplotlib.lines import Line2D

    ordered = sorted(experts.items(), key=lambda item: (item[1].cost_usd_per_1k, -item[1].accuracy))
    numbers = [str(i) for i in range(1, len(ordered) + 1)]
    figure.draw_without_rendering()  # the limits are known from now on
    points = _xy(point for _, point in ordered).T
    taken = [*axes.transData.transform(points)]
    for number, point in zip(numbers, points, strict=True):
        at = axes.transData.transform(point)
        places = [at + _AWAY * np.array(corner) for corner in _CORNERS]
        free = [place for place in places if min(np.hypot(*(place - other)) for other in taken) >= _AWAY]
        place = (free or places)[0]
        taken.append(place)
        axes.annotate(
            number, tuple(point), xytext=tuple(place - at), textcoords="offset pixels", fontsize=8, ha="center",
            va="center", color=EXPERT, zorder=5, bbox=_BACKGROUND,
        )  # fmt: skip
    # A column of numbers and one of names. A legend leaves out a name that begins with '_', so it gets them afterwards.
    handles = [Line2D([], [], linestyle="none")] * (2 * len(ordered))
    key = figure.legend(
        handles, ["-"] * len(handles), loc="outside right upper", ncols=2, title="experts by cost", frameon=False,
        handlelength=0, handletextpad=0, columnspacing=0.8, labelspacing=0.35, fontsize=8, alignment="left",
    )  # fmt: skip
    for text, words in zip(key.get_texts(), [*numbers, *(name for name, _ in ordered)], strict=True):
        text.set_text(words)
