"""A question too long for one expert goes to another; one too long for all fails alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.pool import load_pool

pytestmark = pytest.mark.usefixtures("models_here")

Ask = Callable[..., pa.RecordBatchReader]


def _pool(folder: Path, *contexts: int) -> Path:
    """Write a pool with the real small model once for each context length; the first is the cheapest."""
    path = folder / "pool.toml"
    path.write_text(
        "".join(
            f'[[expert]]\nname = "holds-{context}"\nmodel = "HuggingFaceTB/SmolLM2-135M-Instruct"\n'
            f'backend = "transformers"\nusd_per_m_input = {i + 1}\nusd_per_m_output = {i + 1}\nmax_tokens = 4\n'
            f"[expert.engine]\nmax_model_len = {context}\n"
            for i, context in enumerate(contexts)
        )
    )
    return path


def test_an_expert_with_a_longer_context_answers_a_long_question(tmp_path: Path, questions: Ask) -> None:
    """The long question goes to the expert with more room, and the short one stays."""
    with Engine(load_pool(_pool(tmp_path, 64, 512)), store=tmp_path / "store") as engine:
        rows = engine.answer_table(questions("Tell me about the sea. " * 40, "Hi"), Criteria()).to_pylist()
    assert [row["expert"] for row in rows] == ["holds-512", "holds-64"]
    assert all(row["error"] is None and row["completion_tokens"] > 0 for row in rows)
    assert rows[0]["prompt_tokens"] > 200


def test_a_question_too_long_for_all_fails_alone(tmp_path: Path, questions: Ask) -> None:
    """The row's error has its length and the longest context; the other row is answered."""
    with Engine(load_pool(_pool(tmp_path, 48, 64)), store=tmp_path / "store") as engine:
        rows = engine.answer_table(questions("word " * 200, "Hi"), Criteria()).to_pylist()
    assert "the context of this expert holds 64; shorten it" in rows[0]["error"]
    assert (rows[0]["answer"], rows[0]["cost_usd"]) == (None, 0)
    assert rows[1]["answer"]
