"""Encode: texts to the vectors that the orchestrator learns from and predicts with.

Knows nothing of experts. The encoder is any sentence encoder that `sentence-transformers` loads, and is
loaded once per process.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from leeroo.engine.errors import RouterError
from leeroo.engine.weights import locate

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Float32s = npt.NDArray[np.float32]

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"

# A question's subject and kind show in its first tokens, and time grows with their number.
MAX_TOKENS = 256
# Far more characters than that many tokens hold, so that a text of megabytes is not tokenised whole.
_MAX_CHARACTERS = 32 * MAX_TOKENS
# Tokens in a batch. On a CPU, what a layer works on should stay in the cache; on a GPU, fill it.
_BATCH_TOKENS = {"cpu": 1024, "cuda": 65536}

# The model and its tokenizer are not made for several threads at once.
_one_at_a_time = threading.Lock()


def encode(texts: Sequence[str], encoder: str = DEFAULT_ENCODER) -> Float32s:
    """Vectors of unit length, float32 [n, d]; a text's vector does not depend on the others beyond 1e-6.

    Only the first `MAX_TOKENS` tokens of a text are read. Batches are filled by number of tokens, texts of
    like length together, which pads less than a fixed number of texts does (104 against 82 MMLU questions
    per second on two cores). Memory: the result, and one batch.

    Args:
        texts: Any strings; what is not valid Unicode in them is replaced.
        encoder: A hub id or a folder, as `weights.locate` takes it.

    Raises:
        PoolError: the encoder is nowhere to be found.
        RouterError: it is found, but is no encoder or cannot be loaded.
    """
    with _one_at_a_time:
        model = _load(encoder)
        readable = [text[:_MAX_CHARACTERS].encode("utf-8", "replace").decode() for text in texts]
        vectors = np.empty((len(texts), _dimension(model)), np.float32)
        for batch in _batches(_lengths(model, readable), _BATCH_TOKENS.get(model.device.type, 1024)):
            vectors[batch] = model.encode(
                [readable[i] for i in batch],
                batch_size=len(batch),
                show_progress_bar=False,
                normalize_embeddings=True,
            )
        return vectors


@lru_cache(maxsize=2)
def _load(encoder: str) -> SentenceTransformer:
    folder = locate(encoder)
    try:
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging
    except ImportError as error:
        raise RouterError(
            f"the encoder {encoder!r} needs sentence-transformers: pip install 'leeroo[local]'"
        ) from error
    had_bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model = SentenceTransformer(str(folder), local_files_only=True)
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise RouterError(f"the encoder {encoder!r} cannot be loaded from {folder}: {reason}") from error
    finally:
        if had_bar:
            logging.enable_progress_bar()
    model.max_seq_length = min(model.max_seq_length or MAX_TOKENS, MAX_TOKENS)
    return model


def _dimension(model: SentenceTransformer) -> int:
    dimension = model.get_embedding_dimension()
    return dimension if dimension else int(model.encode(["?"], show_progress_bar=False).shape[1])


def _lengths(model: SentenceTransformer, texts: Sequence[str]) -> npt.NDArray[np.int64]:
    """Tokens of each text, or a guess where the tokenizer is of a kind that does not say."""
    if texts and callable(model.tokenizer):
        tokenizer: Any = model.tokenizer
        tokens = tokenizer(texts, truncation=True, max_length=MAX_TOKENS)["input_ids"]
        return np.array([max(1, len(ids)) for ids in tokens])
    return np.array([min(MAX_TOKENS, 1 + len(text) // 4) for text in texts], np.int64)


def _batches(lengths: npt.NDArray[np.int64], batch_tokens: int) -> list[npt.NDArray[np.int64]]:
    """Indices in batches of at most `batch_tokens` tokens with padding, the longest first."""
    order = np.argsort(-lengths, kind="stable")
    batches = []
    while len(order):
        size = max(1, batch_tokens // int(lengths[order[0]]))
        batches.append(order[:size])
        order = order[size:]
    return batches
