"""The report of a batch that taught whom to ask: experts, waves, and the same money spent otherwise."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from leeroo.engine.jobs.learn.advice import Advice, BudgetPoint
from leeroo.engine.jobs.learn.findings import Findings
from leeroo.engine.money import usd
from leeroo.engine.orchestrator.analysis.frontier import Interval
from leeroo.reports.plot import EXPERT, OTHERS, OURS, as_svg, in_percent, new_axes, use_style
from leeroo.reports.report import Figure, Report, Table, columns, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
            _experts(found),
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
    if found.judged_by:
        judged = f"{found.judged_by} as a judge"
    gold = f" and {found.gold:,} right answers" if 0 < found.gold < found.questions else ""
    return (
        f"{found.questions:,} different questions in {found.rows:,} rows; {found.pilot:,} of them were sent to several "
        f"experts, whose answers were judged by {judged}{gold}. {usd(found.spent_usd)} of {usd(found.budget_usd)} were "
        "spent, in list prices."
    )


def _experts(found: Findings) -> Table:
    return Table(
        title="Experts",
        about="List price of 1,000 answers in USD; right answers in %, as they are inferred; answers bought, and rows "
        "that got one of them.",
        columns=columns(
            "expert | USD per 1,000: usd | right %: share | 95 %: interval | bought: count | rows: count | why"
        ),
        rows=[
            (each.expert, 1000 * each.usd, each.rate.value, each.rate, each.asked, each.rows, each.why)
            for each in sorted(found.experts, key=lambda each: -each.rate.value)
        ],
    )


def _alternatives(found: Findings) -> Table:
    ours = [("this run", found.rate.value, found.rate, None, None)]
    return Table(
        title="The same money spent otherwise",
        about="Right answers in %, where rows that the money does not reach count as wrong, and the gain of this run "
        "in points. A gain is shown where its interval does not hold 0.",
        columns=columns("way | right %: share | 95 %: interval | gain: gain | gain, 95 %: interval"),
        rows=[
            *ours,
            *((each.what, each.rate.value, each.rate, each.gain.value, each.gain) for each in found.alternatives),
        ],
    )


def _waves(found: Findings) -> Table:
    return Table(
        title="Waves",
        about="Answers that were asked for, and what they cost: paid now, and in list prices with what was stored.",
        columns=columns("wave | answers: count | failed: count | paid USD: usd | list USD: usd"),
        rows=[(each.what, each.answers, each.failed, each.cost_usd, each.list_cost_usd) for each in found.waves],
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
    most = sorted(point.experts.items(), key=lambda item: -item[1])[:3]
    return ", ".join(f"{name} {share:.0%}" for name, share in most)


def plot_found(found: Findings, advice: Advice | None = None) -> str:
    """Draw cost against accuracy: each expert alone, and this run or what is expected by budget, with intervals.

    Raises:
        UsageError: matplotlib is not installed.
    """
    with use_style():
        figure, axes = new_axes(7.5, 4.5)
        for each in found.experts:
            if each.usd < float("inf"):
                _point(axes, 1000 * each.usd, each.rate, EXPERT if each.rows else OTHERS[0])
                _name(axes, each.expert, 1000 * each.usd, each.rate.value, EXPERT)
        if advice is None:
            at = 1000 * found.spent_usd / max(1, found.questions)
            _point(axes, at, found.rate, OURS)
            _name(axes, "this run", at, found.rate.value, OURS)
        else:
            points = [(each.usd_per_1k, each.rate) for each in advice.frontier]
            axes.plot(*zip(*points, strict=True), color=OURS, linewidth=2.2)
            axes.plot(advice.suggested.usd_per_1k, advice.suggested.rate, "o", color=OURS, markersize=8)
        axes.set(xlabel="USD per 1,000 questions", ylabel="right answers, inferred")
        axes.margins(x=0.15)
        in_percent(axes.yaxis)
        axes.grid(color="#eeeeee", zorder=0)
        return as_svg(figure, "learned")


def _name(axes: Axes, name: str, usd_per_1k: float, rate: float, colour: str) -> None:
    near = (6, 4)
    axes.annotate(name, (usd_per_1k, rate), xytext=near, textcoords="offset points", fontsize=8, color=colour)


def _point(axes: Axes, usd_per_1k: float, rate: Interval, colour: str) -> None:
    spread = [[rate.value - rate.low], [rate.high - rate.value]]
    axes.errorbar(usd_per_1k, rate.value, yerr=spread, color=colour, marker="o", markersize=5, capsize=2, zorder=3)
