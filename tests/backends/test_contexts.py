"""How many tokens an expert's context holds is known before anything is loaded, and too long a prompt by its error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from leeroo.engine.backends.completions import Request, failed_completion, is_too_long, too_long_completion
from leeroo.engine.backends.select import context_tokens
from leeroo.engine.pool import Expert


def _expert(backend: str, model: str = "m", **more: Any) -> Expert:
    fields = {"name": "e", "model": model, "backend": backend, "usd_per_m_input": 1, "usd_per_m_output": 1, **more}
    return Expert.model_validate(fields)


@pytest.mark.parametrize(
    ("expert", "tokens"),
    [
        (_expert("openai", "gpt-4o-mini"), 128_000),
        (_expert("openai", "gpt-4o-mini", engine={"context_tokens": 9_000}), 9_000),
        (_expert("openai", "a-model-of-nobody"), 4096),
        # The same model behind an address of one's own may be cut short without a word.
        (_expert("openai", "gpt-4o-mini", base_url="http://localhost:11434/v1"), 4096),
        (_expert("openai", "gpt-4o-mini", batch=True), 128_000),
        (_expert("replay", engine={"context_tokens": 500}), 500),
        (_expert("replay"), 2**31),
        (_expert("transformers", "HuggingFaceTB/SmolLM2-135M-Instruct"), 8192),
        (_expert("transformers", "HuggingFaceTB/SmolLM2-135M-Instruct", engine={"max_model_len": 512}), 512),
        (_expert("vllm", "HuggingFaceTB/SmolLM2-135M-Instruct", engine={"max_model_len": -1}), 8192),
        (_expert("transformers", "nobody/has-this"), 4096),
    ],
)
def test_a_context_is_what_the_pool_the_files_or_the_price_list_say(expert: Expert, tokens: int) -> None:
    """Where nothing says so, it is short."""
    assert context_tokens(expert) == tokens


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        ({"max_position_embeddings": 2048}, 2048),
        ({"text_config": {"max_position_embeddings": 1024}}, 1024),
        ({}, 4096),
        ({"max_position_embeddings": "many"}, 4096),
        (["no", "settings"], 4096),
    ],
)
def test_a_folder_says_how_long_its_context_is(tmp_path: Path, config: object, tokens: int) -> None:
    """Also in the settings of the text part of a model that sees."""
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert context_tokens(_expert("transformers", str(tmp_path))) == tokens


@pytest.mark.parametrize(
    "header", [b"", b"GGUF llama.context_length", b"GGUF llama.context_length\x08\0\0\0abcd", b"x" * 99]
)
def test_a_strange_gguf_file_says_nothing(tmp_path: Path, header: bytes) -> None:
    """A header that ends early, or has a text in that place, is not read as a number."""
    (tmp_path / "model.gguf").write_bytes(header)
    assert context_tokens(_expert("transformers", str(tmp_path / "model.gguf"))) == 4096


def test_errors_of_long_prompts_are_known() -> None:
    """Those of local models, of servers, and of limits that no wait helps; other errors are not taken for them."""
    request = Request(1, "q", "p", None, 10, 0.0)
    own = too_long_completion(request, 5000, 4096)["error"]
    for error in (
        own,
        "400 Bad Request: This model's maximum context length is 8192 tokens.",
        "413 Request Entity Too Large",
        "429 Too Many Requests: Request too large for m on tokens per min (TPM): Limit 30000, Requested 50000.",
        "the device's memory does not suffice for this row; shorten it",
    ):
        assert is_too_long(error), error
    for error in (
        None,
        failed_completion(request, "422 fault")["error"],
        "empty answer",
        "the budget of $1 does not reach",
    ):
        assert not is_too_long(error), error
