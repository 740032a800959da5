"""Cascades on recorded outcomes: what agreement between experts asked first adds to choosing once.

    python bench/cascade.py

On `mmlu_pro` of LEEROO_DATA, whose outcomes have the letters that were answered. Everything is learned from the
training split: the router, which predicts each fifth of it from the others; who is asked first under each budget; and
what agreement says. Then it is measured on the test split. "Chosen" is what the planner does: in rounds where that was
better on the training split, else once.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where the name `bench` is

from bench.routing_data import DATA, SETTINGS, Task, load
from bench.routing_rivals import ours
from leeroo.engine.orchestrator.cascade import Cascade, Table, choose_in_rounds, learn_cascade, plan_rounds
from leeroo.engine.orchestrator.choose import choose
from leeroo.engine.orchestrator.learn import train as train_router
from leeroo.engine.orchestrator.market import Int64s

SHARES = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0, 1.2)
# Asked first may be experts of at most so much of the reference's cost; of those, the best few.
_CHEAP, _CANDIDATES = 0.6, 6
_FOLDS = 5


def main() -> None:
    """Measure and print."""
    for key in ("pro28", "pro17"):
        task = load(next(setting for setting in SETTINGS if setting.key == key))
        with tempfile.TemporaryDirectory() as name:
            train, test = tables(task, Path(name))
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
    cheap = [j for j in range(len(task.experts)) if train.costs[:, j].mean() < _CHEAP * reference]
    candidates = sorted(cheap, key=lambda j: -train.scores[:, j].mean())[:_CANDIDATES]
    planned = plan_rounds(train, usd * len(train.answers), candidates)
    once, spent = at_once(test, usd * len(test.answers))
    forced = planned or best_first(train, usd * len(train.answers), candidates)
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


def best_first(train: Table, budget_usd: float, candidates: list[int]) -> Cascade | None:
    """What the planner would do if it had to ask in rounds: the two best candidates that the budget reaches."""
    reached = [j for j in candidates if train.costs[:, j].sum() < budget_usd / 3]
    return learn_cascade(train, reached[:2]) if len(reached) > 1 else None


def tables(task: Task, folder: Path) -> tuple[Table, Table]:
    """Training and test questions; each fifth of the former is expected by a router that learned from the others."""
    train = task.learnable()
    fold = np.random.default_rng(0).integers(_FOLDS, size=len(train.prompts))
    scores, costs = np.zeros_like(train.scores), np.zeros_like(train.scores)
    for k in range(_FOLDS):
        held = np.flatnonzero(fold == k)
        router = train_router([without(task, {train.prompts[i] for i in held}, folder / str(k))])
        told = ours(router, replace(task, test=train.at(held)), in_context=True)
        scores[held], costs[held] = told.scores, told.costs
    told = ours(train_router([DATA / name for name in task.setting.train]), task, in_context=True)
    test = task.test
    return (
        Table(scores, costs, answered(task, train.prompts), train.scores, train.costs),
        Table(told.scores, told.costs, answered(task, test.prompts), test.scores, test.costs),
    )


def without(task: Task, prompts: set[str], folder: Path) -> Path:
    """A copy of the setting's data folder in which these training questions are none."""
    folder.mkdir(parents=True)
    source = DATA / task.setting.test
    for name in ("outcomes", "experts"):
        (folder / f"{name}.parquet").symlink_to((source / f"{name}.parquet").resolve())
    queries = pq.read_table(source / "queries.parquet")
    split = [
        "held out" if prompt in prompts else each
        for prompt, each in zip(queries.column("prompt").to_pylist(), queries.column("split").to_pylist(), strict=True)
    ]
    at = queries.column_names.index("split")
    pq.write_table(queries.set_column(at, "split", pa.array(split)), folder / "queries.parquet")
    return folder


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
