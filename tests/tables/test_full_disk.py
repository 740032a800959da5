"""A full disk is one line, wherever the room ends, and what was answered is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.disk import limit_files


@pytest.mark.parametrize("command", ["run", "label", "solve"])
def test_a_full_disk_is_one_line(tmp_path: Path, pool_file: Path, small_disk: Path, command: str) -> None:
    """Store and working files find no room: exit code 2, one line, no half table."""
    texts = [f"What is {i % 40} plus {i % 40}?{' ' * (i % 7)}{'x' * 3000 if i > 40 else ''}" for i in range(3_000)]
    # Text that does not shrink when it is packed.
    texts = [text.replace("x" * 3000, os.urandom(1500).hex()) for text in texts]
    pq.write_table(pa.table({"question": texts}), tmp_path / "t.parquet")
    labels = ["--labels", "a,b", "--column", "question"] if command == "label" else []
    place = ["--out", str(tmp_path / "o.parquet"), "--store", str(small_disk / "store"), "--pool", str(pool_file)]
    done = subprocess.run(
        [sys.executable, "-m", "leeroo", command, str(tmp_path / "t.parquet"), *labels, *place],
        capture_output=True,
        text=True,
        timeout=300,
        preexec_fn=None if small_disk.is_mount() else limit_files,
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("leeroo: ")
    assert not (tmp_path / "o.parquet").exists()
