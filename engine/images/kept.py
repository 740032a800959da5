"""Kept images: the bytes of each image once, in a folder of one run, named by their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa

from leeroo.engine.images.pixels import NoImage, size_of
from leeroo.engine.images.references import Sources, is_url, read_reference

# Web addresses that are fetched at the same time.
_AT_ONCE = 16

# An image of a question once it was read.
KEPT = pa.struct(
    [
        pa.field("digest", pa.string()),  # SHA-256 of the file; of the reference, where there is no image
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("why", pa.string()),  # why there is none
    ]
)


class KeptImage(NamedTuple):
    """A row of `KEPT`."""

    digest: str
    width: int = 0
    height: int = 0
    why: str | None = None


class Shelf:
    """The images of one run on disk.

    Attributes:
        folder: Has a file for each image.
    """

    def __init__(self, folder: Path, sources: Sources) -> None:
        self.folder, self._sources = folder, sources
        self._known: dict[bytes, KeptImage] = {}  # by hash of the reference

    def keep(self, rows: Iterable[list[str | None] | None]) -> list[list[KeptImage] | None]:
        """Read the images of rows, by their references, and keep each once."""
        given = [None if row is None else [(_name(each or ""), each or "") for each in row] for row in rows]
        new = {name: each for row in given for name, each in row or () if name not in self._known}
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            fetched = {name: threads.submit(self._read, each) for name, each in new.items() if is_url(each)}
            self._known |= {name: self._read(each) for name, each in new.items() if name not in fetched}
            self._known |= {name: done.result() for name, done in fetched.items()}
        return [None if row is None else [self._known[name] for name, _ in row] for row in given]

    def _read(self, reference: str) -> KeptImage:
        try:
            data = read_reference(reference, self._sources)
            image = KeptImage(hashlib.sha256(data).hexdigest(), *size_of(data))
        except NoImage as error:
            return KeptImage(_name(reference).hex(), why=str(error))
        self.folder.mkdir(mode=0o700, exist_ok=True)
        file = self.folder / image.digest
        if not file.exists():
            file.write_bytes(data)
        return image


def _name(reference: str) -> bytes:
    return hashlib.sha256(reference.encode("utf-8", "replace")).digest()
