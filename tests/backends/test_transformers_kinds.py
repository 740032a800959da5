"""Models of any kind answer in a batch as they do alone, or say that they cannot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from leeroo.engine.backends.local.causal import CausalModel
from leeroo.engine.backends.select import load_backend
from leeroo.engine.errors import ExpertUnavailable
from leeroo.engine.pool import Expert
from tests.backends.tiny import save_model

Requests = Callable[..., pa.RecordBatch]
PROMPTS = ("Five apples", "What is the name of the river?", "Hm", "x", "A rather long question, about something else")


def _expert(folder: Path) -> Expert:
    return Expert(name="tiny", model=str(folder), backend="transformers", usd_per_m_input=0, usd_per_m_output=0)


def _with_limits(requests: Requests, **more: Any) -> pa.RecordBatch:
    """Make requests with a limit each, so that rows leave the batch one after another."""
    batch = requests(*PROMPTS, raw=True, **more)
    rows = [{**row, "max_tokens": (5, 12, 9, 14, 7)[i]} for i, row in enumerate(batch.to_pylist())]
    return pa.RecordBatch.from_pylist(rows, schema=batch.schema)


@pytest.mark.parametrize("kind", ["llama", "gemma2", "mamba", "mamba2", "falcon_mamba", "jamba", "falcon_h1"])
def test_a_batch_gives_what_the_model_generates_alone(kind: str, requests: Requests, tmp_path: Path) -> None:
    """Every row has the tokens of `model.generate`, whatever the model keeps as its state."""
    import torch

    backend: Any = load_backend(_expert(save_model(tmp_path, kind)))
    batch = _with_limits(requests)
    done = {row["id"]: row for each in backend.generate(iter([batch])) for row in each.to_pylist()}
    model, tokenizer = backend._model.model, backend._tokenizer
    for row in batch.to_pylist():
        ids = torch.tensor([tokenizer(row["prompt"])["input_ids"]])
        options = {"max_new_tokens": row["max_tokens"], "do_sample": False, "attention_mask": torch.ones_like(ids)}
        alone = model.generate(ids, **options)[0, ids.shape[1] :]
        text = tokenizer.decode(alone, skip_special_tokens=True).strip()
        assert (done[row["id"]]["answer"] or "") == text, row["prompt"]


@pytest.mark.parametrize("kind", ["llama", "gemma2", "mamba", "jamba", "falcon_h1"])
def test_choices_that_begin_alike_are_as_likely_as_alone(kind: str, requests: Requests, tmp_path: Path) -> None:
    """A beginning is shared only where the model can go on from it."""
    backend = load_backend(_expert(save_model(tmp_path, kind)))
    begin = "All that follows has been said before, and will be said again. "
    prompts = [f"{begin}{prompt}" for prompt in PROMPTS]
    choices = ["yes", "yesterday", "no"]

    def likely(*some: str) -> list[list[float]]:
        batches = backend.generate(iter([requests(*some, raw=True, choices=choices)]))
        rows = {row["id"]: row["choice_logprobs"] for batch in batches for row in batch.to_pylist()}
        return [rows[i] for i in range(len(some))]

    for prompt, together in zip(prompts, likely(*prompts), strict=True):
        assert likely(prompt)[0] == pytest.approx(together, abs=1e-3)


@pytest.mark.parametrize("kind", ["recurrent_gemma", "rwkv"])
def test_a_state_that_rows_cannot_share_is_refused(kind: str, tmp_path: Path) -> None:
    """A model that would answer garbage says in one line why it does not start, and what does; each time."""
    expert = _expert(save_model(tmp_path, kind))
    for _ in range(2):
        with pytest.raises(ExpertUnavailable, match=f"{kind}.*backend = 'vllm'") as raised:
            load_backend(expert)
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("kind", "continues"), [("llama", True), ("mamba", False)])
def test_a_model_is_checked_once(kind: str, continues: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was found is kept for these files and this way of loading, and found again where the file is damaged."""
    monkeypatch.setenv("LEEROO_CACHE", str(tmp_path / "cache"))
    checks: list[CausalModel] = []
    check = CausalModel._check

    def check_and_note(model: CausalModel) -> bool:
        checks.append(model)
        return check(model)

    monkeypatch.setattr(CausalModel, "_check", check_and_note)
    model = tmp_path / "model"
    model.mkdir()
    expert = _expert(save_model(model, kind))

    def load(**options: Any) -> int:
        backend: Any = load_backend(expert.model_copy(update={"engine": options}))
        assert backend._model.continues is continues
        return len(checks)

    assert [load(), load(), load(dtype="bfloat16")] == [1, 1, 2]
    (folder,) = (tmp_path / "cache").glob("checked")
    for file in folder.iterdir():
        file.write_text("tr")
    assert [load(), load()] == [3, 3]
    (model / "added.txt").touch()
    assert load() == 4
