"""Two engines on one store pay for no row twice."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from leeroo.engine.answer import Criteria
from leeroo.engine.pool import Expert
from tests.engine.api import expert, opened, questions
from tests.provider import Provider, running

PROMPTS = [f"question {i}" for i in range(120)]


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Provide a provider whose calls take a moment."""
    with running() as server:
        server.delay_s = 0.02
        yield server


@pytest.mark.parametrize("halves", [(0, 120, 0, 120), (0, 80, 40, 120)])
def test_rows_claimed_by_another_run_are_awaited(
    tmp_path: Path, provider: Provider, halves: tuple[int, int, int, int]
) -> None:
    """When two runs overlap, each row is sent once, and both tables are whole."""
    first, last, again, end = halves
    answers: dict[int, list[str | None]] = {}

    def answer(number: int, prompts: list[str]) -> None:
        with opened(tmp_path, expert(provider)) as engine:
            out = engine.answer_table(questions(*prompts), Criteria())
            answers[number] = out.column("answer").to_pylist()

    parts = (PROMPTS[first:last], PROMPTS[again:end])
    threads = [threading.Thread(target=answer, args=(i, part)) for i, part in enumerate(parts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [answers[i] for i in (0, 1)] == [[f"echo: {prompt}" for prompt in part] for part in parts]
    assert len(provider.bills) == len(PROMPTS)


def test_claims_on_an_expert_that_does_not_start_end(tmp_path: Path, provider: Provider) -> None:
    """Nothing stays claimed when the rows have gone to the next expert."""
    (broken := tmp_path / "broken").mkdir()
    (broken / "config.json").write_text("{}")
    (broken / "model.safetensors").write_bytes(b"no weights")
    prices: dict[str, Any] = {"usd_per_m_input": 0, "usd_per_m_output": 0}
    first = Expert(name="broken", model=str(broken), backend="transformers", **prices)
    with opened(tmp_path / "store", first, expert(provider)) as engine:
        out = engine.answer_table(questions("a", "b"), Criteria())
        assert out.column("answer").to_pylist() == ["echo: a", "echo: b"]
        with contextlib.closing(sqlite3.connect(tmp_path / "store" / "answers.sqlite")) as store:
            assert store.execute("SELECT count(*) FROM claims").fetchone() == (0,)
