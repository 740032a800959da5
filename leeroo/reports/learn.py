"""The report of a batch that taught whom to ask: experts, waves, and the same money spent otherwise."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from leeroo.engine.jobs.learn.advice import Advice, BudgetPoint
from leeroo.engine.jobs.learn.asked import WaveFigures
from leeroo.engine.jobs.learn.findings import Findings
from leeroo.engine.money import usd
from leeroo.engine.orchestrator.analysis.frontier import Interval, Point
from leeroo.reports.plot import (
    EXPERT,
    OTHERS,
    OURS,
    as_svg,
    in_percent,
    new_axes,
    number_points,
    scale_costs,
    use_style,
)
from leeroo.reports.report import Figure, Report, Table, columns, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Inches: the least height of the picture, and of an expert's line in its key.
_HEIGHT, _LINE = 4.5, 0.19
# The least part of the questions that is shown.
_SHOWN = 0.005


def learn_report(found: Findings, title: str) -> Report:
    """Return what was learned of each expert, who got which rows, and how sure that is."""
    return Report(
        title=title,
        about=[_about(found)],
        summary=[found.headline()],
        parts=[
            Figure("Cost and accuracy", lambda: plot_found(found), _ABOUT_FIGURE),
            _experts(found),
            _alternatives(found),
            _waves(found),
        ],
        notes=found.notes,
        data=found.as_dict(),
    )


def sample_report(found: Findings, advice: Advice, title: str) -> Report:
    """Return what a sample teaches: cost against accuracy on all questions, the budget to take, and whom to keep."""
    best = advice.suggested
    return Report(
        title=title,
        about=[_about(found)],
        summary=[
            f"A budget of {usd(best.usd)} for all {found.questions:,} questions is expected to bring "
            f"{percent(best.rate)} % right answers; more money adds at most a point.",
            f"Worth keeping: {', '.join(advice.keep)}.",
            f"More outcomes can add {percent(advice.unknown)} points by telling experts apart, and what they teach of "
            "single questions.",
        ],
        parts=[
            Figure("Cost and accuracy", lambda: plot_found(found, advice), _ABOUT_SAMPLE),
            _budgets(advice),
            _experts(found, sample=True),
            _waves(found),
        ],
        notes=found.notes,
        data={**found.as_dict(), "advice": asdict(advice)},
    )


_ABOUT_SAMPLE = (
    "USD per 1,000 questions against the share of right answers: what the router expects of a budget for all "
    "questions, and each expert alone, with its 95 % interval."
)
_ABOUT_FIGURE = (
    "USD per 1,000 questions against the share of right answers: each expert alone on all questions, and this run, "
    "with 95 % intervals."
)


def _about(found: Findings) -> str:
    judged = "gold" if found.gold == found.questions else "the agreement of the experts"
    if found.judge is not None:
        judged = f"{found.judge.name} as a judge{'' if found.judge.believed else ', which is not believed'}"
    gold = f" and {found.gold:,} right answers" if 0 < found.gold < found.questions else ""
    return (
        f"{found.questions:,} different questions in {found.rows:,} rows; {found.pilot:,} of them were sent to several "
        f"experts, whose answers were judged by {judged}{gold}. {usd(found.spent_usd)} of {usd(found.budget_usd)} were "
        "spent, in list prices."
    )


def _experts(found: Findings, *, sample: bool = False) -> Table:
    ordered = sorted(found.experts, key=lambda each: -each.rate.value)
    rows = [(each.expert, 1000 * each.usd, each.rate.value, each.rate, each.asked, each.rows) for each in ordered]
    listed = columns("expert | USD per 1,000: usd | right %: share | 95 %: interval | bought: count | rows: count")
    got = "" if sample else ", and rows that got one of them"
    return Table(
        title="Experts",
        about=f"List price of 1,000 answers in USD; right answers in %, as they are inferred; answers bought{got}.",
        columns=listed[:-1] if sample else listed,
        rows=[row[:-1] for row in rows] if sample else rows,
        remarks=[] if sample else _reasons(found),
    )


def _reasons(found: Findings) -> list[str]:
    """Return a line for each part that experts had in the batch, with their names."""
    names: dict[str, list[str]] = {}
    for each in found.experts:
        names.setdefault(each.why, []).append(each.expert)
    return [f"{why} - {', '.join(experts)}" for why, experts in names.items()]


def _alternatives(found: Findings) -> Table:
    ours = [("this run", found.rate.value, found.rate, None, None)]
    return Table(
        title="The same money spent otherwise",
        about="Right answers in %, where rows that the money does not reach count as wrong, and the gain of this run "
        "in points. A gain is proven where its interval does not hold 0. A random mix sends rows by chance to the two "
        "experts that are best for the money.",
        columns=columns("way | right %: share | 95 %: interval | gain: gain | gain, 95 %: interval"),
        rows=[
            *ours,
            *(
                (_short(each.what), each.rate.value, each.rate, each.gain.value, each.gain)
                for each in found.alternatives
            ),
        ],
    )


def _short(way: str) -> str:
    """Return a way in fewer words: names of models are long, and a terminal is narrow."""
    return way.replace("the default expert", "default:")


def _waves(found: Findings) -> Table:
    """Return what the waves of each kind cost together."""
    kinds: dict[str, list[WaveFigures]] = {}
    for each in found.waves:
        kinds.setdefault(each.what, []).append(each)
    return Table(
        title="Waves",
        about="Answers that were asked for, and what they cost: paid now, and in list prices with what was stored.",
        columns=columns(" | waves: count | answers: count | failed: count | paid USD: usd | list USD: usd"),
        rows=[
            (
                what,
                len(waves),
                sum(each.answers for each in waves),
                sum(each.failed for each in waves),
                sum(each.cost_usd for each in waves),
                sum(each.list_cost_usd for each in waves),
            )
            for what, waves in kinds.items()
        ],
        empty="no answer was bought",
    )


def _budgets(advice: Advice) -> Table:
    """Return some of the budgets: about ten, with the one that is suggested."""
    step = max(1, len(advice.frontier) // 10)
    shown = [each for i, each in enumerate(advice.frontier) if i % step == 0 or each == advice.suggested]
    return Table(
        title="Budgets",
        about="For all questions, in USD; right answers in % as the router expects them, and who would answer.",
        columns=columns("budget USD: usd | USD per 1,000: usd | right %: share | who answers"),
        rows=[(each.usd, each.usd_per_1k, each.rate, _who(each)) for each in shown],
    )


def _who(point: BudgetPoint) -> str:
    some = [(name, share) for name, share in point.experts.items() if share >= _SHOWN]
    most = sorted(some, key=lambda item: -item[1])[:3]
    return ", ".join(f"{name} {share:.0%}" for name, share in most)


def plot_found(found: Findings, advice: Advice | None = None) -> str:
    """Draw cost against accuracy: each expert alone, and this run or what is expected by budget, with intervals.

    Raises:
        UsageError: matplotlib is not installed.
    """
    shown = [each for each in found.experts if each.usd < float("inf")]
    with use_style():
        figure, axes = new_axes(9.5, max(_HEIGHT, _LINE * len(shown) + 1))
        costs = [1000 * each.usd for each in shown]
        for each, cost in zip(shown, costs, strict=True):
            _point(axes, cost, each.rate, EXPERT if each.rows or advice else OTHERS[0])
        if advice is None:
            at = 1000 * found.spent_usd / max(1, found.questions)
            costs.append(at)
            _point(axes, at, found.rate, OURS)
            axes.plot([], color=OURS, label="this run")
        else:
            points = [(each.usd_per_1k, each.rate) for each in advice.frontier]
            costs += [cost for cost, _ in points]
            axes.plot(*zip(*points, strict=True), color=OURS, linewidth=2.2, label="expected with the router")
            best = advice.suggested
            axes.plot(best.usd_per_1k, best.rate, "o", color=OURS, markersize=8, label="suggested")
        axes.plot([], color=EXPERT, label="single experts" if advice else "single experts, grey if no row got theirs")
        scale_costs(axes, min(costs, default=0.0), max(costs, default=1.0) or 1.0)
        axes.set(xlabel="USD per 1,000 questions", ylabel="right answers, inferred")
        in_percent(axes.yaxis)
        axes.grid(color="#eeeeee", zorder=0)
        figure.legend(loc="outside lower center", ncols=3, frameon=False)
        if shown:
            number_points(figure, axes, {each.expert: Point(1000 * each.usd, each.rate.value) for each in shown})
        return as_svg(figure, "learned")


def _point(axes: Axes, usd_per_1k: float, rate: Interval, colour: str) -> None:
    spread = [[rate.value - rate.low], [rate.high - rate.value]]
    axes.errorbar(usd_per_1k, rate.value, yerr=spread, color=colour, marker="o", markersize=5, capsize=2, zorder=3)
