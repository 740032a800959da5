"""The rivals of the router: simple baselines learned here, and public peers from the files that `peers.py` writes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np

from bench.routing.data import Task
from leeroo.engine.arrays import Float32s, Float64s
from leeroo.engine.orchestrator.analysis.baselines import best_neighbours, neighbour_means, subject_means
from leeroo.engine.orchestrator.encoders.encode import DEFAULT_ENCODER, encode
from leeroo.engine.orchestrator.router import Router

SIMPLE = "simple baseline"
# Inverse penalty of the baseline that the targets were set against.
_C = 0.05


@dataclass(frozen=True)
class Predicted:
    """Predictions for the test questions [n, e]: scores of any scale, and USD."""

    scores: Float64s
    costs: Float64s


def ours(router: Router, task: Task, in_context: bool) -> Predicted:
    """Return the router's own predictions; with the subject of a question and its category, or without."""
    prediction = router.predict(task.test.prompts, task.contexts if in_context else None)
    columns = [router.experts.index(name) for name in task.experts]
    scores, prompt, completion = (
        table[:, columns].astype(np.float64)
        for table in (prediction.scores, prediction.prompt_tokens, prediction.completion_tokens)
    )
    return Predicted(scores, (prompt * task.prices[0] + np.nan_to_num(completion) * task.prices[1]) / 1e6)


def baselines(task: Task) -> dict[str, Predicted]:
    """Learn logistic regression on frozen MiniLM vectors, the mean of the subject, and that of the neighbours.

    They learn from the questions on which all the experts have outcomes. With more for some than for others, the first
    and the last compare them on different questions, and do worse.
    """
    train, test, e = task.learnable(), task.test, len(task.experts)
    vectors, new = encode(train.prompts, DEFAULT_ENCODER), encode(test.prompts, DEFAULT_ENCODER)
    values = np.concatenate([train.scores, train.costs], axis=1)
    by_subject = subject_means(values, train.subjects, train.categories, test.subjects, test.categories)
    nearest = neighbour_means(values, vectors, new, best_neighbours(train.scores, vectors))
    return {
        SIMPLE: Predicted(_logistic(vectors, train.scores, new), mean_costs(task)),
        "mean of the subject": Predicted(by_subject[:, :e], by_subject[:, e:]),
        "kNN": Predicted(nearest[:, :e], nearest[:, e:]),
    }


def peers(task: Task, file: Path) -> dict[str, Predicted]:
    """Read the scores of public routers, by name; each expert's mean cost is added, because they predict none."""
    rows = duckdb.read_parquet(str(file)).select("peer, query_id, expert, predicted_score").fetchall()
    row = {query: i for i, query in enumerate(task.query_ids)}
    column = {expert: j for j, expert in enumerate(task.experts)}
    tables: dict[str, Float64s] = {}
    for peer, query, expert, score in rows:
        table = tables.setdefault(peer, np.full(task.test.scores.shape, np.nan))
        table[row[query], column[expert]] = score
    return {peer: Predicted(table, mean_costs(task)) for peer, table in tables.items()}


def mean_costs(task: Task) -> Float64s:
    """Return USD of each expert's training answers on average, the same for all test questions [n, e]."""
    means = task.learnable().costs.mean(axis=0)
    return np.broadcast_to(means, task.test.costs.shape).astype(np.float64)


def _logistic(vectors: Float32s, scores: Float64s, new: Float32s) -> Float64s:
    from sklearn.linear_model import LogisticRegression

    fitted = [LogisticRegression(C=_C, max_iter=1000).fit(vectors, of_one > 0.5) for of_one in scores.T]
    return np.stack([one.predict_proba(new)[:, 1] for one in fitted], axis=1)
