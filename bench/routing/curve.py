"""Learning curves: the effect of more training questions and better encoders, and of the next doubling.

`routing.py --learning-curve` prints them.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np

from bench.routing.data import DATA, ROUTERS, Task
from bench.routing.rivals import ours
from bench.routing.table import make, table
from leeroo.engine.arrays import Float64s
from leeroo.engine.orchestrator.analysis.frontier import Interval, estimate
from leeroo.engine.orchestrator.encoders.encode import DEFAULT_ENCODER
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.training.learn import train

# Training questions as parts of all, and how many separate such parts are learned from and averaged.
_PARTS = {8: 2, 4: 2, 2: 2, 1: 1}

# The layer is the one that `leeroo train` chooses on these data.
_SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct@17-mean"
ENCODERS: dict[str, tuple[str, ...]] = {
    "static": ("static",),
    "MiniLM": (DEFAULT_ENCODER,),
    "SmolLM2-135M, layer 17": (_SMOLLM2,),
    "MiniLM and SmolLM2-135M": (DEFAULT_ENCODER, _SMOLLM2),
}


@dataclass(frozen=True)
class Grown:
    """Routers of the same encoders, learned from ever more questions.

    Attributes:
        questions: The number of training questions in all.
        columns: Names of the measures.
        values: [parts, n, columns], of each test question; the mean over the questions is the measure.
    """

    questions: int
    columns: list[str]
    values: Float64s


def grow(name: str, with_encoders: Sequence[str], tasks: Sequence[Task]) -> Grown:
    """Learn from parts of the questions of one router, and measure each on all its settings."""
    columns = [
        *(f"{task.setting.key} at {goal.share:.2g}" for task in tasks for goal in task.setting.goals),
        *(f"{task.setting.key} log loss" for task in tasks),
    ]
    values = []
    for part, draws in _PARTS.items():
        drawn = []
        for draw in range(draws):
            with write_parts(name, part, draw) as folders:
                drawn.append(_measure(train(folders, with_encoders), tasks))
        values.append(np.mean(drawn, axis=0))
    return Grown(len(tasks[0].train.prompts), columns, np.array(values))


def report(title: str, grown: Grown) -> str:
    """Format rows of ever more questions, then the change by another doubling along the line through them."""
    rows = [[title, *grown.columns]]
    percent = np.array([1 if "loss" in column else 100 for column in grown.columns])
    digits = [4 if "loss" in column else 1 for column in grown.columns]
    for part, measures in zip(_PARTS, grown.values.mean(axis=1) * percent, strict=True):
        rows.append(
            [
                f"{grown.questions // part:,} questions",
                *(f"{value:.{d}f}" for value, d in zip(measures, digits, strict=True)),
            ]
        )
    slopes = [gain_of_doubling(grown.values[:, :, i] * percent[i]) for i in range(len(grown.columns))]
    cells = (f"{s.value:+.{d}f} [{s.low:.{d}f}, {s.high:.{d}f}]" for s, d in zip(slopes, digits, strict=True))
    rows.append(["each doubling", *cells])
    return table(rows)


def gain_of_doubling(values: Float64s) -> Interval:
    """Return the slope over the logarithm to base 2 of the number of questions, of values [parts, n].

    The interval is over test questions; the draw of the training questions is not in it.
    """
    size = -np.log2(list(_PARTS))
    weight = (size - size.mean()) / np.square(size - size.mean()).sum()
    slope = weight @ values
    return estimate(lambda rows: float(slope[rows].mean()), values.shape[1])


@contextmanager
def write_parts(name: str, part: int, draw: int) -> Iterator[list[Path]]:
    """Write data folders with one `part`-th of the training questions of a router; other draws have other questions.

    A question that stands in several folders is in all of them or in none.
    """
    taken = f"md5_number_lower('curve' || right(query_id, 12)) % {part} = {draw}"
    with tempfile.TemporaryDirectory() as place:
        folders = []
        for folder in ROUTERS[name]:
            to = Path(place) / folder
            to.mkdir()
            for table_name in ("queries", "outcomes"):
                duckdb.execute(
                    f"COPY (FROM read_parquet($source) WHERE {taken} ORDER BY ALL) TO '{to}/{table_name}.parquet'",
                    {"source": str(DATA / folder / f"{table_name}.parquet")},
                )
            shutil.copy(DATA / folder / "experts.parquet", to)
            folders.append(to)
        yield folders


def _measure(router: Router, tasks: Sequence[Task]) -> Float64s:
    """Return values [n, columns] of each test question, see `grow`; the tasks have the same questions."""
    scores, losses = [], []
    for task in tasks:
        predicted = ours(router, task, in_context=True)
        scores += [make(predicted, task, goal.share).scores for goal in task.setting.goals]
        p = np.clip(predicted.scores, 1e-7, 1 - 1e-7)
        losses.append(-(task.test.scores * np.log(p) + (1 - task.test.scores) * np.log1p(-p)).mean(axis=1))
    return np.stack([*scores, *losses], axis=1)
