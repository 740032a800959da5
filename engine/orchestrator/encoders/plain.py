"""Sentence encoders of the plain form, with transformers alone: importing sentence-transformers takes seconds more.

The form: a BERT model, the mean of its tokens or their first, and a unit length; as MiniLM, BGE and E5. For any other,
or on a GPU, `load` returns None. It knows nothing of the vectors on disk.
"""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from leeroo.engine.arrays import Float32s
from leeroo.engine.process.imports import quick_transformers

if TYPE_CHECKING:
    import torch

# The modules of the form, each by the last part of its name, which has moved between versions.
_FORM = ("Transformer", "Pooling", "Normalize")
# Settings that change nothing here. Where another one is set, it may change what a vector is.
_READ = {"max_seq_length", "do_lower_case"}
_WITHOUT_MEANING = {"__version__", "similarity_fn_name", "model_type"}
_WIDTHS = {"word_embedding_dimension", "embedding_dimension"}


class Form(NamedTuple):
    """How a plain encoder reads and pools."""

    max_tokens: int
    first_token: bool  # instead of the mean of all


class PlainEncoder:
    """A loaded model, and how its states become a vector.

    Attributes:
        tokenizer: The tokenizer of transformers.
    """

    def __init__(self, model: Any, tokenizer: Any, form: Form, max_tokens: int) -> None:
        self.tokenizer = tokenizer
        self._model, self._form = model.eval(), form
        most = model.config.max_position_embeddings
        self._max_tokens = min(form.max_tokens, max_tokens, tokenizer.model_max_length, most)
        self._turn = threading.Lock()  # tokenizers refuse to work for a second thread while their settings change

    def encode(self, texts: list[str]) -> Float32s:
        """Return the vectors [b, d] of texts, each of unit length."""
        import torch

        with self._turn:
            tokens = self.tokenizer(
                texts, padding=True, truncation="longest_first", max_length=self._max_tokens, return_tensors="pt"
            )
        with torch.inference_mode():
            states = self._model(**tokens).last_hidden_state  # [b, t, d]
            pooled = states[:, 0] if self._form.first_token else _mean(states, tokens["attention_mask"])
            vectors: Float32s = torch.nn.functional.normalize(pooled, dim=1).numpy()
        return vectors


def load(folder: Path, max_tokens: int) -> PlainEncoder | None:
    """Load an encoder of the plain form, None where it has another, or may compute elsewhere than on the CPU.

    Raises:
        ImportError: transformers is not installed.
        OSError, ValueError: its files cannot be read.
    """
    form = read_form(folder)
    if form is None:
        return None
    import torch

    if torch.accelerator.is_available():
        return None
    with quick_transformers():
        from transformers import AutoTokenizer
        from transformers.models.bert.modeling_bert import BertModel

    model: Any = BertModel.from_pretrained(folder, local_files_only=True)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    if model.dtype != torch.float32 or tokenizer.padding_side != "right":
        return None
    return PlainEncoder(model, tokenizer, form, max_tokens)


def read_form(folder: Path) -> Form | None:
    """Return how the encoder in a folder reads and pools, None where it is not plain."""
    modules, whole, reading = (
        _settings(folder / name)
        for name in ("modules.json", "config_sentence_transformers.json", "sentence_bert_config.json")
    )
    if not isinstance(modules, list) or not isinstance(whole, dict) or not isinstance(reading, dict):
        return None
    model, pooling = _settings(folder / "config.json"), _settings(folder / "1_Pooling" / "config.json")
    plain = (
        all(isinstance(module, dict) for module in modules)
        and [module.get("path") for module in modules[:2]] == ["", "1_Pooling"]
        and all(_is_one(module, name) for module, name in zip(modules, _FORM, strict=False))
        and len(modules) in (2, 3)  # vectors are brought to unit length in any case
        and all(key in _WITHOUT_MEANING or not value for key, value in whole.items())
        and isinstance(model, dict)
        and model.get("model_type") == "bert"
        and not model.keys() & {"auto_map", "quantization_config"}
        and model.get("is_decoder") is not True
        and reading.keys() <= _READ
        and not reading.get("do_lower_case")
        and isinstance(reading.get("max_seq_length"), int)
        and not (folder / "adapter_config.json").exists()
    )
    kinds = _kinds(pooling) if plain and isinstance(pooling, dict) else None
    return Form(reading["max_seq_length"], kinds == ["cls"]) if kinds in (["mean"], ["cls"]) else None


def _is_one(module: Any, name: str) -> bool:
    """Return whether a module is the one of sentence-transformers with this name."""
    kind = str(module.get("type"))
    return kind.startswith("sentence_transformers.") and kind.endswith(f".{name}")


def _kinds(pooling: dict[str, Any]) -> list[str] | None:
    """Return how the states are pooled, None where something else is set."""
    older = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    if pooling.get("include_prompt", True) is not True:
        return None
    given = {key: value for key, value in pooling.items() if key not in {*_WIDTHS, "include_prompt"} and value}
    if isinstance(kind := given.pop("pooling_mode", None), str):
        return [kind] if not given else None
    return [older.get(key, key) for key in given] if kind is None else None


def _mean(states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Return the mean [b, d] of the states of each text's own tokens."""
    own = mask.unsqueeze(-1).to(states.dtype)
    return (states * own).sum(dim=1) / own.sum(dim=1).clamp(min=1e-9)


def _settings(file: Path) -> Any:
    """Return what a JSON file says, None where it cannot be read."""
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError):
        return None
