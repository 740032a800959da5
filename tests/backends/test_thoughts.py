"""Thoughts are split from answers, whatever marks them, and are counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest

from leeroo.engine.backends.select import load_backend
from leeroo.engine.backends.thoughts import split_thoughts
from leeroo.engine.pool import Expert
from tests.backends.tiny import save_model
from tests.provider import Provider

if TYPE_CHECKING:
    from tests.backends.conftest import Ask

Requests = Callable[..., pa.RecordBatch]

_CHAT = "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}\n{% endfor %}[a]"


@pytest.mark.parametrize(
    ("text", "thoughts", "answer"),
    [
        ("Paris", "", "Paris"),
        ("<think>France.</think>\n\nParis", "France.", "Paris"),
        ("<thinking>\nFrance.\n</thinking>Paris", "France.", "Paris"),
        ("<think>France, which", "France, which", ""),
        # The template has opened the thoughts.
        ("France.</think>Paris", "France.", "Paris"),
        ("[THINK]France.[/THINK]Paris", "France.", "Paris"),
        ("[THINK]France, which", "France, which", ""),
        ("<|channel>thought\nFrance.<channel|>Paris", "France.", "Paris"),
        (
            "<|channel|>analysis<|message|>France.<|end|><|start|>assistant<|channel|>final<|message|>Paris<|return|>",
            "France.",
            "Paris",
        ),
        ("<|channel|>analysis<|message|>France, which", "France, which", ""),
        # Marks within an answer are its text.
        ("Write <think>x</think> around it.", "", "Write <think>x</think> around it."),
    ],
)
def test_thoughts_are_split_off(text: str, thoughts: str, answer: str) -> None:
    """Each family of models has its marks; thoughts that break off leave no answer."""
    assert split_thoughts(text) == (thoughts, answer)


def test_text_after_an_opened_thought_is_thought() -> None:
    """Where the prompt opened the thoughts and they break off, there is no answer."""
    assert split_thoughts("France, which", opened=True) == ("France, which", "")


@pytest.mark.parametrize("behaviour", ["think_tags", "reasoning_content", "parts", "thinks_by_effort"])
def test_an_api_s_thoughts_are_no_answer(api: Provider, ask: Ask, behaviour: str) -> None:
    """The answer is that alone; the thoughts come apart with their tokens."""
    api.does, api.says = {"": behaviour}, lambda model, prompt: "Paris"
    (row,) = ask("capital?", reasoning_effort="low")
    assert (row["answer"], row["error"]) == ("Paris", None)
    assert row["reasoning"]
    assert 0 < row["reasoning_tokens"] <= row["completion_tokens"]


@pytest.fixture
def local(tmp_path: Path) -> Callable[[str], Any]:
    """Load a tiny random model with a chat template."""

    def load(template: str) -> Any:
        prices: dict[str, Any] = {"usd_per_m_input": 1.0, "usd_per_m_output": 1.0}
        model = str(save_model(tmp_path, template=template))
        return load_backend(Expert(name="tiny", model=model, backend="transformers", **prices))

    return load


def _rows(backend: Any, batch: pa.RecordBatch) -> list[dict[str, Any]]:
    return [row for done in backend.generate(iter([batch])) for row in done.to_pylist()]


def test_a_local_thought_that_is_cut_off_is_no_answer(local: Callable[[str], Any], requests: Requests) -> None:
    """A model that is still thinking at its limit fails the row, which another expert may take; its tokens count."""
    (row,) = _rows(local(_CHAT + "<think>\n"), requests("Why?"))
    assert row["error"] == "ended by length before an answer: raise max_tokens, or lower the effort"
    assert (row["bounced"], row["answer"], row["completion_tokens"]) == (True, None, 12)
    assert row["reasoning_tokens"] > 0


def test_choices_are_scored_behind_closed_thoughts(local: Callable[[str], Any], requests: Requests) -> None:
    """A template that opens thoughts has them closed before choices are scored, and an answer is always one of them."""
    closed = local(_CHAT + "<think>\n")
    (row,) = _rows(closed, requests("Why?", choices=["yes", "no"]))
    assert row["answer"] in ("yes", "no")
    written = closed._tokenizer("<think>\n\n</think>\n\n", add_special_tokens=False)["input_ids"]
    opened = closed._tokenizer("<think>\n", add_special_tokens=False)["input_ids"]
    (plain,) = _rows(closed, requests("Why?"))
    assert row["prompt_tokens"] - plain["prompt_tokens"] == len(written) - len(opened)


def test_a_model_that_is_to_think_names_its_choice_in_text(local: Callable[[str], Any], requests: Requests) -> None:
    """With an effort, choices are not forced on the first token: text that names none is the row's error."""
    backend = local(_CHAT + "{% if enable_thinking %}{% endif %}")
    (row,) = _rows(backend, requests("Why?", choices=["yes", "no"], reasoning_effort="low"))
    assert row["answer"] is None
    assert row["completion_tokens"] > 0
    assert "is none of the choices" in row["error"]
