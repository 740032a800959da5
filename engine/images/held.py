"""Held images: bytes that a caller hands to an engine before it asks about them, each once, in a file.

Questions then refer to an image by its hash, so that tables of questions stay small.
"""

from __future__ import annotations

import shutil
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path

from filelock import BaseFileLock

from leeroo.engine import locks


class HeldImages:
    """A folder beside the working files of runs, made for the first image; removed on `close`.

    Its lock lives as long as its process: `locks.sweep` removes what a killed process leaves behind.

    Attributes:
        folder: Has a file for each image, named by its SHA-256.
    """

    def __init__(self, parent: Path) -> None:
        self.folder = parent / f"images-{uuid.uuid4().hex}"
        self._guard = threading.Lock()
        self._lock: BaseFileLock | None = None

    def hold(self, images: Mapping[str, bytes]) -> None:
        """Keep images, by their hashes."""
        with self._guard:
            if images and self._lock is None:
                # Locked before it exists: at no moment does it look like an abandoned folder.
                self._lock = locks.take(self.folder.with_suffix(".lock"))
                self.folder.mkdir(mode=0o700)
            for digest, data in images.items():
                file = self.folder / digest
                if not file.exists():
                    file.write_bytes(data)

    def close(self) -> None:
        """Remove the folder and all in it."""
        with self._guard:
            if self._lock is not None:
                shutil.rmtree(self.folder, ignore_errors=True)
                locks.give_back(self._lock)
                self._lock = None
