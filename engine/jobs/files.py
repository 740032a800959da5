"""Files: the pictures and pages that a job writes beside its numbers."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from leeroo.engine.errors import OutputError


def check_file(out: Path, suffix: str) -> None:
    """Check that a file can be written, before anything is spent on what goes into it.

    Raises:
        OutputError: its name does not end in `suffix`, it is a folder, or its folder is absent or may not be written.
    """
    if out.suffix.lower() != suffix:
        raise OutputError(f"{out} would be written as {suffix[1:].upper()}: give it a name that ends in {suffix}")
    if out.is_dir():
        raise OutputError(f"{out} is a folder: name a file in it")
    folder = out.resolve().parent
    if not folder.is_dir():
        raise OutputError(f"the folder {folder} does not exist: make it first")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(f"cannot write in the folder {folder}: {error.strerror}") from error


def write_file(text: str, out: Path) -> None:
    """Write a text, to be seen under its name only when it is whole.

    Raises:
        OutputError: the disk is full, or the place cannot be written.
    """
    part = out.parent / f".{out.name}.{os.getpid()}.part"
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(out)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error
