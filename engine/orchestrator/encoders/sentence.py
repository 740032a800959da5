"""Sentence encoders: any model that `sentence-transformers` loads; one vector of unit length for each text.

Knows nothing of the vectors on disk.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from leeroo.engine.arrays import Float32s, Int64s
from leeroo.engine.errors import RouterError
from leeroo.engine.orchestrator.encoders import plain
from leeroo.engine.orchestrator.encoders.batching import MAX_CHARACTERS, MAX_TOKENS, Passes, batches, in_parallel
from leeroo.engine.process.imports import quick_transformers

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# Tokens in a batch. On a CPU, what a layer works on should stay in the cache; on a GPU, fill it.
_BATCH_TOKENS = {"cpu": 1024, "cuda": 65536}


def passes(name: str, folder: Path, weights_hash: str, texts: Sequence[str]) -> Passes:
    """Yield vectors of unit length; only the first `MAX_TOKENS` tokens of a text are read.

    Args:
        name: The model as the user called it, for messages.
        folder: Where its files are.
        weights_hash: Fingerprint of those files; the model is loaded again when it changes.
        texts: Valid Unicode.

    Raises:
        RouterError: it cannot be loaded.
    """
    model = _load(name, folder, weights_hash)
    beginnings = [text[:MAX_CHARACTERS] for text in texts]

    def run(batch: Int64s) -> Float32s:
        return model.encode([beginnings[i] for i in batch])

    filled = batches(_lengths(model.tokenizer, beginnings), _BATCH_TOKENS.get(model.device, 1024))
    for batch, vectors in in_parallel(run, filled, on_cpu=model.device == "cpu"):
        yield batch, [vectors]


@dataclass(frozen=True)
class _Encoder:
    """A loaded encoder."""

    encode: Callable[[list[str]], Float32s]  # vectors [b, d] of unit length, of any texts
    tokenizer: Any
    device: str


@lru_cache(maxsize=2)
def _load(name: str, folder: Path, weights_hash: str) -> _Encoder:  # noqa: ARG001 - the hash is a cache key
    """Load an encoder, once per process for as long as its files stay the same.

    One of the plain form is loaded with transformers alone, any other with sentence-transformers.

    Raises:
        RouterError: it cannot be loaded.
    """
    # Where it cannot be loaded, sentence-transformers says why, as it does for the encoders of other forms.
    with contextlib.suppress(Exception), _without_bars():
        if (simple := plain.load(folder, MAX_TOKENS)) is not None:
            return _Encoder(simple.encode, simple.tokenizer, "cpu")
    model = load(name, folder)

    def encode(texts: list[str]) -> Float32s:
        encoded = model.encode(texts, batch_size=len(texts), show_progress_bar=False, normalize_embeddings=True)
        return np.asarray(encoded, np.float32)

    return _Encoder(encode, model.tokenizer, model.device.type)


def load(name: str, folder: Path) -> SentenceTransformer:
    """Load the model with sentence-transformers.

    Raises:
        RouterError: it cannot be loaded.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise RouterError(
            f"the encoder {name!r} needs sentence-transformers: pip install 'leeroo[local]' ({error})"
        ) from error
    try:
        with _without_bars():
            model = SentenceTransformer(str(folder), local_files_only=True)
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise RouterError(f"the encoder {name!r} cannot be loaded from {folder}: {reason}") from error
    model.max_seq_length = min(model.max_seq_length or MAX_TOKENS, MAX_TOKENS)
    _take_turns(model)
    return model


@contextlib.contextmanager
def _without_bars() -> Iterator[None]:
    """Let transformers draw no progress bars."""
    with quick_transformers():
        from transformers.utils import logging
    had_bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if had_bar:
            logging.enable_progress_bar()


def _take_turns(model: Any) -> None:
    """Let one thread at a time tokenise: tokenizers refuse to work for a second one while their settings change."""
    turn = threading.RLock()
    for name in ("preprocess", "tokenize"):
        if tokenise := getattr(model, name, None):
            setattr(model, name, _one_by_one(tokenise, turn))


def _one_by_one(function: Callable[..., Any], turn: threading.RLock) -> Callable[..., Any]:
    def in_turn(*args: Any, **kwargs: Any) -> Any:
        with turn:
            return function(*args, **kwargs)

    return in_turn


def _lengths(tokenizer: Any, texts: Sequence[str]) -> Int64s:
    """Count the tokens of each text, or guess where the tokenizer does not give them."""
    if texts and callable(tokenizer):
        read: Any = tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)
        return np.array([max(1, len(ids)) for ids in read["input_ids"]])
    return np.array([min(MAX_TOKENS, 1 + len(text) // 4) for text in texts], np.int64)
