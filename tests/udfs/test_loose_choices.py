"""leeroo_choice and leeroo_label take a choice however a remote model names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from leeroo.udfs.register import connect


@pytest.mark.parametrize(
    "answer",
    [
        "A",
        "a",
        "A.",
        "(A)",
        "**A**",
        '"A"',
        "Answer: A",
        "The answer is A.",
        "Option A",
        "A) positive",
        "positive",
        "Positive.",
    ],
)
def test_a_choice_is_named_loosely(api: Any, api_entry: Callable[..., str], tmp_path: Path, answer: str) -> None:
    """A letter with words and marks around it, or the choice's own text, names a choice."""
    api.says = lambda _model, _prompt: answer
    (tmp_path / "pool.toml").write_text(api_entry("m", 1, 20))
    with connect(pool=tmp_path / "pool.toml", store=tmp_path / "store") as con:
        choice = (
            "SELECT c.choice, c.position, c.error FROM (SELECT leeroo_choice('Good?', ['positive', 'negative']) AS c)"
        )
        assert con.execute(choice).fetchall() == [("positive", 1, None)]


@pytest.mark.parametrize(
    "answer", ["positive", "Positive", "**positive**", "Label: positive", "The answer is positive."]
)
def test_a_label_is_named_loosely(api: Any, api_entry: Callable[..., str], tmp_path: Path, answer: str) -> None:
    """The label comes out as it was given."""
    api.says = lambda _model, _prompt: answer
    (tmp_path / "pool.toml").write_text(api_entry("m", 1, 20))
    with connect(pool=tmp_path / "pool.toml", store=tmp_path / "store") as con:
        assert con.execute("SELECT leeroo_label('Good?', ['positive', 'negative'])").fetchall() == [("positive",)]


def test_an_answer_that_names_no_choice_says_so(api: Any, api_entry: Callable[..., str], tmp_path: Path) -> None:
    """The reason is in leeroo_labelled and in leeroo_choice; no choice is guessed."""
    api.says = lambda _model, _prompt: "I would rather not say."
    (tmp_path / "pool.toml").write_text(api_entry("m", 1, 20))
    call = "SELECT c.{0}, c.error IS NOT NULL FROM (SELECT {1}('Good?', ['positive', 'negative']) AS c)"
    with connect(pool=tmp_path / "pool.toml", store=tmp_path / "store", on_warning=lambda _: None) as con:
        assert con.execute(call.format("choice", "leeroo_choice")).fetchall() == [(None, True)]
        assert con.execute(call.format("label", "leeroo_labelled")).fetchall() == [(None, True)]
