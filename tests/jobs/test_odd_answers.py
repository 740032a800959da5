"""Odd answers of a model: they cost their own row at most, also when the job goes on with what is stored."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from leeroo.engine.answer import Criteria, Engine, open_engine
from leeroo.engine.jobs.feedback import give
from leeroo.engine.jobs.selfplay.loop import Play, play
from leeroo.engine.jobs.selfplay.played import read_played
from leeroo.engine.jobs.solve.solve import solve
from leeroo.engine.store.feedback import Feedback
from tests.school import FAMILIES, School

pytestmark = pytest.mark.usefixtures("kept_vectors")

# What takes a plan, as it says an order of things to be done.
COMPLEX = "Ann is three years older than Bob, who is twice as old as Eve, who is {} now, and then Ann has a birthday."
ODD = (
    "[" * 100_000,
    '{"steps": ' * 2000,
    '{"steps": [{"task": "\\ud83d", "needs": []}, {"task": "b", "needs": []}]}',
    '{"steps": [{"task": "a", "needs": [NaN]}, {"task": "b", "needs": [1e999]}]}',
    '{"steps": [{"task": "a", "needs": []}, {"task": "b", "needs": [99999999999999999999999]}]}',
    '{"steps": {"task": 1}}',
    "null",
)


@pytest.fixture
def engine(tmp_path: Path, api_entry: Callable[..., str]) -> Iterator[Engine]:
    """Two experts of a real API."""
    (tmp_path / "pool.toml").write_text(api_entry("strong", 10, 20) + api_entry("weak", 1, 20))
    with open_engine(tmp_path / "pool.toml", None, tmp_path / "store") as opened:
        yield opened


def test_an_odd_plan_is_no_plan(engine: Engine, api: Any) -> None:
    """The questions are answered as they are, twice: also when the odd plans come out of the store."""
    questions = [COMPLEX.format(i) for i in range(len(ODD))]

    def says(_model: str, prompt: str) -> str:
        number = next(i for i, question in enumerate(questions) if question in prompt)
        return ODD[number] if prompt.startswith("Split the question") else f"answer {number}"

    api.says = says
    for _ in range(2):
        rows = solve(engine, questions, Criteria()).rows.to_pylist()
        assert [row["answer"] for row in rows] == [f"answer {i}" for i in range(len(ODD))]
        assert [row["error"] for row in rows] == [None] * len(ODD)
        assert {len(row["steps"]) for row in rows} == {1}
    assert sum(prompt.startswith("Split the question") for prompt in api.asked) == len(ODD)


def _play(engine: Engine, out: Path, rounds: int, **what: Any) -> list[str]:
    said: list[str] = []
    some: dict[str, Any] = {"outcomes": 20, "held_out": 20, "written": 0.5, "families": FAMILIES, "judge": "strong"}
    play(engine, out, Play(**(some | what)), rounds, said.append)
    return said


def test_self_play_goes_on_whatever_experts_write(engine: Engine, api: Any, tmp_path: Path) -> None:
    """Odd answers, odd questions and odd verdicts are outcomes of 0, or none; the next run goes on from there."""
    school, odd = School(tmp_path / "play"), [*ODD, "\x00", "Answer: ", "(a) " * 5000, "9" * 5000, "“" * 9000, "\u2028"]

    def says(model: str, prompt: str) -> dict[str, float] | str:
        return odd[len(prompt) % len(odd)] if len(prompt) % 3 == 0 else school.says(model, prompt)

    api.says = says
    for rounds in (0, 1):
        _play(engine, tmp_path / "play", rounds)
    rows = read_played(tmp_path / "play").rounds
    assert len(rows) == 2
    assert rows[-1]["outcomes_total"] > 20


def test_private_questions_are_shown_to_no_writer(engine: Engine, api: Any, tmp_path: Path) -> None:
    """Answered by a local expert and judged, they train the router, and no prompt of the loop has a word of them."""
    school = School(tmp_path / "play")
    api.says = school.says
    _play(engine, tmp_path / "play", 0)
    names = [f"patient Quellwasser-{i} with diabetes" for i in range(30)]
    rows = [Feedback(f"Which dose does {name} need?", "weak", "12", score=1.0) for name in names]
    assert give(engine.store, [row._replace(private=True) for row in rows]) == []
    assert give(engine.store, [Feedback(f"Is rule {i} fair?", "weak", score=1.0) for i in range(15)]) == []
    before = len(api.asked)
    _play(engine, tmp_path / "play", 1)
    written = [prompt for prompt in api.asked if prompt.startswith("Here are some questions")]
    assert len(written) >= 5
    assert len(api.asked) > before
    assert not [prompt for prompt in api.asked if "Quellwasser" in prompt]
    learned = [
        row
        for file in tmp_path.glob("play/rounds/0001/feedback*/queries.parquet")
        for row in pq.read_table(file).to_pylist()
    ]
    assert len(learned) == 45
    assert read_played(tmp_path / "play").rounds[-1]["outcomes_total"] == 20 + 20 + 45
