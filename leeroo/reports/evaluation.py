"""The report of an evaluation: a router under budgets, against simpler ways and single experts."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from leeroo.engine.money import usd
from leeroo.engine.orchestrator.analysis.evaluate import Evaluation
from leeroo.reports.plot import BASELINES, plot_evaluation, plot_reliability
from leeroo.reports.report import Column, Figure, Report, Table, cell, columns, percent


def evaluation_report(evaluation: Evaluation, router: str, data: Sequence[str], split: str) -> Report:
    """Return what was measured, the frontier, the tables, the reliability, and the notes.

    Args:
        evaluation: The result of `evaluate`.
        router: The name of its folder.
        data: The names of the data folders.
        split: Their split, as given to `evaluate`.
    """
    rows = "all splits" if split == "all" else f"the split '{split}'"
    measured = (
        f"Measured on {evaluation.n:,} questions of {rows} of {', '.join(data)}, "
        f"with recorded outcomes of {len(evaluation.experts)} experts."
    )
    return Report(
        title=f"Evaluation of the router {router}",
        about=[measured],
        summary=[f"{evaluation.n:,} questions, {len(evaluation.experts)} experts", headline(evaluation)],
        parts=[
            Figure("Cost against accuracy", lambda: plot_evaluation(evaluation), wide=True),
            _budgets(evaluation),
            _experts(evaluation),
            _measures(evaluation),
            Figure(
                "Predicted against recorded scores",
                lambda: plot_reliability(evaluation.scores_pred, evaluation.scores),
                "Predictions in ten bins of equal width; the area of a dot is how many there are. Above the dashed "
                "line experts do better than predicted, below it worse. Bins in which an expert has fewer than 20 "
                "questions are left out of its own line.",
            ),
        ],
        notes=evaluation.notes,
        data=evaluation.as_json(),
    )


def headline(evaluation: Evaluation) -> str:
    """Return a sentence about the best single expert, and the router at half of its cost."""
    best = evaluation.experts[evaluation.best]
    return (
        f"The best single expert, {evaluation.best}, is right on {percent(best.accuracy)} % of the questions for "
        f"{usd(best.cost_usd_per_1k)} per 1,000. At half of that cost the router is right on "
        f"{percent(evaluation.shares[1 / 2].value)} %; choosing with hindsight would reach "
        f"{percent(evaluation.oracle.accuracy)} %."
    )


def _budgets(evaluation: Evaluation) -> Table:
    known = {name: points for name, points in evaluation.baselines.items() if points is not None}
    rows = []
    for share, accuracy in evaluation.shares.items():
        ours = evaluation.at(evaluation.frontier, share)
        others = [evaluation.at(points, share).accuracy for points in known.values()]
        money = (ours.budget_usd_per_1k, ours.cost_usd_per_1k)
        rows.append((Fraction(share).limit_denominator(100), *money, accuracy.value, accuracy, *others))
    return Table(
        title=f"Accuracy at parts of what {evaluation.best} costs",
        about="Accuracies in %, with the 95 % bootstrap interval; money in USD per 1,000 questions. "
        "Each choice is made for all questions at once from predicted scores and costs, and counted with recorded "
        "ones, so that a little more or less than the budget is spent. What a budget leaves unanswered scores 0.",
        columns=[
            *columns("part | budget: usd | spent: usd | this router: share | interval: interval"),
            *(Column(BASELINES[name], "share") for name in known),
        ],
        rows=rows,
    )


def _experts(evaluation: Evaluation) -> Table:
    best_first = sorted(evaluation.experts.items(), key=lambda item: (-item[1].accuracy, item[1].cost_usd_per_1k))
    named = [*best_first, ("oracle", evaluation.oracle)]
    return Table(
        title="Single experts",
        about="Each expert when it answers everything. The oracle asks, for every question, the cheapest expert of "
        "the best recorded score.",
        columns=columns("expert | accuracy %: share | USD per 1,000: usd"),
        rows=[(name, point.accuracy, point.cost_usd_per_1k) for name, point in named],
    )


def _measures(evaluation: Evaluation) -> Table:
    pair, found = evaluation.pair, evaluation.pair.measures
    two = f"between {pair.weak} and {pair.strong}"
    return Table(
        title="Measures",
        about="APGR and CPT are RouteLLM's, AIQ is RouterBench's.",
        columns=columns("measure | value | meaning"),
        rows=[
            ("APGR", found and cell(found.apgr, "score"), f"part of the gap {two} that is recovered; 0.5 by chance"),
            ("CPT50", found and f"{percent(found.cpt50)} %", f"calls to {pair.strong} that recover half of it"),
            ("CPT80", found and f"{percent(found.cpt80)} %", f"calls to {pair.strong} that recover 80 % of it"),
            ("AIQ", cell(evaluation.aiq, "score"), "mean accuracy over the range of the experts' costs"),
            ("ECE", cell(evaluation.ece, "score"), "how far predicted scores are off, mean over the experts"),
        ],
    )
