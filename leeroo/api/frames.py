"""Answers, labels and solutions for data frames and lists of texts."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Unpack

import pyarrow as pa

from leeroo.api.job import run_job
from leeroo.api.options import AnswerOptions, RunOptions
from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.errors import Interrupted, UsageError
from leeroo.engine.jobs.label import Labels, label_rows, read_labels
from leeroo.engine.jobs.learn.learn import learn_rows
from leeroo.engine.jobs.solve.solve import USUAL, SolveLimits, solve_rows

_SHARED = RunOptions.__annotations__.keys()


def answer(
    frame: Any,
    *,
    prompt: str | None = None,
    system: str | None = None,
    max_tokens: int | None = None,
    temperature: float | None = None,
    image_folder: str | Path | None = None,
    allow_urls: bool = False,
    on_error: Literal["null", "fail"] = "null",
    learn: bool = False,
    gold: str | None = None,
    save_router: str | Path | None = None,
    keep_reasoning: bool = False,
    **options: Unpack[RunOptions],
) -> Any:
    """Answer every row of a table; the options are those of `leeroo run`.

    Examples:
        >>> import leeroo, polars
        >>> frame = polars.DataFrame({"id": [7], "question": ["What is the capital of Italy?"]})
        >>> answers = leeroo.answer(frame, max_tokens=12)
        >>> answers.select("id", "answer", "error").row(0)
        (7, 'The capital of Italy is Rome.', None)

    Args:
        frame: A Polars, pandas or Arrow table, or a DuckDB relation, with questions; or a list of questions.
        prompt: Text with the names of columns in braces, such as "Summarise: {text}", in place of a column. Columns of
            bytes are images; `{photo:image}` shows those that a column of paths names.
        system: System text for every row, in place of that of the experts.
        max_tokens: Longest answer, in place of that of the experts.
        temperature: Above 0, answers are sampled.
        image_folder: The folder below which files of images are read; the current one by default.
        allow_urls: Fetch images from web addresses.
        on_error: A row that fails is null with its error, or fails the run.
        learn: Learn from the first answers whom to ask the rest, within the budget.
        gold: Column with right answers where they are known, for learning.
        save_router: Folder for the router that was learned.
        keep_reasoning: Add the column `reasoning`, the thoughts before answers.
        options: See `RunOptions`; the column is 'question' by default.

    Returns:
        The same kind of table (Arrow for a list) with the columns of `schema.ANSWERS` after its own, in the same order.

    Raises:
        UsageError: an option, the pool, the router or the table is wrong.
        RowsFailed: rows failed and `on_error` is "fail".
    """
    own: AnswerOptions = {
        "prompt": prompt,
        "system": system,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "image_folder": image_folder,
        "allow_urls": allow_urls,
        "on_error": on_error,
        "learn": learn,
        "gold": gold,
        "save_router": save_router,
        "keep_reasoning": keep_reasoning,
    }
    return _answer(frame, {**own, **options})


async def answer_async(frame: Any, **options: Unpack[AnswerOptions]) -> Any:
    """Answer every row of a table, as `answer` does, while other tasks of an event loop go on.

    The work is done in a thread. A task that is cancelled stops it; what was answered is kept in the store, so that
    the same call resumes there.

    Examples:
        >>> import asyncio, leeroo
        >>> answers = asyncio.run(leeroo.answer_async(["What is the capital of Italy?"], max_tokens=12))
        >>> answers.column("answer").to_pylist()
        ['The capital of Italy is Rome.']

    Args:
        frame: As for `answer`.
        options: Those of `answer`.

    Returns:
        As `answer`.

    Raises:
        UsageError, RowsFailed: as `answer`.
    """
    stop = threading.Event()

    def work() -> Any:
        with contextlib.suppress(Interrupted):  # the task was cancelled, and nothing waits for a result
            return _answer(frame, {**options}, stop)
        return None

    running = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([running])
        raise


def _answer(frame: Any, given: dict[str, Any], stop: threading.Event | None = None) -> Any:
    """Answer every row of a table, with the options of `answer`."""
    save_router = given.pop("save_router", None)
    learn, gold = given.get("learn", False), given.get("gold")
    own = {name: given.pop(name) for name in AnswerOptions.__annotations__ if name in given.keys() - _SHARED}
    if not learn and (gold is not None or save_router is not None):
        raise UsageError("gold and save_router are for learning: give learn=True")

    def work(engine: Engine, rows: pa.RecordBatchReader, criteria: Criteria) -> pa.Table:
        if not criteria.learn:
            return engine.answer_table(rows, criteria)
        learned = learn_rows(engine, rows, criteria)
        if save_router is not None and learned.router is not None:
            learned.router.save(save_router)
        assert learned.rows is not None
        return learned.rows

    return run_job("answer", work, frame, given, stop=stop, **own)


def label(
    frame: Any,
    labels: str | Sequence[str] | Mapping[str, str] | Labels,
    *,
    several: bool = False,
    enough: float | None = 0.8,
    calibrate: bool = True,
    chat: bool = True,
    proxy: bool | None = None,
    gold: str | None = None,
    **options: Unpack[RunOptions],
) -> Any:
    """Give every row of a table one of some labels, or those that apply; the options are those of `leeroo label`.

    Examples:
        >>> import leeroo
        >>> labelled = leeroo.label(["I was charged twice for May."], ["billing", "bug"])
        >>> labelled.column("label").to_pylist()
        ['billing']

    Args:
        frame: A Polars, pandas or Arrow table, or a DuckDB relation, with texts; or a list of texts.
        labels: Names, names with descriptions, or what `leeroo label --labels` takes.
        several: Any number of labels may apply to a row.
        enough: A label less sure than this goes on to the next more expensive expert; None uses one expert only.
        calibrate: Correct a model that leans to a label whatever it reads.
        chat: Show the prompt as a turn in a chat, or as text to go on with.
        proxy: Let a classifier learn from the experts and label the rows it is sure of; None where that pays.
        gold: The column with labels by people, from which the classifier learns too.
        options: See `RunOptions`; the column is 'text' by default.

    Returns:
        The same kind of table (Arrow for a list), with the columns of `schema.LABELLED` after its own.

    Raises:
        UsageError: an option, the labels, the pool, the router or the table is wrong.

    """
    wanted = read_labels(labels, several=several)

    def work(engine: Engine, rows: pa.RecordBatchReader, criteria: Criteria) -> pa.Table:
        return label_rows(engine, rows, wanted, criteria, calibrate=calibrate, enough=enough, chat=chat, gold=gold)

    return run_job("label", work, frame, {"column": "text", **options}, [gold] if gold else [], proxy=proxy)


def solve(
    frame: Any,
    *,
    max_steps: int = USUAL.steps,
    max_depth: int = USUAL.depth,
    planner: str | None = None,
    max_cost_usd_per_row: float | None = None,
    **options: Unpack[RunOptions],
) -> Any:
    """Answer complex questions step by step; the options are those of `leeroo solve`.

    Examples:
        >>> import leeroo
        >>> solved = leeroo.solve(["What is the capital of Italy?"])
        >>> [step["task"] for step in solved.column("steps")[0].as_py()]
        ['What is the capital of Italy?']

    Args:
        frame: A Polars, pandas or Arrow table, or a DuckDB relation, with questions; or a list of questions.
        max_steps: Steps of a row at most.
        max_depth: Steps at most that need one another.
        planner: Ask this expert for the plans.
        max_cost_usd_per_row: The expected cost of a row at most, plan and all steps together.
        options: See `RunOptions`; the column is 'question' by default.

    Returns:
        The same kind of table (Arrow for a list), with the columns of `schema.SOLVED` after its own.

    Raises:
        UsageError: an option, the pool, the router or the table is wrong.

    """
    limits = SolveLimits(steps=max_steps, depth=max_depth, cost_usd=max_cost_usd_per_row, planner=planner)

    def work(engine: Engine, rows: pa.RecordBatchReader, criteria: Criteria) -> pa.Table:
        return solve_rows(engine, rows, criteria, limits).rows

    return run_job("solve", work, frame, {**options})
