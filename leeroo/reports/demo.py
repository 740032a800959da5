"""The second part of `leeroo demo`: what choosing among recorded models brings, as a report and as a plot.

The recorded table ships with the package; its file ABOUT.md says whose it is.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pyarrow.parquet as pq

from leeroo.engine.arrays import Float64s
from leeroo.engine.orchestrator.analysis.frontier import (
    SHARES,
    Budgeted,
    Interval,
    Point,
    accuracy_at,
    budgets_usd_per_1k,
    measure_frontier,
    oracle,
    random_mix,
    singles,
)
from leeroo.reports.characters import draw_frontier
from leeroo.reports.plot import plot_frontier
from leeroo.reports.report import Figure, Report, Table, columns, percent

_ATTRIBUTION = (
    "Outcomes: ZeroEval (Bill Yuchen Lin), Apache-2.0, github.com/WildEval/ZeroEval; rearranged.",
    "Questions: MMLU-Redux (Gema et al.), CC BY 4.0, github.com/aryopg/mmlu-redux; cut. MMLU (Hendrycks et al.), MIT.",
)
# Models below this accuracy are left out of the plot on a terminal, which has few lines.
_LEAST = 0.7
_INDENT = " " * 9


@dataclass(frozen=True)
class Choosing:
    """Whole-batch choices among recorded models, by predictions alone, counted with the recorded scores and costs.

    Attributes:
        n: Questions.
        models: By name, the point of each when it answers everything.
        best: Name of the most accurate model.
        frontier, mix: Leeroo's choices and the random mix of models, in the order of their budgets.
        shares: By part of the best model's cost: the accuracy of Leeroo's choice, with its interval.
        oracle: The best recorded answer to each question.
    """

    n: int
    models: dict[str, Point]
    best: str
    frontier: list[Budgeted]
    mix: list[Budgeted]
    shares: dict[float, Interval]
    oracle: Point

    def at(self, points: Sequence[Budgeted], share: float) -> Budgeted:
        """Return the point whose budget is that part of the best model's cost."""
        budget = share * self.models[self.best].cost_usd_per_1k
        return min(points, key=lambda point: abs(point.budget_usd_per_1k - budget))


def measure_choosing() -> Choosing:
    """Choose among the recorded models under budgets, for all questions at once."""
    with importlib.resources.files("leeroo").joinpath("data/demo/choosing.parquet").open("rb") as file:
        table = pq.read_table(file)
    names = list(dict.fromkeys(table["expert"].to_pylist()))

    def values(column: str) -> Float64s:
        found: Float64s = table[column].to_numpy().astype(np.float64)
        return found.reshape(-1, len(names))

    scores, costs = values("score"), values("cost_usd")
    predicted = values("predicted_score"), values("predicted_cost_usd")
    models = dict(zip(names, singles(scores, costs), strict=True))
    best = max(names, key=lambda name: (models[name].accuracy, -models[name].cost_usd_per_1k))
    most = models[best].cost_usd_per_1k
    budgets = np.union1d(budgets_usd_per_1k(costs[:, [names.index(best)]]), np.geomspace(most / 50, 2 * most, 40))
    return Choosing(
        n=len(scores),
        models=models,
        best=best,
        frontier=measure_frontier(*predicted, scores, costs, budgets),
        mix=random_mix(list(models.values()), budgets),
        shares={share: accuracy_at(*predicted, scores, costs, share * most) for share in SHARES},
        oracle=oracle(scores, costs),
    )


def choosing_report(found: Choosing) -> Report:
    """Return the table under budgets, the picture, and whose data it is."""
    half = found.shares[1 / 2]
    best = found.models[found.best]
    return Report(
        title="What choosing brings",
        about=[
            f"{found.n} exam questions, and the recorded answers of {len(found.models)} models to each. A router that "
            "ships with Leeroo, and has not learned from these questions, predicts for each question how well each "
            "model answers it and at what cost. From these predictions one model is chosen for each question, all "
            "of them together under one budget. Then the recorded answers are counted."
        ],
        summary=[
            f"The best single model, {found.best}, is right on {percent(best.accuracy)} % of the questions, for "
            f"{_dollars(best.cost_usd_per_1k)} per 1,000 questions. Choosing is right on {percent(half.value)} % for "
            "half of that."
        ],
        parts=[_budgets(found), Figure("Cost against accuracy", lambda: _picture(found), wide=True)],
        notes=[
            f"With {found.n} questions, differences of less than about 3 points may be chance.",
            "Random mix and best single model know how good each model is on these questions; Leeroo does not.",
            "Costs: list prices and estimated answer lengths of 2024.",
            *_ATTRIBUTION,
        ],
    )


def choosing_plot(found: Choosing, width: int) -> list[str]:
    """Return the lines of the picture for a terminal of that width."""
    layers: dict[str, Sequence[Point]] = {
        "-": found.mix,
        "o": list(found.models.values()),
        "*": found.frontier,
        "@": [found.models[found.best]],
    }
    return [
        f"{_INDENT}Accuracy on {found.n} questions",
        *draw_frontier(layers, "-*", _LEAST, width),
        f"{_INDENT}USD per 1,000 questions (logarithmic)",
        "",
        f"{_INDENT}*  Leeroo: a model for each question",
        f"{_INDENT}-  random mix of models",
        f"{_INDENT}o  single models of at least {100 * _LEAST:.0f} %",
        f"{_INDENT}@  the best of them, {found.best}",
    ]


def _budgets(found: Choosing) -> Table:
    rows = []
    for share, accuracy in found.shares.items():
        ours = found.at(found.frontier, share)
        within = max(p.accuracy for p in found.models.values() if p.cost_usd_per_1k <= ours.budget_usd_per_1k)
        rows.append(
            (
                str(Fraction(share).limit_denominator(100)),
                _dollars(ours.budget_usd_per_1k),
                _dollars(ours.cost_usd_per_1k),
                accuracy.value,
                accuracy,
                found.at(found.mix, share).accuracy,
                within,
            )
        )
    return Table(
        title=f"Accuracy (%) under budgets, which are parts of what {found.best} costs",
        about="Budget and spending in USD per 1,000 questions; the interval is the 95 % bootstrap interval.",
        columns=columns(
            "part | budget | spent | Leeroo: share | interval: interval | random mix: share | best single: share"
        ),
        rows=rows,
    )


def _picture(found: Choosing) -> str:
    intervals = [
        (found.at(found.frontier, share).cost_usd_per_1k, accuracy) for share, accuracy in found.shares.items()
    ]
    return plot_frontier(found.models, found.frontier, {"random mix": found.mix}, found.oracle, intervals)


def _dollars(amount: float) -> str:
    return f"${amount:.2f}"
