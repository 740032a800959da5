"""The reports of a pool of experts, and of the topics that it lacks, with their plots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from leeroo.engine.money import usd
from leeroo.engine.orchestrator.analysis.expert_selection import ExpertSelection, SelectedPool, SelectionStep
from leeroo.engine.orchestrator.analysis.frontier import Interval
from leeroo.engine.orchestrator.analysis.gaps import Gaps, Standing, Topic
from leeroo.reports.plot import EXPERT, ORACLE, OTHERS, OURS, as_svg, in_percent, new_axes, shorten, use_style
from leeroo.reports.report import Report, Table, columns, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# How many topics are listed that are no gaps: those with the most to gain.
_OTHERS = 5
# Inches: of a row, and of what stands above and below the rows.
_ROW, _AROUND = 0.3, 1.3
# Topics beyond the gaps are shown until there are this many in all.
_ROWS = 24
_OFFSET = 0.13
# Characters of a topic's name.
_NAME = 70


def selection_report(selection: ExpertSelection) -> Report:
    """Return the curve of a pool, how to read it, and the notes."""
    best = selection.best_single
    cost = "" if best.cost_usd_per_1k is None else f" for {usd(best.cost_usd_per_1k)} per 1,000"
    alone = f"the best single expert, {best.expert}, is right on {percent(best.accuracy)} %{cost}"
    return Report(
        title="Experts that complement each other",
        summary=[
            f"{selection.n:,} questions; {alone}.",
            "Accuracies in %, USD per 1,000 questions. oracle: choosing with hindsight, which luck flatters, and its "
            "cost. held out: the same on questions that the experts were not chosen by. by subject: choosing by a "
            "question's subject alone. A good router comes between the two.",
        ],
        parts=[
            Table(
                title="",
                columns=columns(
                    "k: count | expert | adds: gain | oracle: share | USD: usd | held out: share | by subject: share"
                ),
                rows=[_pool(pool) for pool in [*selection.curve, selection.all]],
            )
        ],
        notes=selection.notes,
        data=selection.as_json(),
    )


def _pool(pool: SelectedPool) -> tuple[object, ...]:
    expert, adds = (pool.expert, pool.adds) if isinstance(pool, SelectionStep) else ("all of them", None)
    accuracies = (pool.oracle_accuracy, pool.cost_usd_per_1k, pool.held_out_accuracy, pool.by_subject_accuracy)
    return (pool.k, expert, adds, *accuracies)


def gaps_report(gaps: Gaps) -> Report:
    """Return a table of topics for each kind of gap, and one of the other topics with the most to gain."""
    good = f"{percent(gaps.good)} %"
    parts = [_topics(f"No expert is good: all are surely below {good}", gaps.of("nobody"), "no such topic")]
    if gaps.most_expensive is not None:
        title = (
            f"Only the most expensive expert is good: {gaps.most_expensive} reaches {good} and leads all others clearly"
        )
        parts.append(_topics(title, gaps.of("only the most expensive"), "no such topic"))
    others = [topic for topic in gaps.topics if topic.kind is None]
    parts.append(_topics("The most to gain elsewhere", others[:_OTHERS], "no other topic"))
    return Report(
        title="Topics that the experts lack",
        summary=[
            f"{gaps.n:,} questions, {len(gaps.topics)} topics. gain: questions that the best expert does not get "
            "right; %: its accuracy, with the interval; mean: of all experts; lead: of the most expensive one over "
            "the best of the others; none: questions that nobody gets right, in %."
        ],
        parts=parts,
        notes=gaps.notes,
        data=gaps.as_json(),
    )


def _topics(title: str, topics: Sequence[Topic], nothing: str) -> Table:
    routed = any(topic.routed_accuracy is not None for topic in topics)
    return Table(
        title=title,
        columns=columns(
            "topic | n: count | gain: count | best expert | %: share | 95 %: interval | mean: share | lead: gain | "
            "none: share" + (" | routed: share" if routed else "")
        ),
        rows=[_topic(topic, routed=routed) for topic in topics],
        empty=nothing,
        remarks=[f"  {topic.name}: {topic.examples[0]}" for topic in topics if topic.kind and topic.examples],
    )


def _topic(topic: Topic, *, routed: bool) -> tuple[object, ...]:
    best = topic.best
    lead = None if topic.lead is None else topic.lead.value
    interval = Interval(best.accuracy, best.low, best.high)
    known = (topic.name, topic.n, round(topic.to_gain), best.expert, best.accuracy, interval)
    row = (*known, topic.mean_accuracy, lead, topic.nobody_right)
    return (*row, topic.routed_accuracy) if routed else row


def plot_selection(selection: ExpertSelection) -> str:
    """Draw a row for each step of the curve: the new expert, and the accuracies of the pool with it.

    Raises:
        UsageError: matplotlib is not installed.
    """
    pools = [*selection.curve, selection.all]
    names = [f"{step.k}   {step.expert}" for step in selection.curve] + [f"all {selection.all.k}"]
    with use_style():
        figure, axes = new_axes(8.5, _AROUND + _ROW * len(pools))
        row = np.arange(len(pools))
        for label, mark, size, colour, values in (
            ("oracle", "*", 11, ORACLE, [pool.oracle_accuracy for pool in pools]),
            ("oracle, on questions not chosen by", "o", 5, OURS, [pool.held_out_accuracy for pool in pools]),
            ("choosing by subject", "s", 5, OTHERS[2], [pool.by_subject_accuracy for pool in pools]),
        ):
            known = [value for value in values if value is not None]
            if known:
                axes.plot(known, row, mark, markersize=size, color=colour, label=label, zorder=3, clip_on=False)
        best = selection.best_single
        axes.axvline(best.accuracy, color=EXPERT, linewidth=0.9, linestyle="--", label=f"{best.expert} alone")
        axes.axhline(len(pools) - 1.5, color="#bbbbbb", linewidth=0.8)
        _rows(axes, names)
        axes.set_xlabel("accuracy")
        if selection.all.cost_usd_per_1k is not None:
            _write_right_column(axes, "USD per 1,000, oracle", [f"{pool.cost_usd_per_1k:,.3g}" for pool in pools])
        figure.legend(loc="outside lower center", ncols=2, frameon=False)
        return as_svg(figure, "selection")


def plot_gaps(gaps: Gaps) -> str:
    """Draw a row for each topic: how good the most expensive expert is there, and the best of the others.

    Gaps stand above, and below them the other topics with the most to gain.

    Raises:
        UsageError: matplotlib is not installed.
    """
    nobody, alone = gaps.of("nobody"), gaps.of("only the most expensive")
    others = [topic for topic in gaps.topics if topic.kind is None]
    sections = [
        ("nobody is good", nobody),
        (f"only {gaps.most_expensive} is good", alone),
        ("other topics", others[: max(_ROWS - len(nobody) - len(alone), 5)]),
    ]
    sections = [(title, topics) for title, topics in sections if topics]
    topics = [topic for _, of_section in sections for topic in of_section]
    with use_style():
        figure, axes = new_axes(10.5, _AROUND + _ROW * (len(topics) + len(sections)))
        names, gains, row = list[str](), list[str](), 0
        for title, of_section in sections:
            names.append(title)
            gains.append("")
            for topic in of_section:
                row = len(names)
                _plot_topic(axes, row, topic)
                names.append(shorten(topic.name, _NAME))
                gains.append(f"{topic.to_gain:.0f} of {topic.n:,}")
        axes.axvline(gaps.good, color="#bbbbbb", linewidth=1, linestyle="--", label="good", zorder=1)
        _rows(axes, names)
        for label, gain in zip(axes.get_yticklabels(), gains, strict=True):
            if not gain:
                label.set(weight="bold", color=EXPERT)
        axes.set(xlim=(0, 1), xlabel="accuracy, with its 95 % interval")
        _write_right_column(axes, "to gain", gains)
        _legend(axes, gaps, topics)
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
        return as_svg(figure, "gaps")


def _plot_topic(axes: Axes, row: int, topic: Topic) -> None:
    shown = (
        [(topic.best_other, OURS, _OFFSET), (topic.most_expensive, ORACLE, -_OFFSET)]
        if topic.best_other and topic.most_expensive
        else [(topic.best, OURS, 0.0)]
    )
    for standing, colour, offset in shown:
        if standing:
            _plot_standing(axes, row + offset, standing, colour)


def _plot_standing(axes: Axes, at: float, standing: Standing, colour: str) -> None:
    axes.plot([standing.low, standing.high], [at, at], color=colour, linewidth=1.2, alpha=0.55, zorder=2)
    axes.plot(standing.accuracy, at, "o", color=colour, markersize=4.5, zorder=3)


def _legend(axes: Axes, gaps: Gaps, topics: Sequence[Topic]) -> None:
    both = any(topic.best_other and topic.most_expensive for topic in topics)
    axes.plot([], [], "o", color=OURS, markersize=4.5, label="best of the others" if both else "best expert")
    if both:
        axes.plot([], [], "o", color=ORACLE, markersize=4.5, label=f"{gaps.most_expensive}, the most expensive")


def _rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows, from above; the axis has percents and nothing else."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    in_percent(axes.xaxis)
    axes.grid(axis="x", color="#eeeeee", zorder=0)


def _write_right_column(axes: Axes, title: str, words: Sequence[str]) -> None:
    """Write a column of words to the right of the rows."""
    for row, word in enumerate([title, *words], start=-1):
        style = "italic" if row < 0 else "normal"
        axes.annotate(
            word, (1, row if row >= 0 else -0.9), xycoords=("axes fraction", "data"), xytext=(8, 0), ha="left",
            va="center", textcoords="offset points", fontsize=8, style=style, annotation_clip=False,
        )  # fmt: skip
