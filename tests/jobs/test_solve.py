"""Complex questions, step by step, through experts of a real API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.answer import Criteria, Engine, open_engine
from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.solve.decompose import read_plan
from leeroo.engine.jobs.solve.solve import SolveLimits, solve


@pytest.fixture
def engine(tmp_path: Path, api_entry: Callable[..., str]) -> Iterator[Engine]:
    """Two experts; the first is the default."""
    (tmp_path / "pool.toml").write_text(api_entry("large", 10, 20) + api_entry("small", 1, 20))
    with open_engine(tmp_path / "pool.toml", None, tmp_path / "store") as opened:
        yield opened


def steps(engine: Engine, *questions: str | None, **limits: Any) -> list[dict[str, Any]]:
    """Return the rows of what is solved."""
    rows: list[dict[str, Any]] = solve(engine, questions, Criteria(), SolveLimits(**limits)).rows.to_pylist()
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


def test_an_expert_plans_questions_without_visible_parts(engine: Engine, api: Any) -> None:
    """Its plan is followed, and the parts are joined by an expert; a plan that is none is passed over."""
    plan = {"steps": [{"task": "How old is Ann?", "needs": []}, {"task": "How old is Bob?", "needs": [1]}]}
    replies: dict[str, str] = {"Split": json.dumps(plan), "worked out": "joined"}

    def says(_model: str, prompt: str) -> dict[str, float]:
        return {next((replies[word] for word in replies if word in prompt), "part"): 0.9}

    api.says = says
    question = (
        "Ann is three years older than Bob, who is twice as old as Eve, who is five, and then Ann has a birthday."
    )
    [row] = steps(engine, question)
    assert [step["task"] for step in row["steps"]] == ["How old is Ann?", "How old is Bob?"]
    assert row["answer"] == "joined"
    replies["Split"] = "no plan"
    [row] = steps(engine, question + " How old is she?")
    assert (len(row["steps"]), row["answer"]) == (1, "part")


def test_a_failed_step_goes_to_another_expert(engine: Engine, api: Any) -> None:
    """Where the other expert fails too, the rest is done, and the row says which step failed."""
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


def test_limits_are_kept(engine: Engine) -> None:
    """Steps and depth beyond the limits go into the last step; steps that cost too much are not sent."""
    many = "What is 1 plus 1? What is 2 plus 2? What is 3 plus 3?"
    assert len(steps(engine, many, steps=2)[0]["steps"]) == 2
    assert (
        len(steps(engine, "What is 2 plus 2? Then double the result. Then halve the result.", depth=2)[0]["steps"]) == 2
    )
    [row] = steps(engine, many, cost_usd=1e-9)
    assert (row["answer"], row["cost_usd"]) == (None, 0)
    assert (
        "step 1: no expert is expected to stay within under $0.000000001, what is left of the row's limit"
        in row["error"]
    )
    cheap = steps(engine, many, cost_usd=2e-4)[0]
    assert {step["expert"] for step in cheap["steps"]} == {"small"}
    with pytest.raises(UsageError, match="max_steps must be at least 1, not 0"):
        SolveLimits(steps=0)
    with pytest.raises(UsageError, match="not an amount of money"):
        SolveLimits(cost_usd=float("nan"))


def test_a_retry_keeps_to_the_limit_too(engine: Engine, api: Any) -> None:
    """Where the only other expert costs more than the limit, the failure stays."""
    api.faults["2 plus 2"], api.repeat = [422], True
    [row] = steps(engine, "What is 1 plus 1? What is 2 plus 2?", cost_usd=2e-4)
    assert [step["expert"] for step in row["steps"]] == ["small", None]
    assert "422" in row["steps"][1]["error"]
    assert sum(n for prompt, n in api.asked.items() if "2 plus 2" in prompt) == 1


def test_the_first_wave_leaves_money_for_the_last(engine: Engine) -> None:
    """A budget for all steps by the cheap expert is not spent on the first ones by the expensive one."""
    chain = "What is {} times 4? Then add 10 to the result. Finally, is that number even?"
    solved = solve(engine, [chain.format(i) for i in range(20)], Criteria(max_cost_usd=60 * 60e-6))
    rows = solved.rows.to_pylist()
    assert all(row["error"] is None for row in rows)
    assert sum(row["cost_usd"] for row in rows) <= 60 * 60e-6
    assert [wave.asked for wave in solved.waves] == [20, 20, 20]


def test_private_rows_stay_here(engine: Engine, api: Any) -> None:
    """No step of theirs, and no plan, is sent away."""
    private = "Ann is three years older than Bob, who is twice as old as Eve, who is five, and then Ann has a birthday."
    solved = solve(engine, [private, "What is 1 plus 1? What is 2 plus 2?"], Criteria(), private=[True, True])
    assert not api.asked
    assert all("no local expert" in row["error"] for row in solved.rows.to_pylist())


def test_a_planner_that_is_named_makes_the_plans(engine: Engine, api: Any) -> None:
    """Only the planner plans, and it answers no steps; known parts are shown together with the whole question."""
    plan = {"steps": [{"task": "How old is Ann?", "needs": []}, {"task": "How old is Bob?", "needs": [1]}]}
    api.says = lambda model, prompt: {json.dumps(plan) if "Split" in prompt else f"{model} says": 0.9}
    question = (
        "Ann is three years older than Bob, who is twice as old as Eve, who is five, and then Ann has a birthday."
    )
    solved = solve(engine, [question], Criteria(), SolveLimits(planner="small"))
    assert [(wave.what, dict(wave.experts)) for wave in solved.waves] == [
        ("plans", {"small": 1}), ("steps", {"large": 1}), ("steps", {"large": 1}), ("joining", {"large": 1}),
    ]  # fmt: skip
    asked = [body["messages"][-1]["content"] for body in api.bodies]
    assert question in asked[2]
    assert "How old is Ann? large says" in asked[2]
    row = solved.rows.to_pylist()[0]
    spent = sum(step["cost_usd"] for step in row["steps"])
    assert row["cost_usd"] == pytest.approx(spent + sum(w.cost_usd for w in solved.waves if w.what != "steps"))
    assert solved.planned == 1


def test_when_joining_fails_the_parts_are_the_answer(engine: Engine, api: Any) -> None:
    """The parts are listed with the reason, after another expert has failed to join them too."""
    plan = {"steps": [{"task": "How old is Ann?", "needs": []}, {"task": "How old is Bob?", "needs": []}]}
    api.says = lambda _, prompt: {json.dumps(plan) if "Split" in prompt else "part": 0.9}
    api.faults["worked out"], api.repeat = [422], True
    [row] = steps(
        engine, "Ann is three years older than Bob, who is twice as old as Eve, who is five, and then she is not."
    )
    assert row["answer"] == "1. part\n2. part"
    assert row["error"].startswith("joining the parts: ")
    assert sum(n for prompt, n in api.asked.items() if "worked out" in prompt) == 2


@pytest.mark.parametrize(
    "plan",
    [
        [{"task": "Who?", "needs": []}, {"task": "Who?", "needs": []}],
        [{"task": "Who?", "needs": [2]}, {"task": "When?", "needs": []}],
        [{"task": "Who?", "needs": []}, {"task": "When?", "needs": [1.5]}],
        [{"task": "Who?", "needs": []}, {"task": " ", "needs": []}],
        [{"task": "Who?", "needs": []}],
        "steps",
    ],
)
def test_a_plan_that_cannot_be_followed_is_none(plan: Any) -> None:
    """Steps that are the same, empty, need what comes later, or are only one."""
    assert read_plan(json.dumps({"steps": plan}), "Who was it, and when?") == ()


@pytest.fixture
def replayed(tmp_path: Path) -> Path:
    """Return a pool of a replayed expert that knows three steps of each of 1,000 questions."""
    data = tmp_path / "data"
    data.mkdir()
    asked = list(dict.fromkeys(text for i in range(1000) for text in _chain(i)))
    ids = [str(i) for i in range(len(asked))]
    queries = {"query_id": ids, "question": asked, "prompt": asked}
    outcomes = {"query_id": ids, "expert": ["e"] * len(ids), "score": [1.0] * len(ids), "response": ["8"] * len(ids)}
    tokens = {"prompt_tokens": [10] * len(ids), "completion_tokens": [1] * len(ids)}
    pq.write_table(pa.table(queries), data / "queries.parquet")
    pq.write_table(pa.table({**outcomes, **tokens}), data / "outcomes.parquet")
    entry = f'[[expert]]\nname = "e"\nmodel = "{data}"\nbackend = "replay"\nusd_per_m_input = 1\nusd_per_m_output = 1\n'
    (tmp_path / "pool.toml").write_text(entry)
    return tmp_path / "pool.toml"


def _chain(i: int) -> tuple[str, str, str]:
    """Return the steps of a question, as they are asked."""
    first, second, third = f"What is {i} times 8?", "Then add 10 to the result.", "Finally, is that number even?"
    return first, f"What is known:\n{first} 8\n\n{second}", f"What is known:\n{second} 8\n\n{third}"


def test_a_thousand_rows_take_three_waves(replayed: Path, tmp_path: Path) -> None:
    """There are as many waves as the deepest row has levels."""
    questions = [f"What is {i} times 8? Then add 10 to the result. Finally, is that number even?" for i in range(1000)]
    with open_engine(replayed, None, tmp_path / "store") as opened:
        solved = solve(opened, questions, Criteria())
        asked = [(wave.asked, wave.failed) for wave in solved.waves]
        assert len(opened.store.runs()) == 3
    assert asked == [(1000, 0)] * 3
    assert all(len(steps) == 3 for steps in solved.rows.column("steps").to_pylist())
