"""Where outputs go: checked before anything is spent, whole or absent, and never in the place of something foreign."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from leeroo.engine.errors import OutputError

# Open descriptors of this process: written to where they stand, also when the shell has led them into a file.
_DESCRIPTOR = re.compile(r"(?:/dev/fd|/proc/self/fd)/(\d+)")
_STANDARD = {"-": 1, "/dev/stdout": 1, "/dev/stderr": 2}
# Bytes of a name that a hidden file beside it repeats: the rest of 255 is for the process and the suffix.
_NAME_BYTES = 200


@dataclass(frozen=True)
class Keep:
    """Paths that an output may not replace.

    Attributes:
        inputs: Files and folders that the command reads.
        store: Folder of the answer store.
        overwrite: An input may be replaced, once the output is whole.
    """

    inputs: Sequence[str | Path] = ()
    store: Path | None = None
    overwrite: bool = False


def is_stream(out: str | Path) -> bool:
    """Return whether `out` is written to as it stands: standard output ('-'), a pipe or a device."""
    if _descriptor(out) is not None:
        return True
    path = Path(out)
    with contextlib.suppress(OSError):
        return path.exists() and not path.is_file() and not path.is_dir()
    return False


def is_standard_output(out: str | Path | None) -> bool:
    """Return whether what is written to `out` appears on standard output."""
    return out is not None and _descriptor(out) == 1


def check_place(out: str | Path, keep: Keep = Keep()) -> Path:
    """Check that a new file or folder may stand at `out`; return its path behind all links.

    Raises:
        OutputError: an input or the answer store is there, or the place cannot be written.
    """
    path = Path(os.path.realpath(out))
    _check_kept(out, path, keep)
    if not path.parent.is_dir():
        raise OutputError(f"the folder {path.parent} does not exist: make it first")
    try:
        with contextlib.suppress(FileNotFoundError):
            os.stat(path)
            if not os.access(path, os.W_OK):
                raise OutputError(f"{out} may not be written: change its permissions, or name another place")
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror}") from error
    try:
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise OutputError(f"cannot write in the folder {path.parent}: {error.strerror}") from error
    return path


def _check_kept(out: str | Path, path: Path, keep: Keep) -> None:
    store = keep.store and Path(os.path.realpath(keep.store))
    if store and (path.is_relative_to(store) or store.is_relative_to(path)):
        raise OutputError(f"{out} would stand in the place of the answer store {store}: name another place")
    for source in () if keep.overwrite else keep.inputs:
        there = Path(os.path.realpath(source))
        if path.is_relative_to(there) or there.is_relative_to(path):
            raise OutputError(f"{out} would replace the input {source}: name another output, or say --overwrite")


@contextlib.contextmanager
def new_file(out: str | Path) -> Iterator[Path]:
    """Give a path to write a file to, which stands at `out` when the block has ended without an error.

    What stood there before stays until then. A link stays, and its target is replaced. A pipe or device is written to.

    Raises:
        OutputError: the disk is full, or the place cannot be written.
    """
    stream = is_stream(out)
    path = Path(tempfile.gettempdir(), "stream") if stream else Path(os.path.realpath(out))
    sweep(path)
    part = part_path(path)
    try:
        yield part
        if stream:
            _pour(part, out)
        else:
            _publish(part, path)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill, which stands at `path` when the block has ended without an error.

    What stood there before stays until then, and where the folders cannot be exchanged. Errors of the disk are raised
    as they are.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as staging:
        fresh, old = Path(staging) / "fresh", Path(staging) / "old"
        fresh.mkdir()
        yield fresh
        if path.exists():
            path.rename(old)
        try:
            fresh.rename(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise


def check_file(out: str | Path, suffix: str, keep: Keep = Keep()) -> None:
    """Check that a page, picture or text can be written, before anything is spent on what goes into it.

    Raises:
        OutputError: its name does not end in `suffix`, it is a folder, or as `check_place`.
    """
    if is_stream(out):
        return
    if Path(out).suffix.lower() != suffix:
        raise OutputError(f"{out} would be written as {suffix[1:].upper()}: give it a name that ends in {suffix}")
    if check_place(out, keep).is_dir():
        raise OutputError(f"{out} is a folder: name a file in it")


def check_own(folder: Path, names: Collection[str]) -> None:
    """Check that a folder that will be replaced holds nothing but files and folders of these names.

    Raises:
        OutputError: it does.
    """
    for each in sorted(folder.iterdir()) if folder.is_dir() else ():
        if each.name not in names:
            raise OutputError(f"{folder} also holds {each.name}: name another folder, or move it away")


def write_file(text: str, out: str | Path) -> None:
    """Write a text, to be seen under its name only when it is whole.

    Raises:
        OutputError: the disk is full, or the place cannot be written.
    """
    with new_file(out) as part:
        part.write_text(text, encoding="utf-8")


def part_path(path: Path) -> Path:
    """Return the hidden path beside `path` where this process writes what is to stand there."""
    return path.parent / f"{_hidden_path(path)}.{os.getpid()}.part"


def sweep(path: Path) -> None:
    """Remove what killed processes have left beside `path`."""
    for part in path.parent.glob(f"{glob.escape(_hidden_path(path))}.*.part"):
        owner = part.name.split(".")[-2]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            remove_parts(part)


def remove_parts(part: Path) -> None:
    """Remove a hidden file of ours, or a hidden folder and the files in it, as far as that can be done."""
    with contextlib.suppress(OSError):
        if part.is_dir():
            for each in part.iterdir():
                each.unlink()
            part.rmdir()
        else:
            part.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _publish(part: Path, path: Path) -> None:
    sync(part)
    if path.exists():
        shutil.copymode(path, part)
    part.replace(path)
    sync(path.parent)


def _pour(part: Path, out: str | Path) -> None:
    descriptor = _descriptor(out)
    if descriptor == 1:
        sys.stdout.flush()
    with part.open("rb") as file, open(out if descriptor is None else os.dup(descriptor), "wb") as stream:
        shutil.copyfileobj(file, stream)


def _descriptor(out: str | Path) -> int | None:
    """Return the number of the open descriptor that a name stands for."""
    found = _DESCRIPTOR.fullmatch(str(out))
    return int(found.group(1)) if found else _STANDARD.get(str(out))


def _hidden_path(path: Path) -> str:
    return "." + os.fsencode(path.name)[:_NAME_BYTES].decode("utf-8", "ignore")
