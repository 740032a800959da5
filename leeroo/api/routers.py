"""Train and measure routers in Python, on recorded outcomes in files and data frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from leeroo.api.shown import ShownReport
from leeroo.engine.jobs.recorded.routers import measure_router, train_router
from leeroo.engine.jobs.recorded.sources import names_of
from leeroo.engine.listeners import LineListener
from leeroo.engine.orchestrator.analysis.evaluate import Evaluation
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.pool import load_pool
from leeroo.reports.evaluation import evaluation_report


def train(
    data: Any = None,
    *,
    out: str | Path | None = None,
    store: str | Path | None = None,
    router: str | Path | Router | None = None,
    map: Mapping[str, str] | None = None,
    encoder: str | Sequence[str] | None = None,
    finetune: Literal["none", "lora"] = "none",
    seed: int = 0,
    pool: str | Path | None = None,
    on_progress: LineListener | None = None,
) -> Router:
    """Train a router on recorded outcomes; the options are those of `leeroo train`.

    Examples:
        >>> import leeroo, polars
        >>> outcomes = polars.DataFrame(
        ...     {
        ...         "question": [f"What is {n} plus {n}?" for n in range(20)],
        ...         "small": [n % 2 for n in range(20)],
        ...         "large": [1] * 20,
        ...     }
        ... )
        >>> router = leeroo.train(outcomes, encoder="static")
        >>> router.experts
        ('large', 'small')

    Args:
        data: Outcomes: a file, a data folder, a Polars, pandas or Arrow table, a DuckDB relation, or a list of these.
            A table has a row for each question and model, or a column of scores for each model.
        out: Folder for the router. By default it is only returned.
        store: Folder of an answer store: learn from the feedback in it, too.
        router: Take over this router as it is, and learn only the experts that it does not know.
        map: The meaning of columns with other names, such as {"correct": "score"}. Default: guessed.
        encoder: Encoder of the questions, or several: a sentence encoder, a causal language model or "static".
        finetune: With "lora" the causal language model learns too.
        seed: Random seed.
        pool: Pool file whose experts shall be in the outcomes; it is an error if none of them is.
        on_progress: Called with progress, in lines for people.

    Returns:
        The router. `save` writes it into a folder, which `router=` of other functions and commands takes.

    Raises:
        UsageError: an option, the data or the pool is wrong.
        RouterError: there is too little to learn from, or the data is not as it shall be.
        OutputError: the router cannot be written to `out`.
    """
    return train_router(
        sources_of(data),
        out=None if out is None else Path(out),
        store=None if store is None else Path(store),
        router=router,
        mapped=mapped_columns(map),
        encoders=[encoder] if isinstance(encoder, str) else encoder or [],
        finetune=finetune,
        seed=seed,
        pool=None if pool is None else load_pool(pool),
        say=on_progress,
    )


class EvaluationReport(ShownReport):
    """The result of `evaluate`: a notebook shows its page, and `print` its tables.

    Attributes:
        data: What `leeroo evaluate --json` prints, as a dictionary.
        frontier: Cost and accuracy of the router's choices under each budget: budget_usd_per_1k, cost_usd_per_1k and
            accuracy, as an Arrow table. Those of simpler ways are in `data["baselines"]`.
    """

    def __init__(self, evaluation: Evaluation, router: str, data: Sequence[str], split: str) -> None:
        super().__init__(evaluation_report(evaluation, router, data, split))
        points = pa.Table.from_pylist([asdict(point) for point in evaluation.frontier])
        self.frontier = points.select(["budget_usd_per_1k", "cost_usd_per_1k", "accuracy"])


def evaluate(
    router: str | Path | Router,
    data: Any,
    *,
    split: Literal["test", "train", "all"] = "test",
    map: Mapping[str, str] | None = None,
    experts: Sequence[str] | None = None,
    pair: tuple[str, str] | None = None,
    on_progress: LineListener | None = None,
) -> EvaluationReport:
    """Measure a router on recorded outcomes, as `leeroo evaluate` does; no expert is called.

    Examples:
        >>> import leeroo, polars
        >>> outcomes = polars.DataFrame(
        ...     {
        ...         "question": [f"What is {n} plus {n}?" for n in range(40)],
        ...         "split": ["train", "test"] * 20,
        ...         "small": [n % 3 > 0 for n in range(40)],
        ...         "small_cost": [0.001] * 40,
        ...         "large": [True] * 40,
        ...         "large_cost": [0.01] * 40,
        ...     }
        ... )
        >>> router = leeroo.train(outcomes, encoder="static")
        >>> measured = leeroo.evaluate(router, outcomes)
        >>> measured.data["n"]
        20
        >>> measured.frontier.column_names
        ['budget_usd_per_1k', 'cost_usd_per_1k', 'accuracy']

    Args:
        router: A router, or the folder of one.
        data: Outcomes, as for `train`, with costs, or with tokens and prices.
        split: Which of the questions are measured.
        map: The meaning of columns with other names, as for `train`.
        experts: Measure only these. Default: all that router and data share.
        pair: A weak and a strong expert, for APGR and CPT. Default: the cheapest and the best.
        on_progress: Called with progress, in lines for people.

    Returns:
        What was measured.

    Raises:
        UsageError: an option or the data is wrong.
        RouterError: there is no such router, or the outcomes lack costs.
    """
    sources = sources_of(data)
    chosen = [experts] if isinstance(experts, str) else experts
    found = measure_router(
        router, sources, split=split, mapped=mapped_columns(map), experts=chosen, pair=pair, say=on_progress
    )
    name = "in memory" if isinstance(router, Router) else str(router)
    return EvaluationReport(found, name, names_of(sources), split)


def sources_of(data: Any) -> Sequence[Any]:
    """Return the sources of outcomes in a list, which may be one alone."""
    if data is None:
        return []
    return list(data) if isinstance(data, list | tuple) else [data]


def mapped_columns(map: Mapping[str, str] | None) -> list[str]:
    """Return a mapping of columns as the command line writes it."""
    return [f"{theirs}={ours}" for theirs, ours in (map or {}).items()]
