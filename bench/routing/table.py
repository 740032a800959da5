"""Measures of all predictors in one setting, as Markdown tables; accuracies are in percent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from bench.routing.data import STRONG, WEAK, Task
from bench.routing.rivals import SIMPLE, Predicted
from leeroo.engine.arrays import Float64s, Int64s
from leeroo.engine.orchestrator.analysis.frontier import (
    Interval,
    estimate,
    expected_calibration_error,
    measure_choice,
    oracle,
    pair_measures,
    random_mix,
)
from leeroo.engine.orchestrator.choose import choose

_HALVINGS = 12

Statistic = Callable[[Int64s], float]

OURS, BLIND = "**Leeroo**", "Leeroo, not told the subject"


@dataclass(frozen=True)
class Rivals:
    """The predictions that are measured: ours, the baselines', and the peers'."""

    ours: dict[str, Predicted]
    baselines: dict[str, Predicted]
    peers: dict[str, Predicted]

    def others(self) -> dict[str, Predicted]:
        """Return all but ours."""
        return {**self.baselines, **self.peers}

    def all(self) -> dict[str, Predicted]:
        """Return all, in the order of the rows."""
        return {**self.ours, **self.others()}


@dataclass(frozen=True)
class Spending:
    """The result of a budget: the recorded score of each question [n], and the part of it that was spent."""

    scores: Float64s
    spent: float


def make(predicted: Predicted, task: Task, share: float | None, allowance: float = 1) -> Spending:
    """Choose for all questions at once by predictions, within a part of the reference expert's cost or without budget.

    `spent` counts recorded costs, and is a part of the budget; without one, of the reference expert's cost. `allowance`
    is the part of the budget that the choice may use.
    """
    whole = allowance * task.budget(share or 1) / 1000 * len(task.test.prompts)
    chosen = choose(predicted.scores, predicted.costs, budget_usd=None if share is None else whole).expert
    scores = np.where(chosen >= 0, task.test.scores[np.arange(len(chosen)), np.maximum(chosen, 0)], 0)
    cost = measure_choice(chosen, task.test.scores, task.test.costs).cost_usd_per_1k
    return Spending(scores, cost / task.budget(share or 1))


def make_spending(predicted: Predicted, task: Task, share: float | None) -> Spending:
    """Choose with the largest allowance whose recorded spending does not exceed the budget.

    No user could do that, because it needs the recorded costs; but it is fair to those who expect too low a cost.
    """
    if share is None:
        return make(predicted, task, share)
    low, high = 0.0, 2.0
    for _ in range(_HALVINGS):
        allowance = (low + high) / 2
        low, high = (allowance, high) if make(predicted, task, share, allowance).spent <= 1 else (low, allowance)
    return make(predicted, task, share, low)


def header(task: Task) -> str:
    """Describe the setting and its number of questions."""
    points, best = task.points, max(task.points, key=lambda name: task.points[name].accuracy)
    top = oracle(task.test.scores, task.test.costs)
    return (
        f"### {task.setting.title}\n\n"
        f"{len(task.test.prompts):,} test questions; {len(task.train.prompts):,} training questions, "
        f"{len(task.learnable().prompts):,} of them asked of all {len(task.experts)} experts. "
        f"The best expert is {best} ({100 * points[best].accuracy:.1f} at ${points[best].cost_usd_per_1k:.3f} per "
        f"1,000); an oracle has {100 * top.accuracy:.1f} at ${top.cost_usd_per_1k:.3f}. Budgets are parts of what "
        f"{task.setting.reference} costs, and in brackets stands how much of them was spent.\n"
    )


def budgets(task: Task, rivals: Rivals) -> str:
    """Format the accuracy of all at the budgets of the goals, and without one."""
    shares = [*(goal.share for goal in task.setting.goals), None]
    results = {name: [make(predicted, task, share) for share in shares] for name, predicted in rivals.all().items()}
    rows = [["", *(_share(goal.share) for goal in task.setting.goals), "no budget (cost)"]]
    rows.append(["target", *(f"{goal.target:.1f}" for goal in task.setting.goals), ""])
    rows.append([f"{SIMPLE} when the targets were set", *(f"{g.simple_before:.1f}" for g in task.setting.goals), ""])
    for name, cells in results.items():
        interval = name in rivals.ours
        rows.append([name, *(f"{_accuracy(cell.scores, interval)} ({100 * cell.spent:.0f} %)" for cell in cells)])
        if name == BLIND:
            level = {one: [make_spending(p, task, share) for share in shares] for one, p in rivals.all().items()}
            rows += _differences(results, rivals, "")
            rows += _differences(level, rivals, ", spending alike")
    mixed = random_mix(list(task.points.values()), [task.budget(goal.share) for goal in task.setting.goals])
    rows.insert(
        len(rows) - len(rivals.peers), ["random mix of experts", *(f"{100 * p.accuracy:.1f}" for p in mixed), ""]
    )
    return table(rows)


def pair(task: Task, rivals: Rivals) -> str:
    """Format RouteLLM's measures of all; the target is an APGR of 0.75."""
    weak, strong = (task.test.scores[:, task.experts.index(name)] for name in (WEAK, STRONG))
    rows = [["", "APGR", "CPT50", "CPT80"], ["target", "0.75", "", ""]]
    rows.append([f"{SIMPLE} when the targets were set", "0.70", "", ""])
    apgr = {name: _apgr(_gain(task, predicted), weak, strong) for name, predicted in rivals.all().items()}
    n = len(weak)
    for name, predicted in rivals.all().items():
        measures = pair_measures(_gain(task, predicted), weak, strong)
        assert measures is not None, "GPT-4 is the better one"
        value = _interval(estimate(apgr[name], n), 1, 3) if name in rivals.ours else f"{measures.apgr:.3f}"
        rows.append([name, value, f"{100 * measures.cpt50:.0f} %", f"{100 * measures.cpt80:.0f} %"])
    everybody = np.arange(n)
    for who, others in (("best peer", rivals.peers), (SIMPLE, {SIMPLE: None})):
        if others:
            other = max(others, key=lambda name: apgr[name](everybody))
            gap = estimate(_minus(apgr[OURS], apgr[other]), n)
            of_whom = f" ({other})" if len(others) > 1 else ""
            rows.append([f"{OURS} less {who}", _interval(gap, 1, 3, sign=True) + of_whom, "", ""])
    return table(rows)


def calibration(tasks: Sequence[tuple[Task, Rivals]]) -> str:
    """Format the calibration error of ours and of the simple baseline, the mean over the experts."""
    rows = [
        ["expected calibration error", *(task.setting.title for task, _ in tasks)],
        ["target", *["0.03"] * len(tasks)],
    ]
    for name in (OURS, BLIND, SIMPLE):
        errors = (expected_calibration_error(r.all()[name].scores, task.test.scores) for task, r in tasks)
        rows.append([name, *(f"{error:.4f}" for error in errors)])
    return table(rows)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Format Markdown; the first row is the head."""
    head, *rest = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([head, "|---" * len(rows[0]) + "|", *rest]) + "\n"


def _differences(results: dict[str, list[Spending]], rivals: Rivals, how: str) -> list[list[str]]:
    """Format ours less the best peer, which is chosen at each budget with these very questions in its favour."""
    rows = []
    for who, others in (("best peer", list(rivals.peers)), (SIMPLE, [SIMPLE])):
        if not others:
            continue
        cells = [f"{OURS} less {who}{how}"]
        for i, mine in enumerate(results[OURS]):
            other = max(others, key=lambda name: results[name][i].scores.mean())
            gained = mine.scores - results[other][i].scores
            gap = _interval(estimate(_mean(gained), len(gained)), 100, 1, sign=True)
            cells.append(f"{gap} ({other})" if len(others) > 1 else gap)
        rows.append(cells)
    return rows


def _gain(task: Task, predicted: Predicted) -> Float64s:
    weak, strong = (task.experts.index(name) for name in (WEAK, STRONG))
    return predicted.scores[:, strong] - predicted.scores[:, weak]


def _apgr(gain: Float64s, weak: Float64s, strong: Float64s) -> Statistic:
    def of(rows: Int64s) -> float:
        measures = pair_measures(gain[rows], weak[rows], strong[rows])
        return measures.apgr if measures else 0.5

    return of


def _mean(values: Float64s) -> Statistic:
    return lambda rows: float(values[rows].mean())


def _minus(one: Statistic, other: Statistic) -> Statistic:
    return lambda rows: one(rows) - other(rows)


def _accuracy(scores: Float64s, interval: bool) -> str:
    if not interval:
        return f"{100 * scores.mean():.1f}"
    return _interval(estimate(_mean(scores), len(scores)), 100, 1)


def _interval(of: Interval, scale: float, digits: int, sign: bool = False) -> str:
    value = f"{scale * of.value:{'+' if sign else ''}.{digits}f}"
    return f"{value} [{scale * of.low:.{digits}f}, {scale * of.high:.{digits}f}]"


def _share(share: float) -> str:
    return next(text for value, text in ((1 / 2, "1/2"), (2 / 3, "2/3"), (3 / 4, "3/4"), (1, "1")) if value == share)
