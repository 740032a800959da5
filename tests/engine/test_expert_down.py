"""An expert that cannot answer leaves its rows to others, or ends the run, as the criteria say; it is never silent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from leeroo.engine.answer import Criteria, Progress
from leeroo.engine.errors import ExpertUnavailable
from tests.engine.api import expert, opened, questions
from tests.provider import Provider, running

PROMPTS = [f"question {i}" for i in range(20)]


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Provide a provider of its own for each test."""
    with running() as server:
        yield server


def test_an_expert_that_was_never_reached_is_named(tmp_path: Path, provider: Provider) -> None:
    """The snapshot at the end says which experts answered nothing, and why; their rows are answered by others."""
    with running() as broken:
        broken.mix = {"402": 1}
        seen: list[Progress] = []
        with opened(tmp_path, expert(broken), expert(provider, "second"), seen=seen) as engine:
            out = engine.answer_table(questions(*PROMPTS), Criteria())
    assert set(out.column("expert").to_pylist()) == {"second"}
    assert list(seen[-1].experts_down) == ["first"]
    assert seen[-1].failed == 0


def test_a_run_may_end_with_its_expert(tmp_path: Path, provider: Provider) -> None:
    """With on_expert_down='fail' no other expert answers."""
    with running() as broken:
        broken.mix = {"402": 1}
        with opened(tmp_path, expert(broken), expert(provider, "second")) as engine, pytest.raises(ExpertUnavailable):
            engine.answer_table(questions(*PROMPTS), Criteria(on_expert_down="fail"))
    assert not provider.calls


def test_rows_that_failed_before_an_expert_was_given_up_go_to_others(tmp_path: Path, provider: Provider) -> None:
    """A server that is broken for all rows costs none of them its answer, also those that it failed first."""
    with running() as broken:
        broken.mix = {"html_503": 1}
        with opened(tmp_path, expert(broken), expert(provider, "second")) as engine:
            out = engine.answer_table(questions(*PROMPTS), Criteria())
    assert out.column("error").null_count == len(PROMPTS)
    assert set(out.column("expert").to_pylist()) == {"second"}


def test_a_row_that_fails_among_answers_fails(tmp_path: Path, provider: Provider) -> None:
    """An expert that answers the others is not given up, and the failure is the row's."""
    provider.does["question 7"] = "html_503"
    with opened(tmp_path, expert(provider), expert(provider, "second")) as engine:
        out = engine.answer_table(questions(*PROMPTS), Criteria())
    assert out.column("error").null_count == len(PROMPTS) - 1


def test_a_finished_command_that_is_repeated_costs_nothing(tmp_path: Path, provider: Provider) -> None:
    """Answers of the expert that stood in are there, though the rows would go to the first one now."""
    with running() as broken:
        broken.mix = {"402": 1}
        with opened(tmp_path, expert(broken), expert(provider, "second")) as engine:
            first = engine.answer_table(questions(*PROMPTS), Criteria())
            sent = len(broken.calls), len(provider.calls)
            broken.mix = {}
            again = engine.answer_table(questions(*PROMPTS), Criteria())
        assert (len(broken.calls), len(provider.calls)) == sent
    assert again.select(["answer", "expert"]).equals(first.select(["answer", "expert"]))
    assert set(again.column("cost_usd").to_pylist()) == {0.0}
