"""Encoders of the plain form are loaded without sentence-transformers, and give the vectors that it gives."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from leeroo.engine.orchestrator.encoders import plain, sentence
from leeroo.engine.orchestrator.encoders.batching import MAX_TOKENS
from leeroo.engine.orchestrator.encoders.encode import DEFAULT_ENCODER
from leeroo.engine.weights import locate

pytestmark = pytest.mark.usefixtures("two_threads")

TEXTS = ["What is the capital of France?", "Hi", "", "  padded ", "a\x00b ä 🦘", "integrate x squared " * 200]
MODULES = [
    {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
    for i, (path, kind) in enumerate([("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")])
]
POOLING = {"word_embedding_dimension": 16, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
FIRST = {"embedding_dimension": 16, "pooling_mode": "cls", "include_prompt": True}

Save = Callable[..., Path]


@pytest.fixture
def save(tiny_bert: Path, tmp_path: Path) -> Save:
    """Return a function that makes a sentence encoder with other settings."""

    def make(**other: Any) -> Path:
        folder = tmp_path / "encoder"
        shutil.copytree(tiny_bert, folder)
        (folder / "1_Pooling").mkdir()
        (folder / "2_Normalize").mkdir()
        settings = {
            "modules.json": MODULES,
            "1_Pooling/config.json": POOLING,
            "sentence_bert_config.json": {"max_seq_length": 40, "do_lower_case": False},
            "config_sentence_transformers.json": {"__version__": {}, "prompts": {}, "default_prompt_name": None},
        }
        for name, value in {**settings, **other}.items():
            (folder / name).write_text(json.dumps(value))
        return folder

    return make


def check_same(folder: Path) -> None:
    """Check that both ways give the same vectors."""
    simple = plain.load(folder, MAX_TOKENS)
    assert simple is not None
    expected = sentence.load("it", folder).encode(TEXTS, normalize_embeddings=True)
    assert np.abs(simple.encode(TEXTS) - np.asarray(expected)).max() < 1e-6


def test_the_default_encoder_gives_the_same_vectors() -> None:
    """MiniLM has the vectors that sentence-transformers gives."""
    check_same(locate(DEFAULT_ENCODER))


@pytest.mark.parametrize("pooling", [POOLING, FIRST, {**POOLING, "include_prompt": True}])
@pytest.mark.parametrize("modules", [MODULES, MODULES[:2]])
def test_other_plain_encoders_give_the_same_vectors(save: Save, pooling: object, modules: object) -> None:
    """With the mean or the first token, as old and new files say it; the limit of the model is kept."""
    check_same(save(**{"1_Pooling/config.json": pooling, "modules.json": modules}))


@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("1_Pooling/config.json", {**POOLING, "pooling_mode_max_tokens": True}),
        ("1_Pooling/config.json", {**FIRST, "pooling_mode": ["cls", "mean"]}),
        ("1_Pooling/config.json", {**FIRST, "pooling_mode": "lasttoken"}),
        ("1_Pooling/config.json", {**FIRST, "include_prompt": False}),
        ("1_Pooling/config.json", []),
        ("modules.json", [*MODULES[:2], {**MODULES[2], "type": "sentence_transformers.models.Dense"}]),
        ("modules.json", [*MODULES, MODULES[2]]),
        ("modules.json", [{**MODULES[0], "type": "their.own.Transformer"}, *MODULES[1:]]),
        ("modules.json", MODULES[:1]),
        ("modules.json", ["Transformer", "Pooling"]),
        ("sentence_bert_config.json", {"max_seq_length": 40, "do_lower_case": True}),
        ("sentence_bert_config.json", {"max_seq_length": 40, "transformer_task": "fill-mask"}),
        ("sentence_bert_config.json", {"max_seq_length": None}),
        ("config_sentence_transformers.json", {"prompts": {"query": "query: "}, "default_prompt_name": "query"}),
        ("config_sentence_transformers.json", {"truncate_dim": 8}),
        ("config.json", {"model_type": "t5"}),
        ("config.json", {"model_type": "bert", "auto_map": {"AutoModel": "theirs.Model"}}),
        ("adapter_config.json", {}),
    ],
)
def test_any_other_form_is_left_to_sentence_transformers(save: Save, file: str, value: object) -> None:
    """An encoder with a setting that may change its vectors is not plain."""
    assert plain.load(save(**{file: value}), MAX_TOKENS) is None


def test_an_encoder_of_another_form_works_as_before(save: Save) -> None:
    """Where pooling takes the greatest, the vectors are those of sentence-transformers."""
    folder = save(**{"1_Pooling/config.json": {**POOLING, "pooling_mode_max_tokens": True}})
    expected = sentence.load("it", folder).encode(TEXTS, normalize_embeddings=True)
    found = np.zeros_like(expected)
    for rows, (vectors,) in sentence.passes("it", folder, "", TEXTS):
        found[rows] = vectors
    assert np.abs(found - expected).max() < 1e-6


def test_sentence_transformers_is_not_imported(tmp_path: Path) -> None:
    """A command that encodes by the default encoder needs neither it nor scikit-learn, which can be imported later."""
    script = (
        "import sys; from leeroo.engine.process.imports import own_process; own_process()\n"
        "from leeroo.engine.orchestrator.encoders.encode import encode\n"
        "assert encode(['Why?']).shape == (1, 384)\n"
        "assert 'sentence_transformers' not in sys.modules and 'sklearn' not in sys.modules\n"
        "import sklearn.linear_model\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "LEEROO_CACHE": str(tmp_path)})
