"""Cascades on recorded outcomes: what agreement between experts asked first adds to choosing once.

    python bench/learning/cascade.py

On `mmlu_pro` of LEEROO_DATA, whose outcomes have the letters that were answered. A router learns from the training
split, and with it what cascades are planned on: what it expects of each fifth of the questions, learned from the
others. Then it is measured on the test split. "Chosen" is what the planner does: in rounds where that was surely better
on the training split, else once.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `bench` is

from bench.routing.data import DATA, SETTINGS, Task, load
from bench.routing.rivals import ours
from leeroo.engine.arrays import Int64s
from leeroo.engine.orchestrator.cascade import Cascade, Table, choose_in_rounds, learn_cascade, plan_rounds
from leeroo.engine.orchestrator.choose import choose
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.training.learn import train as train_router

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.2)


def main() -> None:
    """Measure and print."""
    router = train_router([DATA / "mmlu_pro"], cascades=True)
    for key in ("pro28", "pro17"):
        task = load(next(setting for setting in SETTINGS if setting.key == key))
        train, test = tables(router, task)
        print(f"### {task.setting.title}\n")
        print(f"{len(train.answers):,} questions to learn from, {len(test.answers):,} measured.\n")
        print("| budget | once | spent | in rounds | spent | asked first | chosen |\n|---|---|---|---|---|---|---|")
        for share in SHARES:
            print(line(task, train, test, share), flush=True)
        print()


def line(task: Task, train: Table, test: Table, share: float) -> str:
    """A row of the table: accuracies in percent, money as parts of the reference's cost."""
    usd = task.budget(share) / 1000
    reference = task.budget(1) / 1000
    planned = plan_rounds(train, usd * len(train.answers))
    once, spent = at_once(test, usd * len(test.answers))
    forced = planned or best_first(train, usd * len(train.answers))
    in_rounds = None if forced is None else choose_in_rounds(forced, test, usd * len(test.answers))
    cells = ["-", "-", "-"]
    chosen = once
    if forced is not None and in_rounds is not None:
        accuracy = float(np.take_along_axis(test.scores, in_rounds[0][:, None], 1).mean())
        names = " + ".join(task.experts[j] for j in forced.first)
        cells = [f"{100 * accuracy:.1f}", f"{in_rounds[1].mean() / reference:.2f}", names]
        chosen = accuracy if planned is not None else once
    how = "in rounds" if planned is not None else "once"
    cells = [f"{share:.2f}", f"{100 * once:.1f}", f"{spent / reference:.2f}", *cells, f"{100 * chosen:.1f} ({how})"]
    return f"| {' | '.join(cells)} |"


def at_once(table: Table, budget_usd: float) -> tuple[float, float]:
    """Accuracy and USD a question of choosing once."""
    chosen = choose(table.scores_pred, table.costs_pred, budget_usd=budget_usd).expert
    rows = np.arange(len(chosen))
    there, column = chosen >= 0, np.maximum(chosen, 0)
    got, paid = (np.where(there, values[rows, column], 0.0).mean() for values in (table.scores, table.costs))
    return float(got), float(paid)


def best_first(train: Table, budget_usd: float) -> Cascade | None:
    """What could be done where the planner does not ask in rounds: the best two that a third of the budget reaches."""
    good = np.argsort(-train.scores.mean(axis=0))
    reached = [int(j) for j in good if train.costs[:, j].sum() < budget_usd / 3]
    return learn_cascade(train, reached[:2]) if len(reached) > 1 else None


def tables(router: Router, task: Task) -> tuple[Table, Table]:
    """Training and test questions."""
    assert router.precedents is not None
    train = router.precedents.table([router.experts.index(name) for name in task.experts], task.prices)
    told, test = ours(router, task, in_context=True), task.test
    return train, Table(told.scores, told.costs, answered(task, test.prompts), test.scores, test.costs)


def answered(task: Task, prompts: list[str]) -> Int64s:
    """The letter that each expert gave, as a number, [n, e]."""
    folder = DATA / task.setting.test
    told = duckdb.execute(
        f"""SELECT prompt, expert, ascii(prediction) - 65 FROM '{folder}/outcomes.parquet'
            JOIN '{folder}/queries.parquet' USING (query_id) WHERE prediction SIMILAR TO '[A-Z].*'"""
    ).fetchall()
    row, column = ({name: i for i, name in enumerate(names)} for names in (prompts, task.experts))
    answers = np.full((len(prompts), len(task.experts)), -1, np.int64)
    for prompt, expert, letter in told:
        if prompt in row and expert in column:
            answers[row[prompt], column[expert]] = letter
    return answers


if __name__ == "__main__":
    main()
