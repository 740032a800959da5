"""Quantised models and speculative decoding: their options reach the engine, and answers are what they should be."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import BaseModel, ValidationError, model_validator

from leeroo.engine.backends.identity import fingerprint
from leeroo.engine.backends.options import VLLMOptions, complaint
from leeroo.engine.backends.select import load_backend, open_backend
from leeroo.engine.errors import ExpertUnavailable
from leeroo.engine.pool import Expert
from tests.backends.tiny import save_model, save_quantised

Requests = Callable[..., pa.RecordBatch]
SIZE: dict[str, Any] = {
    "hidden_size": 128,
    "intermediate_size": 128,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
PROMPTS = ("Five apples, five apples, five", "What is the name of the river?", "Hm")
LOOKUP = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide a small model."""
    return save_model(tmp_path_factory.mktemp("quantised") / "base", **SIZE)


@pytest.fixture(scope="module")
def int8(base: Path) -> Path:
    """Provide the same with weights of 8 bits."""
    return save_quantised(base, base.parent / "int8")


def _expert(model: Path, backend: str, **engine: Any) -> Expert:
    prices: dict[str, Any] = {"usd_per_m_input": 0, "usd_per_m_output": 0}
    return Expert.model_validate({"name": "e", "model": str(model), "backend": backend, "engine": engine, **prices})


def _answers(backend: Any, *batches: pa.RecordBatch) -> list[list[dict[str, Any]]]:
    """Return the rows of each batch of requests, in their order."""
    answered = []
    for batch in batches:
        rows = [row for each in backend.generate(iter([batch])) for row in each.to_pylist()]
        answered.append(sorted(rows, key=lambda row: row["id"]))
    backend.close()
    return answered


def test_transformers_loads_a_quantised_model(int8: Path, base: Path, requests: Requests) -> None:
    """It answers as the quantised model does by itself, and nearly as the original scores."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    batch = requests(*PROMPTS, raw=True)
    [rows] = _answers(load_backend(_expert(int8, "transformers")), batch)
    tokenizer = AutoTokenizer.from_pretrained(int8)
    model: Any = AutoModelForCausalLM.from_pretrained(int8, dtype="float32").eval()
    original: Any = AutoModelForCausalLM.from_pretrained(base, dtype="float32").eval()
    for row, prompt in zip(rows, PROMPTS, strict=True):
        ids = torch.tensor([tokenizer(prompt)["input_ids"]])
        whole = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False)
        assert row["answer"] == tokenizer.decode(whole[0, ids.shape[1] :], skip_special_tokens=True).strip()
        with torch.no_grad():
            off, spread = model(ids).logits - original(ids).logits, original(ids).logits.std()
        assert 0 < off.square().mean().sqrt() < 0.2 * spread


def test_a_package_that_is_missing_is_named(int8: Path, requests: Requests) -> None:
    """A form of quantisation whose package is not installed is one line."""
    config = json.loads((int8 / "config.json").read_text())
    other = int8.parent / "other"
    save_model(other, **SIZE)
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(ExpertUnavailable, match="does not load: .*bitsandbytes") as raised:
        load_backend(_expert(other, "transformers"))
    assert "\n" not in str(raised.value)


@pytest.mark.vllm
def test_vllm_loads_a_quantised_model(int8: Path, requests: Requests) -> None:
    """On a CPU it computes in the only type that its kernels take."""
    expert = _expert(int8, "vllm", max_model_len=64, max_num_seqs=8)
    [rows] = _answers(open_backend(expert), requests(*PROMPTS, raw=True))
    assert [row["error"] for row in rows] == [None] * 3
    assert len({row["answer"] for row in rows}) == 3


@pytest.mark.vllm
def test_speculative_decoding_changes_no_answer(base: Path, requests: Requests) -> None:
    """Text is what transformers generates; choices and schemas go on working."""
    expert = _expert(base, "vllm", max_model_len=256, max_num_seqs=8, speculative_config=LOOKUP)
    schema = json.dumps({"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]})
    text, choice, form = _answers(
        open_backend(expert),
        requests(*PROMPTS, raw=True),
        requests(*PROMPTS, raw=True, choices=["yes", "no"]),
        requests(PROMPTS[0], raw=True, json_schema=schema, max_tokens=200),
    )
    [alone] = _answers(load_backend(_expert(base, "transformers")), requests(*PROMPTS, raw=True))
    for row, plain in zip(text, alone, strict=True):
        assert row["answer"].rstrip("\ufffd") == plain["answer"].rstrip("\ufffd")
    assert all(row["answer"] in ("yes", "no") for row in choice)
    assert form[0]["error"] is None or "length" in form[0]["error"]


def test_speculation_is_no_part_of_the_fingerprint(base: Path) -> None:
    """Answers are the same with it; quantised weights give others."""
    plain = fingerprint(_expert(base, "vllm"))
    assert fingerprint(_expert(base, "vllm", speculative_config=LOOKUP)) == plain
    assert fingerprint(_expert(base, "vllm", quantization="fp8")) != plain


def test_options_that_do_not_go_together_are_one_line() -> None:
    """vLLM's complaint about several options names none of them, and quotes all: only its sentence is shown."""

    class Config(BaseModel):
        quantization: str

        @model_validator(mode="after")
        def _check(self) -> Config:
            raise ValueError(f"Unknown quantization method: {self.quantization}.\nMust be one of ...")

    with pytest.raises(ValidationError) as raised:
        Config(quantization="int3")
    said = complaint(raised.value, VLLMOptions)
    assert said == "the engine options do not go together: Unknown quantization method: int3."
