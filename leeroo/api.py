"""Answers, labels and solutions for data frames, in Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from leeroo.engine.answer import Criteria, Progress, open_engine
from leeroo.engine.batch.prompts import CONTEXT
from leeroo.engine.jobs.label import Labels, label_rows, read_labels
from leeroo.engine.jobs.solve.solve import USUAL, Limits, solve_rows
from leeroo.engine.tables import from_frame, like_frame
from leeroo.engine.tables.frames import eager
from leeroo.udfs.functions.unanswered import Unanswered, warn


def answer(
    frame: Any,
    *,
    column: str = "question",
    pool: str | Path | None = None,
    router: str | Path | None = None,
    store: str | Path | None = None,
    expert: str | None = None,
    private_column: str | None = None,
    max_cost_usd: float | None = None,
    cost_weight: float = 0.0,
    latency_weight: float = 0.0,
    on_expert_down: Literal["next", "fail"] = "next",
    prefix: str = "",
    on_error: Literal["null", "fail"] = "null",
    on_progress: Any = None,
) -> Any:
    """Answer every row of a table; the options are those of `leeroo run`.

    Args:
        frame: A Polars, pandas or Arrow table, or a DuckDB relation, with a column of questions.
        on_progress: Called a few times a second with a `Progress`.

    Returns:
        The same kind of table, with the columns of `schema.ANSWERS` after its own; rows keep their order.

    Raises:
        UsageError: an option, the pool, the router or the table is wrong.
        RowsFailed: rows failed and `on_error` is "fail".
    """
    criteria = Criteria(
        column=column,
        private_column=private_column,
        expert=expert,
        max_cost_usd=max_cost_usd,
        cost_weight=cost_weight,
        latency_weight=latency_weight,
        prefix=prefix,
        on_expert_down=on_expert_down,
        on_error=on_error,
    )
    frame = eager(frame)
    with open_engine(pool, router, store, on_progress) as engine:
        answered = engine.answer(_rows(frame, criteria), criteria).read_all()
        result = like_frame(answered.to_reader(), frame)
        engine.delivered()
        _warn("leeroo.answer", answered, prefix)
        return result


def label(
    frame: Any,
    labels: str | Sequence[str] | Mapping[str, str] | Labels,
    *,
    column: str = "text",
    several: bool = False,
    pool: str | Path | None = None,
    router: str | Path | None = None,
    store: str | Path | None = None,
    expert: str | None = None,
    private_column: str | None = None,
    max_cost_usd: float | None = None,
    cost_weight: float = 0.0,
    latency_weight: float = 0.0,
    enough: float | None = 0.8,
    calibrate: bool = True,
    chat: bool = True,
    on_expert_down: Literal["next", "fail"] = "next",
    prefix: str = "",
    on_progress: Any = None,
) -> Any:
    """Give every row of a table one of some labels, or those that apply; the options are those of `leeroo label`.

    Args:
        frame: A Polars, pandas or Arrow table, or a DuckDB relation, with a column of text.
        labels: Names, names with descriptions, or what `leeroo label --labels` takes.
        enough: A label less sure than this goes on to the next dearer expert; None asks one expert only.

    Returns:
        The same kind of table, with the columns of `leeroo.engine.schema.LABELLED` after its own.

    Raises:
        UsageError: an option, the labels, the pool, the router or the table is wrong.

    """
    criteria = Criteria(
        column=column,
        private_column=private_column,
        expert=expert,
        max_cost_usd=max_cost_usd,
        cost_weight=cost_weight,
        latency_weight=latency_weight,
        prefix=prefix,
        on_expert_down=on_expert_down,
    )
    wanted = read_labels(labels, several=several)
    frame = eager(frame)
    with open_engine(pool, router, store, on_progress) as engine:
        labelled = label_rows(
            engine, _rows(frame, criteria), wanted, criteria, calibrate=calibrate, enough=enough, chat=chat
        )
        result = like_frame(labelled.to_reader(), frame)
        engine.delivered()
        _warn("leeroo.label", labelled, prefix)
        return result


def solve(
    frame: Any,
    *,
    column: str = "question",
    max_steps: int = USUAL.steps,
    max_depth: int = USUAL.depth,
    planner: str | None = None,
    pool: str | Path | None = None,
    router: str | Path | None = None,
    store: str | Path | None = None,
    expert: str | None = None,
    private_column: str | None = None,
    max_cost_usd: float | None = None,
    max_cost_usd_per_row: float | None = None,
    cost_weight: float = 0.0,
    latency_weight: float = 0.0,
    on_expert_down: Literal["next", "fail"] = "next",
    prefix: str = "",
    on_progress: Any = None,
) -> Any:
    """Answer complex questions step by step; the options are those of `leeroo solve`.

    Args:
        frame: A Polars, pandas or Arrow table, or a DuckDB relation, with a column of questions.

    Returns:
        The same kind of table, with the columns of `leeroo.engine.schema.SOLVED` after its own.

    Raises:
        UsageError: an option, the pool, the router or the table is wrong.

    """
    criteria = Criteria(
        column=column,
        private_column=private_column,
        expert=expert,
        max_cost_usd=max_cost_usd,
        cost_weight=cost_weight,
        latency_weight=latency_weight,
        prefix=prefix,
        on_expert_down=on_expert_down,
    )
    limits = Limits(steps=max_steps, depth=max_depth, cost_usd=max_cost_usd_per_row, planner=planner)
    frame = eager(frame)
    with open_engine(pool, router, store, on_progress) as engine:
        solved = solve_rows(engine, _rows(frame, criteria), criteria, limits).rows
        result = like_frame(solved.to_reader(), frame)
        engine.delivered()
        _warn("leeroo.solve", solved, prefix)
        return result


def _rows(frame: Any, criteria: Criteria) -> pa.RecordBatchReader:
    """The rows of a frame, with the columns that are asked about."""
    return from_frame(frame, {criteria.column, criteria.private_column or criteria.column, *CONTEXT})


def _warn(function: str, rows: pa.Table, prefix: str) -> None:
    """Warn once of rows that failed, with the commonest reason."""
    errors = rows.column(f"{prefix}error").drop_null().to_pylist()
    if errors:
        unanswered = Unanswered()
        unanswered.add([function], len(rows), errors)
        warn(str(unanswered))


__all__ = ["Progress", "answer", "label", "solve"]
