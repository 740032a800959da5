"""Complex questions, step by step, through experts of a real API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from leeroo.engine.answer import Criteria, Engine, open_engine
from leeroo.engine.jobs.solve import Limits, solve


@pytest.fixture
def engine(tmp_path: Path, api_entry: Callable[..., str]) -> Iterator[Engine]:
    """Two experts; the first is the default."""
    (tmp_path / "pool.toml").write_text(api_entry("large", 10, 20) + api_entry("small", 1, 20))
    with open_engine(tmp_path / "pool.toml", None, tmp_path / "store") as opened:
        yield opened


def steps(engine: Engine, *questions: str | None, **limits: Any) -> list[dict[str, Any]]:
    """The rows of what is solved."""
    rows: list[dict[str, Any]] = solve(engine, questions, Criteria(), Limits(**limits)).rows.to_pylist()
    return rows


def test_rows_go_level_by_level(engine: Engine, api: Any) -> None:
    """Simple and split questions together take as many waves as the deepest has levels; NULL stays NULL."""
    chain = "What is 12 times 4? Then add 10 to the result. Finally, is that number even?"
    solved = solve(engine, ["What is a cat?", None, chain, "What is 1 plus 1? What is 2 plus 2?"], Criteria())
    assert [wave.asked for wave in solved.waves] == [4, 1, 1]
    one, nothing, three, two = solved.rows.to_pylist()
    assert one["answer"] == "echo: What is a cat?"
    assert (nothing["answer"], nothing["steps"], nothing["cost_usd"]) == (None, None, 0)
    assert two["answer"] == "1. echo: What is 1 plus 1?\n2. echo: What is 2 plus 2?"
    assert [step["needs"] for step in three["steps"]] == [[], [1], [2]]
    assert "What is 12 times 4? echo: What is 12 times 4?" in three["steps"][1]["answer"]
    assert sum(step["cost_usd"] for step in three["steps"]) == pytest.approx(three["cost_usd"])
    assert three["error"] is None


def test_an_expert_plans_what_does_not_say_its_parts(engine: Engine, api: Any) -> None:
    """Its plan is followed, and the parts are joined by an expert; a plan that is none is passed over."""
    plan = {"steps": [{"task": "How old is Ann?", "needs": []}, {"task": "How old is Bob?", "needs": [1]}]}
    told: dict[str, str] = {"Split": json.dumps(plan), "worked out": "joined"}

    def says(_model: str, prompt: str) -> dict[str, float]:
        return {next((told[word] for word in told if word in prompt), "part"): 0.9}

    api.says = says
    question = (
        "Ann is three years older than Bob, who is twice as old as Eve, who is five, and then Ann has a birthday."
    )
    [row] = steps(engine, question)
    assert [step["task"] for step in row["steps"]] == ["How old is Ann?", "How old is Bob?"]
    assert row["answer"] == "joined"
    told["Split"] = "no plan"
    [row] = steps(engine, question + " How old is she?")
    assert (len(row["steps"]), row["answer"]) == (1, "part")


def test_a_step_that_fails_is_asked_elsewhere(engine: Engine, api: Any) -> None:
    """Of the other expert; where that fails too, the rest is done, and the row says what was not."""
    api.faults["2 plus 2"] = [422]
    [row] = steps(engine, "What is 1 plus 1? What is 2 plus 2?")
    assert [step["expert"] for step in row["steps"]] == ["large", "small"]
    assert row["error"] is None
    api.faults["3 plus 3"], api.repeat = [422], True
    [row] = steps(engine, "What is 3 plus 3? Then double the result. What is 4 plus 4?")
    assert row["steps"][0]["error"] is not None
    assert row["steps"][1]["error"] == "it needs step 1, which failed"
    assert row["answer"].splitlines()[2] == "3. echo: What is 4 plus 4?"
    assert row["error"].startswith("step 1: ")


def test_limits(engine: Engine) -> None:
    """Steps and depth beyond the limits go into the last; what costs too much is not asked."""
    many = "What is 1 plus 1? What is 2 plus 2? What is 3 plus 3?"
    assert len(steps(engine, many, steps=2)[0]["steps"]) == 2
    assert (
        len(steps(engine, "What is 2 plus 2? Then double the result. Then halve the result.", depth=2)[0]["steps"]) == 2
    )
    [row] = steps(engine, many, cost_usd=1e-9)
    assert (row["answer"], row["cost_usd"]) == (None, 0)
    assert "step 1: no expert is expected to stay within $3.3e-10, what is left of the row's limit" in row["error"]
    cheap = steps(engine, many, cost_usd=2e-4)[0]
    assert {step["expert"] for step in cheap["steps"]} == {"small"}
