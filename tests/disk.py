"""A small disk for tests of full ones."""

from __future__ import annotations

import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

DISK_BYTES = 2 * 2**20


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Make a disk of 2 MiB; where none may be mounted, a folder, in which `limit_files` ends the room as well."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    try:
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", "-l", folder], check=True)


def limit_files() -> None:
    """Let this process write no file that is larger than the disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (DISK_BYTES, DISK_BYTES))
