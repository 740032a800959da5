"""What the checks of a loaded model found before on this machine: they compute for as long as a model takes to load.

It knows nothing of what is checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from pathlib import Path

import torch
import transformers

from leeroo.engine.paths import cache_folder
from leeroo.engine.weights import fingerprint

# Raised when the checks, or what they check, change.
_CHECKS = 1


def place(folder: Path, *how: object) -> Path:
    """Return the file for what is found of a model.

    Args:
        folder: The model's files.
        how: All that it was loaded with, in words: class, device, kind of numbers, attention.
    """
    code = [_CHECKS, torch.__version__, transformers.__version__]
    key = json.dumps([*map(str, code), fingerprint(folder), *map(str, how)])
    return cache_folder() / "checked" / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.json"


def read(file: Path) -> bool | None:
    """Return what was found, None where nothing is known or can be read."""
    try:
        found = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, bool) else None


def keep(file: Path, found: bool) -> None:
    """Keep what was found; whole or not at all, and not where nothing can be written."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor, part = tempfile.mkstemp(dir=file.parent)
        with os.fdopen(descriptor, "w") as writing:
            writing.write(json.dumps(found))
        Path(part).replace(file)
