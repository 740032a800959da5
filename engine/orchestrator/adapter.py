"""Adapter: a fine-tuned language model that is part of a router."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Adapter:
    """A folder with a LoRA adapter as peft writes it, and the point where states are read, such as '30-mean'."""

    folder: Path
    point: str

    @property
    def encoder(self) -> str:
        """The name that `encode` takes."""
        return f"{self.folder}@{self.point}"

    @property
    def names(self) -> list[str]:
        """Its identity, wherever it lies: its point, and SHA-256 of its files."""
        digest = hashlib.sha256()
        for file in sorted(self.folder.iterdir()):
            digest.update(file.read_bytes())
        return [self.point, digest.hexdigest()]
