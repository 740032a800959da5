"""The report of a run of MMLU: accuracies by category, expert and subject, and what other choices would have scored."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

from leeroo.engine.jobs.mmlu.mmlu import Comparison, Results, ScoredPart, Strategy
from leeroo.engine.money import usd
from leeroo.engine.orchestrator.analysis.frontier import Point
from leeroo.reports.plot import OTHERS, OURS, as_svg, in_percent, new_axes, plot_frontier, shorten, use_style
from leeroo.reports.report import Column, Figure, Report, Table, columns, commonest_reasons, percent, span

# How many of the worst subjects are listed.
_WORST = 10
# A table of more columns of categories than this is no longer readable.
_WIDE = 5
# Inches: of a row of the picture, and of what stands around the rows.
_ROW, _AROUND = 0.19, 0.9
# Characters of a category's name in it.
_NAME = 24


def mmlu_report(results: Results, title: str, about: Sequence[str]) -> Report:
    """Return the tables and pictures of a run.

    Args:
        results: The result of `run_mmlu`.
        title: Of its page.
        about: What was run, a sentence each.
    """
    compared = results.comparison
    frontier = Figure("Cost against accuracy", lambda: plot_mmlu(results), wide=True)
    return Report(
        title=title,
        about=about,
        summary=[headline(results)],
        parts=[
            _categories(results),
            _experts(results),
            *(_comparison_tables(compared) if compared else []),
            *([frontier] if compared and compared.frontier else []),
            _worst_subjects(results),
            Figure("Subjects", lambda: plot_subjects(results), wide=True),
        ],
        data={**results.as_json(), "errors": commonest_reasons(results.answers.column("error").to_pylist())},
    )


def headline(results: Results) -> str:
    """Return one line: accuracy, cost, and what failed."""
    n = len(results.answers)
    failed = f"; {results.failed:,} failed and count as wrong" if results.failed else ""
    return (
        f"{percent(results.accuracy.value)} % of {n:,} questions right ({span(results.accuracy)}), "
        f"{percent(results.macro.value)} % as the mean of {len(results.subjects)} subjects; "
        f"list cost {usd(results.list_cost_usd)}, {usd(1000 * results.list_cost_usd / n)} per 1,000{failed}"
    )


def plot_mmlu(results: Results) -> str:
    """Draw cost against accuracy of the single experts, the orchestrator, the random mix and the oracle.

    Raises:
        UsageError: matplotlib is not installed.

    """
    compared = results.comparison
    assert compared is not None
    return plot_frontier(
        {row.name: _point(row) for row in compared.experts},
        compared.frontier,
        {"random mix": compared.mix},
        _point(compared.oracle),
        [(row.cost_usd_per_1k, row.accuracy) for row in compared.budgets],
    )


def plot_subjects(results: Results) -> str:
    """Draw a row for each subject, the best above: accuracy with its interval, coloured by category.

    Raises:
        UsageError: matplotlib is not installed.

    """
    pairs = results.answers.select(["subject", "category"]).to_pylist()
    category_of = {str(row["subject"]): str(row["category"]) for row in pairs}
    colours = dict(zip(results.categories, cycle((OURS, *OTHERS[1:], OTHERS[0])), strict=False))
    ordered = sorted(results.subjects.items(), key=lambda item: item[1].accuracy.value)
    with use_style():
        figure, axes = new_axes(8.5, _AROUND + _ROW * len(ordered))
        for category, colour in colours.items():
            own = [(at, part) for at, (name, part) in enumerate(ordered) if category_of[name] == category]
            at, value, below, above = zip(*(_bar(at, part) for at, part in own), strict=True)
            axes.errorbar(
                value,
                at,
                xerr=[below, above],
                fmt="o",
                markersize=4,
                color=colour,
                label=shorten(category, _NAME),
                capsize=2,
            )
        axes.set_yticks(
            range(len(ordered)), [shorten(name.replace("_", " "), 2 * _NAME) for name, _ in ordered], fontsize=7.5
        )
        axes.set_ylim(-0.7, len(ordered) - 0.3)
        axes.set_xlim(0, 1)
        axes.axvline(results.accuracy.value, color="#bbbbbb", linewidth=1, linestyle="--", label="all questions")
        in_percent(axes.xaxis)
        axes.set_xlabel("accuracy, with 95 % intervals")
        axes.grid(color="#eeeeee", zorder=0)
        figure.legend(loc="outside lower center", ncols=5, frameon=False)
        return as_svg(figure, "subjects")


def _bar(at: int, part: ScoredPart) -> tuple[int, float, float, float]:
    """Return where a row is, its accuracy, and how far its interval goes down and up, at least 0."""
    found = part.accuracy
    return at, found.value, max(0.0, found.value - found.low), max(0.0, found.high - found.value)


def _point(row: Strategy) -> Point:
    return Point(row.cost_usd_per_1k, row.accuracy.value)


def _categories(results: Results) -> Table:
    n = len(results.answers)
    parts = [(name, part.n, part.accuracy) for name, part in results.categories.items()]
    whole = [("all (micro)", n, results.accuracy), ("all (mean of subjects)", n, results.macro)]
    return Table(
        title="Accuracy by category",
        about="In %, with the 95 % interval (Wilson's; of the mean over subjects, the normal one).",
        columns=columns("category | questions: count | accuracy: share | interval: interval"),
        rows=[(name, n, accuracy.value, accuracy) for name, n, accuracy in [*parts, *whole]],
    )


def _worst_subjects(results: Results) -> Table:
    worst = sorted(results.subjects.items(), key=lambda item: (item[1].accuracy.value, item[0]))[:_WORST]
    return Table(
        title="The worst subjects",
        about="Accuracy in %, with the 95 % interval.",
        columns=columns("subject | questions: count | accuracy: share | interval: interval"),
        rows=[(name.replace("_", " "), part.n, part.accuracy.value, part.accuracy) for name, part in worst],
    )


def _experts(results: Results) -> Table:
    return Table(
        title="Who answered",
        about="Accuracies in % on the questions that each was chosen for; list cost in USD.",
        columns=columns(
            "expert | asked: count | share %: share | accuracy: share | tokens in: count | tokens out: count | USD: usd"
        ),
        rows=[
            (
                name,
                did.n,
                did.n / len(results.answers),
                did.accuracy.value,
                did.prompt_tokens,
                did.completion_tokens,
                did.list_cost_usd,
            )
            for name, did in results.experts.items()
        ],
    )


def _comparison_tables(compared: Comparison) -> list[Table]:
    """Return the single experts, the orchestrator under budgets, and the oracle; and where the orchestrator gains."""
    categories = list(compared.oracle.categories)
    shown = categories if len(categories) <= _WIDE else []
    named = [*compared.experts, *compared.budgets, compared.oracle]
    whole = Table(
        title=f"Single experts, the orchestrator at parts of what {compared.experts[0].name} costs, and the oracle",
        about="Accuracies in %, with half of the 95 % interval; money in USD per 1,000 questions. The orchestrator's "
        "choices are made for all questions at once, from predicted scores and costs. The oracle asks, for every "
        "question, the cheapest of the experts that answer it best."
        + (f" The comparison cost {usd(compared.cost_usd)}." if compared.cost_usd else ""),
        columns=[
            *columns("who answers | cost: usd | all: share | ±: share"),
            *(Column(name, "share") for name in shown),
        ],
        rows=[
            (
                row.name,
                row.cost_usd_per_1k,
                row.accuracy.value,
                (row.accuracy.high - row.accuracy.low) / 2,
                *(row.categories[name] for name in shown),
            )
            for row in named
        ],
    )
    return [whole, *([_gains(compared, categories)] if compared.budgets else [])]


def _gains(compared: Comparison, categories: Sequence[str]) -> Table:
    best, budgets = compared.experts[0], compared.budgets
    return Table(
        title=f"The orchestrator against {best.name}, by category",
        about="Points of accuracy gained (+) or lost at parts of its cost.",
        columns=[*columns("category"), *(Column(row.name.removeprefix("orchestrator, "), "gain") for row in budgets)],
        rows=[
            ("all", *(row.accuracy.value - best.accuracy.value for row in budgets)),
            *((name, *(row.categories[name] - best.categories[name] for row in budgets)) for name in categories),
        ],
    )
