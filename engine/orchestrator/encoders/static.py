"""Static encoders: a vector for every token, and their mean for a text. For tables of millions.

They are distilled from a sentence encoder without any text (model2vec: Tulkens & van Dongen 2024). The encoder reads
each token of its vocabulary alone, and the vectors are rotated onto their principal components. Frequent tokens, which
stand early in the vocabulary, count less.
"""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock

from leeroo.engine.errors import RouterError
from leeroo.engine.orchestrator.encoders import sentence
from leeroo.engine.orchestrator.encoders.batching import MAX_CHARACTERS, Passes
from leeroo.engine.paths import cache_folder

if TYPE_CHECKING:
    from model2vec import StaticModel

# Part of the folder's name in the cache: raised when the distillation here changes.
_RECIPE = 1
DIMENSIONS = 256
_BATCH = 1024


def passes(name: str, folder: Path, weights_hash: str, texts: Sequence[str]) -> Passes:
    """Yield vectors of unit length, [b, 256] or less; a text in which no token is known has zeros.

    Only the first `MAX_CHARACTERS` characters of a text are read.

    Args:
        name: The sentence encoder it is distilled from, as the user called it, for messages.
        folder: Where that encoder's files are.
        weights_hash: Fingerprint of those files.
        texts: Valid Unicode.

    Raises:
        RouterError: the encoder cannot be distilled.
    """
    model = _load(name, folder, weights_hash)
    for start in range(0, len(texts), _BATCH):
        some = [text[:MAX_CHARACTERS] for text in texts[start : start + _BATCH]]
        # Its own threads would compete with those of the tokenizer, and turn the latter off for good.
        vectors = model.encode(some, batch_size=_BATCH, use_multiprocessing=False)
        yield np.arange(start, start + len(some)), [vectors.astype(np.float32, copy=False)]


@lru_cache(maxsize=2)
def _load(name: str, folder: Path, weights_hash: str) -> StaticModel:
    try:
        from model2vec import StaticModel
        from safetensors import SafetensorError
    except ImportError as error:
        raise RouterError(
            f"the encoder 'static:{name}' needs model2vec: pip install 'leeroo[local]' ({error})"
        ) from error
    home = cache_folder() / "static"
    kept = home / f"{folder.name}-{weights_hash[:16]}-{_RECIPE}"
    try:
        home.mkdir(parents=True, exist_ok=True)
        # Two processes may want it at once: the second waits and finds it done.
        with FileLock(f"{kept}.lock"):
            if not kept.is_dir():
                making = kept.with_name(kept.name + ".part")
                shutil.rmtree(making, ignore_errors=True)
                _distill(name, folder).save_pretrained(making)
                making.rename(kept)
        return StaticModel.from_pretrained(kept)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise RouterError(
            f"the static encoder in {kept} cannot be made or read ({error}): remove that folder"
        ) from error


def _distill(name: str, folder: Path) -> StaticModel:
    from model2vec.distill import distill_from_model

    teacher: Any = sentence.load(name, folder)  # a copy of its own, because distilling changes it
    # It draws a progress bar that cannot be turned off.
    with contextlib.redirect_stderr(io.StringIO()):
        return distill_from_model(
            teacher[0].auto_model, teacher.tokenizer, device="cpu", pca_dims=DIMENSIONS, quantize_to="float32"
        )
