"""Shown images: those of one request, as a backend reads them."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from leeroo.engine.images.pixels import NoImage, data_url, decode

Result = TypeVar("Result")


@dataclass(frozen=True)
class ShownImage:
    """An image of a request, a row of `schema.IMAGE`.

    Attributes:
        mark: The text in the prompt where it stands.
        width, height: Of the file, in pixels.
        path: Its file.
        data: Its bytes, in place of a file.
    """

    mark: str
    width: int = 0
    height: int = 0
    path: str | None = None
    data: bytes | None = None

    def read(self) -> bytes:
        """Return the bytes of its file.

        Raises:
            NoImage: they cannot be read.

        """
        if self.data is not None:
            return self.data
        try:
            return Path(self.path or "").read_bytes()
        except OSError as error:
            raise NoImage(f"its file cannot be read: {error.strerror or error}") from error

    def pixels(self, longest: int) -> Any:
        """Return it decoded, with no side longer than that many pixels; raises as `read`."""
        return self._named(lambda: decode(self.read(), longest))

    def url(self, longest: int) -> str:
        """Return it as a data: URL, with no side longer than that many pixels; raises as `read`.

        It is encoded once: other requests of the run find the text beside its file.
        """
        if self.path is None:
            return self._named(lambda: data_url(self.read(), longest))
        kept = Path(f"{self.path}.{longest}")
        if kept.exists():
            return kept.read_text()
        text = self._named(lambda: data_url(self.read(), longest))
        part = kept.with_name(f"{kept.name}.{uuid.uuid4().hex}")
        part.write_text(text)
        os.replace(part, kept)
        return text

    def _named(self, work: Callable[[], Result]) -> Result:
        """Do some work; its error names the image."""
        try:
            return work()
        except NoImage as error:
            raise NoImage(f"{self.mark}: {error}") from error
