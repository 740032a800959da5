"""leeroo.answer_async answers as leeroo.answer does, beside other tasks; cancelling it stops the run."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import leeroo
from leeroo.api.options import AnswerOptions, RunOptions
from leeroo.engine.answer import Progress
from leeroo.engine.errors import InputError
from tests.provider import Provider

ASKED = [f"What is {n} plus {n}?" for n in range(5)]


def test_other_tasks_go_on(options: dict[str, Any]) -> None:
    """The answers are those of `answer`, several tables are answered side by side, and the loop is never held up."""
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.001)
            ticks += 1

    async def both() -> list[Any]:
        beat = asyncio.create_task(tick())
        found = await asyncio.gather(
            leeroo.answer_async(pl.DataFrame({"question": ASKED}), **options),
            leeroo.answer_async(ASKED[:2], expert="small", **options),
        )
        beat.cancel()
        return list(found)

    frame, table = asyncio.run(both())
    assert frame["answer"].to_list() == [f"large says {2 * n}" for n in range(5)]
    assert table.column("expert").to_pylist() == ["small", "small"]
    assert ticks > 10


def test_a_cancelled_task_stops_the_run_and_keeps_answers(
    api: Provider, api_entry: Callable[..., str], tmp_path: Path
) -> None:
    """It ends soon, and the next call pays only for what is missing."""
    (tmp_path / "pool.toml").write_text(api_entry("m", 1, 1, more="[expert.engine]\nconcurrency = 2\n"))
    options: dict[str, Any] = {"pool": tmp_path / "pool.toml", "store": tmp_path / "store"}
    asked = [f"Question {n}" for n in range(60)]
    api.delay_s = 0.1
    some = threading.Event()

    def look(progress: Progress) -> None:
        if progress.rows_done >= 4:
            some.set()

    async def cancel() -> float:
        task = asyncio.create_task(leeroo.answer_async(asked, on_progress=look, **options))
        assert await asyncio.to_thread(some.wait, 30)
        task.cancel()
        began = time.monotonic()
        with pytest.raises(asyncio.CancelledError):
            await task
        return time.monotonic() - began

    assert asyncio.run(cancel()) < 5
    assert 4 <= len(api.asked) < 60
    api.delay_s = 0
    found = leeroo.answer(asked, **options)
    assert found.column("answer").null_count == 0
    assert sum(api.asked.values()) <= len(asked) + 2  # those in flight are sent again


def test_errors_come_through() -> None:
    """A wrong table and a wrong option are errors of the call that awaits."""
    with pytest.raises(InputError, match="no column 'question'"):
        asyncio.run(leeroo.answer_async(pl.DataFrame({"text": ["a"]})))
    with pytest.raises(TypeError, match=r"answer\(\) got an unexpected keyword argument 'nope'"):
        asyncio.run(leeroo.answer_async(["a"], nope=1))  # type: ignore[call-arg]


def test_options_are_those_of_answer() -> None:
    """No option of `answer` is missing in the type of the others."""
    own = set(inspect.signature(leeroo.answer).parameters) - {"frame", "options"}
    assert set(AnswerOptions.__annotations__) == own | set(RunOptions.__annotations__)
