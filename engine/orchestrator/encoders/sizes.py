"""Sizes of vectors, from the files of a model: nothing is loaded and nothing is fetched."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from leeroo.engine.orchestrator.encoders.encode import DEFAULT_ENCODER
from leeroo.engine.orchestrator.encoders.static import DIMENSIONS
from leeroo.engine.weights import find

# The size of `DEFAULT_ENCODER`, which is known where its files are not on this machine, too.
_DEFAULT_SIZE = 384
_LAYER = re.compile(r"@\d+-(mean|last)$")


def vector_size(encoder: str) -> int | None:
    """Return how many numbers a vector of an encoder, or of a model that embeds, has; None where that is not known."""
    if encoder == "static" or encoder.startswith("static:"):
        name = encoder.removeprefix("static").removeprefix(":") or DEFAULT_ENCODER
        whole = vector_size(name)
        return None if whole is None else min(whole, DIMENSIONS)
    if encoder == DEFAULT_ENCODER:
        return _DEFAULT_SIZE
    folder = find(encoder if Path(encoder).exists() else _LAYER.sub("", encoder))
    return None if folder is None or folder.is_file() else _size_of(folder)


def usual_encoder(encoders: Sequence[str]) -> str:
    """Return the encoder for similarities among those of a router: its first one of sentences, else the default."""
    return next((each for each in encoders if _LAYER.search(each) is None), DEFAULT_ENCODER)


def _size_of(folder: Path) -> int | None:
    """Return the size of the last module of a sentence encoder that changes it, else that of the hidden states."""
    config = _read(folder / "config.json")
    text = config.get("text_config")
    size = config.get("hidden_size") or (text.get("hidden_size") if isinstance(text, dict) else None)
    for module in _read(folder / "modules.json").get("modules", []):
        settings = _read(folder / str(module.get("path", "")) / "config.json")
        pooled = settings.get("word_embedding_dimension") or settings.get("embedding_dimension")
        modes = [value for name, value in settings.items() if name.startswith("pooling_mode_") and value is True]
        size = settings.get("out_features") or (pooled * max(len(modes), 1) if pooled else size)
    return int(size) if isinstance(size, int) else None


def _read(file: Path) -> dict[str, Any]:
    """Return the JSON of a file; a list under the name `modules`, nothing where it cannot be read."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {"modules": found} if isinstance(found, list) else found if isinstance(found, dict) else {}
