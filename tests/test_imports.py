"""The house: imports go downwards only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_no_floor_is_climbed() -> None:
    """import-linter finds no import against the order of the rooms."""
    command = [str(Path(sys.executable).with_name("lint-imports"))]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
