"""Findings: what an evaluation says, in sentences and tables of words, for a terminal or a page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from leeroo.engine.money import plain_usd, usd
from leeroo.engine.orchestrator.analysis.evaluate import Evaluation

# What people call the baselines.
BASELINES = {"random": "random mix", "subject_mean": "subject mean", "knn": "kNN"}
_UNKNOWN = "-"


@dataclass(frozen=True)
class Table:
    """Words in rows.

    Attributes:
        title: What it shows.
        about: How to read it.
        columns, rows: Of each row the first cell says what it is about.
        numbers: Whether all other cells are numbers.
    """

    title: str
    about: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numbers: bool = True


def headline(evaluation: Evaluation) -> str:
    """The best single expert, and the router at half of its cost."""
    best = evaluation.experts[evaluation.best]
    return (
        f"The best single expert, {evaluation.best}, is right on {percent(best.accuracy)} % of the questions for "
        f"{usd(best.cost_usd_per_1k)} per 1,000. At half of that cost the router is right on "
        f"{percent(evaluation.shares[1 / 2].value)} %; choosing with hindsight would reach "
        f"{percent(evaluation.oracle.accuracy)} %."
    )


def tables(evaluation: Evaluation) -> list[Table]:
    """The router under budgets, the experts by themselves, and the measures of the field."""
    return [_budgets(evaluation), _experts(evaluation), _measures(evaluation)]


def _budgets(evaluation: Evaluation) -> Table:
    known = {name: points for name, points in evaluation.baselines.items() if points is not None}
    rows = []
    for share, accuracy in evaluation.shares.items():
        ours = evaluation.at(evaluation.frontier, share)
        others = [percent(evaluation.at(points, share).accuracy) for points in known.values()]
        interval = f"{percent(accuracy.low)} to {percent(accuracy.high)}"
        money = (plain_usd(ours.budget_usd_per_1k), plain_usd(ours.cost_usd_per_1k))
        rows.append((str(_fraction(share)), *money, percent(accuracy.value), interval, *others))
    return Table(
        title=f"Accuracy at parts of what {evaluation.best} costs",
        about="Accuracies in %, with the 95 % bootstrap interval; money in USD per 1,000 questions. "
        "Each choice is made for all questions at once from predicted scores and costs, and counted with recorded "
        "ones, so that a little more or less than the budget is spent. What a budget leaves unanswered scores 0.",
        columns=("part", "budget", "spent", "this router", "interval", *(BASELINES[name] for name in known)),
        rows=rows,
    )


def _experts(evaluation: Evaluation) -> Table:
    best_first = sorted(evaluation.experts.items(), key=lambda item: (-item[1].accuracy, item[1].cost_usd_per_1k))
    named = [*best_first, ("oracle", evaluation.oracle)]
    return Table(
        title="Single experts",
        about="Each expert when it answers everything. The oracle asks, for every question, the cheapest expert of "
        "the best recorded score.",
        columns=("expert", "accuracy %", "USD per 1,000"),
        rows=[(name, percent(point.accuracy), plain_usd(point.cost_usd_per_1k)) for name, point in named],
    )


def _measures(evaluation: Evaluation) -> Table:
    pair = evaluation.pair

    def of_pair(name: str, told: Callable[[float], str]) -> str:
        return told(getattr(pair.measures, name)) if pair.measures else _UNKNOWN

    two = f"between {pair.weak} and {pair.strong}"
    return Table(
        title="Measures",
        about="APGR and CPT are RouteLLM's, AIQ is RouterBench's.",
        columns=("measure", "value", "meaning"),
        rows=[
            ("APGR", of_pair("apgr", _plain), f"part of the gap {two} that is recovered; 0.5 by chance"),
            ("CPT50", of_pair("cpt50", _part), f"calls to {pair.strong} that recover half of it"),
            ("CPT80", of_pair("cpt80", _part), f"calls to {pair.strong} that recover 80 % of it"),
            ("AIQ", _plain(evaluation.aiq), "mean accuracy over the range of the experts' costs"),
            ("ECE", _plain(evaluation.ece), "how far predicted scores are off, mean over the experts"),
        ],
        numbers=False,
    )


def _fraction(share: float) -> Fraction:
    return Fraction(share).limit_denominator(100)


def percent(part: float) -> str:
    """A part of 1 in per cent, without the sign."""
    return f"{100 * part:.1f}"


def _part(part: float) -> str:
    return f"{percent(part)} %"


def _plain(value: float) -> str:
    return f"{value:.3f}"
