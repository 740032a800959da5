"""Measure what batch copies bring: MMLU-Pro with a copy of each remote expert at half the price, to that without.

    python bench/routing/batches.py [--questions N] [--plot F.svg]

Remote experts are those whose weights are not open: they are behind APIs, which have batches. A copy answers as its
expert does, within hours instead of seconds; its predicted and its recorded cost are halved. The router is the one for
MMLU-Pro that ships, which was learned from the training questions. A choice is made for all test questions at once
under each budget, from predictions alone; recorded scores and costs are counted. No row is urgent, so that none takes
the expert itself where it has a copy.

Intervals are 95 % bootstrap intervals of the difference over the test questions. Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `bench` is

from bench.routing.data import DATA, SETTINGS, Task, load
from bench.routing.rivals import Predicted, ours
from bench.routing.table import table
from leeroo.engine.arrays import Float64s, Int64s
from leeroo.engine.orchestrator.analysis.frontier import (
    Budgeted,
    budgets_usd_per_1k,
    estimate,
    measure_frontier,
    oracle,
    random_mix,
)
from leeroo.engine.orchestrator.choose import choose
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.shipped.catalogue import folder_of
from leeroo.reports.plot import plot_frontier

# The price of a batch over the list price.
FACTOR = 0.5
SHARES = (1 / 4, 1 / 2, 3 / 4, 1.0)
_WITH, _WITHOUT = "with batch copies at half the price", "without"


def main() -> None:
    """Predict, choose with and without copies, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, help="that many of the test questions, drawn at random; without, all")
    parser.add_argument("--plot", type=Path, help="a file for the picture")
    options = parser.parse_args()
    start = time.perf_counter()
    task = load(next(setting for setting in SETTINGS if setting.key == "pro28"))
    if options.questions:
        n = len(task.test.prompts)
        drawn = np.sort(np.random.default_rng(0).permutation(n)[: options.questions])
        task = replace(task, test=task.test.at(drawn), query_ids=[task.query_ids[i] for i in drawn])
    remote = np.isin(task.experts, remote_experts(task))
    alone = ours(Router.load(folder_of("mmlu-pro")), task, in_context=True)
    both = Predicted(_with_copies(alone.scores, remote, 1), _with_copies(alone.costs, remote, FACTOR))
    scores, costs = _with_copies(task.test.scores, remote, 1), _with_copies(task.test.costs, remote, FACTOR)
    print(f"{len(task.test.prompts):,} test questions, {len(task.experts)} experts, {remote.sum()} of them remote\n")
    print(table([["budget", _WITHOUT, _WITH, "difference [95 %]", "spent"], *_rows(task, alone, both, scores, costs)]))
    if options.plot:
        options.plot.write_text(_picture(task, alone, both, scores, costs), encoding="utf-8")
    print(f"\n{time.perf_counter() - start:.0f} s in all")


def remote_experts(task: Task) -> list[str]:
    """Return the experts whose weights are not open."""
    file = str(DATA / task.setting.test / "experts.parquet")
    query = "SELECT expert FROM read_parquet($file) WHERE NOT license_open"
    return [name for (name,) in duckdb.execute(query, {"file": file}).fetchall()]


def _with_copies(values: Float64s, remote: np.ndarray, factor: float) -> Float64s:
    """Return columns of experts [n, e] and those of their copies, multiplied."""
    return np.hstack([values, factor * values[:, remote]])


def _rows(task: Task, alone: Predicted, both: Predicted, scores: Float64s, costs: Float64s) -> list[list[str]]:
    n, rows = len(task.test.prompts), []
    for share in SHARES:
        usd = task.budget(share) / 1000 * n
        before = _chosen(alone, usd, task.test.scores, task.test.costs)
        after = _chosen(both, usd, scores, costs)

        def gain(at: Int64s, before: Float64s = before[0], after: Float64s = after[0]) -> float:
            return float((after[at] - before[at]).mean())

        difference = estimate(gain, n)
        rows.append(
            [
                f"{share:.0%} of {task.setting.reference}'s cost",
                f"{100 * before[0].mean():.1f} %",
                f"{100 * after[0].mean():.1f} %",
                f"{100 * difference.value:+.1f} [{100 * difference.low:+.1f}, {100 * difference.high:+.1f}]",
                f"{before[1] / usd:.0%}, {after[1] / usd:.0%}",
            ]
        )
    return rows


def _chosen(predicted: Predicted, usd: float, scores: Float64s, costs: Float64s) -> tuple[Float64s, float]:
    """Return the recorded score of each question, and what was spent, in USD."""
    chosen = choose(predicted.scores, predicted.costs, budget_usd=usd).expert
    at = np.arange(len(chosen)), np.maximum(chosen, 0)
    return np.where(chosen >= 0, scores[at], 0.0), float(np.where(chosen >= 0, costs[at], 0.0).sum())


def _picture(task: Task, alone: Predicted, both: Predicted, scores: Float64s, costs: Float64s) -> str:
    """Draw both frontiers, over the points of the experts."""
    budgets = budgets_usd_per_1k(task.test.costs)
    copies: list[Budgeted] = measure_frontier(both.scores, both.costs, scores, costs, budgets)
    others = {
        "random mix": random_mix(list(task.points.values()), budgets),
        "with batch copies at half the price": copies,
    }
    frontier = measure_frontier(alone.scores, alone.costs, task.test.scores, task.test.costs, budgets)
    return plot_frontier(task.points, frontier, others, oracle(task.test.scores, task.test.costs))


if __name__ == "__main__":
    main()
