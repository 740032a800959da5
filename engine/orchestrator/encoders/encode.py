"""Encode texts into the vectors that the orchestrator learns from and predicts with.

Knows nothing of experts. An encoder is a string:

    static, static:NAME     token vectors distilled from the sentence encoder NAME (default: `DEFAULT_ENCODER`), for
                            tables of millions
    NAME                    a sentence encoder: a hub id or a folder
    NAME@22-mean            hidden states of a causal language model after its layer 22, the mean over its tokens;
                            22-last: of the last token. Without a layer, `candidates` has those to choose from.
    FOLDER@30-last          the same, from a folder with a LoRA adapter

Models are loaded once per process. Their vectors are kept on disk, except those of static encoders, which are made in
microseconds.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np

from leeroo.engine.arrays import Float32s, Int64s
from leeroo.engine.errors import RouterError
from leeroo.engine.orchestrator.encoders import hidden, sentence, static, vectors
from leeroo.engine.orchestrator.encoders.batching import MAX_TOKENS, Passes
from leeroo.engine.paths import cache_folder
from leeroo.engine.weights import check_known, fingerprint, locate

__all__ = ["DEFAULT_ENCODER", "MAX_TOKENS", "candidates", "encode", "encode_all"]

DEFAULT_ENCODER = "sentence-transformers/all-MiniLM-L6-v2"

OnProgress = Callable[[int, int], None]

# Part of every key on disk: raised when the code reads or encodes a text in another way.
_RECIPE = 1
_PINNED = re.compile(r"(.+)@(\d+)-(mean|last)", re.DOTALL)
# Texts that are tokenised together, and ordered by length.
_WINDOW = 8192
# Texts that are encoded and stored at a time: at first, and twice as many as long as they take less than half of that.
_PART, _PART_S = 64, 3.0
# Seconds between two looks at what another process encodes. Nobody waits longer than the second number for the same
# part: its owner may hang.
_POLL_S, _PATIENCE_S = 0.2, 60.0

# The models, their tokenizers and the database connection do not support several threads at once.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class _Spec:
    """A parsed encoder: the kind, the model, and the point of its hidden states if it has one."""

    kind: Literal["static", "sentence", "hidden"]
    name: str
    folder: Path
    point: hidden.StatePoint | None = None


@dataclass(frozen=True)
class _Pending:
    """Texts that a model still has to encode: indices of the distinct texts, and keys [n] by encoder."""

    specs: dict[str, _Spec]
    weights_hash: str
    missing: Int64s
    keys: dict[str, list[bytes]]


def encode(texts: Sequence[str], encoder: str = DEFAULT_ENCODER) -> Float32s:
    """Encode texts into vectors, float32 [n, d].

    A vector does not depend on the other texts beyond 1e-6 of its length. Static and sentence encoders give vectors of
    unit length, hidden states have any length. Only the first
    `MAX_TOKENS` tokens of a text are read; for hidden states, the first and last. Memory: the result, and a batch.

    Args:
        texts: Any strings; characters that are not valid Unicode are replaced.
        encoder: A name as described above.

    Raises:
        PoolError: the model is nowhere to be found.
        RouterError: it is found, but is no encoder, cannot be loaded, or lacks that layer; or no layer is named.
    """
    return encode_all(texts, [encoder])[encoder]


def encode_all(
    texts: Sequence[str], specs: Sequence[str], on_progress: OnProgress | None = None
) -> dict[str, Float32s]:
    """Encode each text with each encoder, float32 [n, d]; layers of the same model share one pass.

    After each batch of a model, and while another process is waited for, `on_progress` is called with the texts encoded
    so far, and how many of the distinct texts were not on disk; an error that it raises ends the work. See `encode`.
    """
    number: dict[str, int] = {}
    row = np.array([number.setdefault(_readable(text), len(number)) for text in texts], np.int64)
    distinct = list(number) or [""]  # a text alone says how wide vectors are
    encoded: dict[str, Float32s] = {}
    with _one_at_a_time:
        all_pending = [_read_stored(of_model, distinct, encoded) for of_model in _by_model(specs)]
        total, done = sum(len(pending.missing) for pending in all_pending), 0

        def report(rows: int) -> None:
            nonlocal done
            done += rows
            if on_progress:
                on_progress(done, total)

        for pending in all_pending:
            _run(pending, distinct, encoded, report)
    return encoded if len(distinct) == len(texts) else {spec: of_distinct[row] for spec, of_distinct in encoded.items()}


def candidates(encoder: str) -> list[str]:
    """Return the encoders to choose from by validation: layers and poolings of a causal model, else the encoder alone.

    Raises:
        PoolError, RouterError: as `encode`.
    """
    spec = _read(encoder)
    if spec.kind != "hidden" or spec.point is not None:
        return [encoder]
    return [f"{encoder}@{layer}-{pooling}" for layer, pooling in hidden.candidates(spec.name, spec.folder)]


def check_encoder(encoder: str) -> None:
    """Check that the model of an encoder that a router folder names is not fetched unless its owner is known.

    Raises:
        PoolError: it is neither on this machine nor of a known owner.
    """
    pinned = None if Path(encoder).exists() else _PINNED.fullmatch(encoder)
    name = pinned[1] if pinned else encoder
    check_known(DEFAULT_ENCODER if name == "static" else name.removeprefix("static:"))


def _readable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _by_model(specs: Sequence[str]) -> list[dict[str, _Spec]]:
    models: dict[tuple[str, Path], dict[str, _Spec]] = {}
    for text in specs:
        spec = _read(text)
        if spec.kind == "hidden" and spec.point is None:
            raise RouterError(
                f"{text!r} is a causal language model: pin a layer and a pooling, as in '{text}@12-mean' "
                "(leeroo train chooses one by validation)"
            )
        models.setdefault((spec.kind, spec.folder), {})[text] = spec
    return list(models.values())


def _read(text: str) -> _Spec:
    if text == "static" or text.startswith("static:"):
        name = text.removeprefix("static").removeprefix(":") or DEFAULT_ENCODER
        return _Spec("static", name, _located(name, cache_folder()))
    pinned = None if Path(text).exists() else _PINNED.fullmatch(text)
    name = pinned[1] if pinned else text
    folder = _located(name, cache_folder())
    if pinned:
        if not hidden.is_causal(folder):
            raise RouterError(f"{text!r} pins a layer, but {name!r} is no causal language model: leave '@...' out")
        return _Spec("hidden", name, folder, hidden.StatePoint(int(pinned[2]), pinned[3]))
    whole = (folder / "modules.json").is_file() or not hidden.is_causal(folder)
    return _Spec("sentence" if whole else "hidden", name, folder)


# Finding a model may take a request to a model hub. GGUF files are converted into the folder `home`.
@lru_cache(maxsize=32)
def _located(name: str, home: Path) -> Path:  # noqa: ARG001
    return locate(name)


def _read_stored(specs: dict[str, _Spec], distinct: list[str], encoded: dict[str, Float32s]) -> _Pending:
    """Put the vectors that are on disk into `encoded`; return what is missing."""
    one = next(iter(specs.values()))
    weights_hash = hidden.weights_hash(one.folder) if one.kind == "hidden" else fingerprint(one.folder)
    if one.kind == "static":
        return _Pending(specs, weights_hash, np.arange(len(distinct)), {})
    keys, missing = {}, np.zeros(len(distinct), bool)
    for text, spec in specs.items():
        of_texts = _keys(f"{_RECIPE} {spec.kind} {weights_hash} {spec.point}", distinct)
        found, of_found = vectors.read(of_texts)
        if of_found is not None:
            _put(encoded, text, len(distinct), found, of_found)
        if len(found) < len(distinct):
            keys[text] = of_texts
            missing |= ~np.isin(np.arange(len(distinct)), found)
    return _Pending({text: specs[text] for text in keys}, weights_hash, np.flatnonzero(missing), keys)


def _keys(encoder: str, texts: Sequence[str]) -> list[bytes]:
    begun = encoder.encode() + b"\0"
    return [hashlib.sha256(begun + text.encode()).digest() for text in texts]


def _put(encoded: dict[str, Float32s], encoder: str, n: int, rows: Int64s, of_rows: Float32s) -> None:
    if encoder not in encoded:
        encoded[encoder] = np.empty((n, of_rows.shape[1]), np.float32)
    encoded[encoder][rows] = of_rows


def _run(pending: _Pending, distinct: list[str], encoded: dict[str, Float32s], report: Callable[[int], None]) -> None:
    """Encode what is missing, and store it in parts, so that a killed process loses no more than one."""
    windows = [pending.missing[start : start + _WINDOW] for start in range(0, len(pending.missing), _WINDOW)]
    if not pending.keys:
        for window in windows:
            _encode(pending, window, distinct, encoded, report)
        return
    claims = vectors.Claims()
    try:
        size = _PART
        for window in windows:
            # Texts of similar length share a batch, so they should share a part.
            order = np.argsort([-len(distinct[i]) for i in window], kind="stable")
            size = _share(claims, size, pending, window[order], distinct, encoded, report)
    finally:
        claims.release()


def _share(
    claims: vectors.Claims,
    size: int,
    pending: _Pending,
    rows: Int64s,
    distinct: list[str],
    encoded: dict[str, Float32s],
    report: Callable[[int], None],
) -> int:
    """Encode these texts in parts of that size, but those that other processes encode meanwhile; return the last size.

    Whoever comes second to a part waits for it, and for the next ones of the first: models use all cores as it is.
    """
    waiting_for, since = None, 0.0
    while len(rows):
        part = rows[:size]
        other = claims.claim([keys[i] for keys in pending.keys.values() for i in part])
        if other is not None and other != waiting_for:
            waiting_for, since = other, time.monotonic()
            rows = _read_missing(pending, rows, distinct, encoded, report)
            continue
        if other is not None and time.monotonic() - since < _PATIENCE_S:
            time.sleep(_POLL_S)
            report(0)
            continue
        rows = rows[size:]
        begun = time.monotonic()
        if len(part := _read_missing(pending, part, distinct, encoded, report)):
            _encode(pending, part, distinct, encoded, report)
            if time.monotonic() - begun < _PART_S / 2:
                size = min(2 * size, _WINDOW)
    return size


def _read_missing(
    pending: _Pending, rows: Int64s, distinct: list[str], encoded: dict[str, Float32s], report: Callable[[int], None]
) -> Int64s:
    """Read the vectors of these texts that others have stored by now; return the texts that are still missing."""
    missing = np.zeros(len(rows), bool)
    for encoder, keys in pending.keys.items():
        found, of_found = vectors.read([keys[i] for i in rows])
        if of_found is not None:
            _put(encoded, encoder, len(distinct), rows[found], of_found)
        missing |= ~np.isin(np.arange(len(rows)), found)
    if not missing.all():
        report(int((~missing).sum()))
    left: Int64s = rows[missing]
    return left


def _encode(
    pending: _Pending, rows: Int64s, distinct: list[str], encoded: dict[str, Float32s], report: Callable[[int], None]
) -> None:
    """Encode these texts and store their vectors, those before an interruption too."""
    fresh: list[tuple[bytes, Float32s]] = []
    try:
        for batch, of_batch in _passes(pending, [distinct[i] for i in rows]):
            for encoder, of_rows in zip(pending.specs, of_batch, strict=True):
                _put(encoded, encoder, len(distinct), rows[batch], of_rows)
                if pending.keys:
                    fresh += zip([pending.keys[encoder][i] for i in rows[batch]], of_rows, strict=True)
            report(len(batch))
    finally:
        if fresh:
            vectors.store(fresh)


def _passes(pending: _Pending, texts: Sequence[str]) -> Passes:
    one = next(iter(pending.specs.values()))
    if one.kind == "static":
        return static.passes(one.name, one.folder, pending.weights_hash, texts)
    if one.kind == "sentence":
        return sentence.passes(one.name, one.folder, pending.weights_hash, texts)
    points = [spec.point for spec in pending.specs.values() if spec.point is not None]
    return hidden.passes(one.name, one.folder, pending.weights_hash, points, texts)
