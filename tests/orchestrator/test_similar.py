"""The expert most similar to one without outcomes."""

from __future__ import annotations

import pytest

from leeroo.engine.orchestrator.similar import most_similar, size_b
from leeroo.engine.pool import Expert


def expert(model: str, *tags: str, backend: str = "auto", name: str = "x") -> Expert:
    """Return an expert of that model."""
    return Expert.model_validate(
        {"name": name, "model": model, "tags": tags, "backend": backend, "usd_per_m_input": 1, "usd_per_m_output": 1}
    )


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("mistralai/Mixtral-8x7B-Instruct-v0.1", 56),
        ("Qwen/Qwen2.5-0.5B-Instruct", 0.5),
        ("HuggingFaceTB/SmolLM2-135M-Instruct", 0.135),
        ("meta-llama/Llama-2-70b-hf", 70),
        ("gpt-4-1106-preview", None),
    ],
)
def test_a_size_is_read_from_the_name(model: str, size: float | None) -> None:
    """The size is in billions of parameters, of all experts of a mixture; None where the name has none."""
    assert size_b(expert(model)) == size


def test_family_and_size_decide() -> None:
    """A Llama of 8 B is similar to another Llama of its size before a larger one, and before a Mistral of 7 B."""
    large, small, other = (expert(f"x/{name}") for name in ("Llama-3-70B", "Meta-Llama-3-8B", "Mistral-7B-v0.1"))
    stranger = expert("meta-llama/Llama-3.1-8B-Instruct")
    assert most_similar(stranger, [large, other, small]) is small
    assert most_similar(stranger, [large, other]) is other


def test_tags_decide_between_equals() -> None:
    """Between two of one family and size the one for the same purpose is nearer."""
    coder, general = expert("x/Qwen2-7B", "code", name="a"), expert("x/Qwen2-7B", "general", name="b")
    assert most_similar(expert("x/Qwen3-7B", "general"), [coder, general]) is general


def test_a_replayed_expert_is_known_by_its_own_name() -> None:
    """The folder that it is replayed from is no model."""
    first, second = (expert("llama-8b-data", backend="replay", name=name) for name in ("llama-2-7b", "yi-34b"))
    assert most_similar(expert("y/Yi-34B-Chat"), [first, second]) is second
