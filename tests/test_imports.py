"""The house: imports go downwards only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import leeroo


def test_no_floor_is_climbed() -> None:
    """import-linter finds no import against the order of the rooms."""
    command = [str(Path(sys.executable).with_name("lint-imports"))]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_public_names_are_listed() -> None:
    """dir() shows what can be used before any of it is imported."""
    assert set(leeroo.__all__) <= set(dir(leeroo))
    assert all(getattr(leeroo, name) is not None for name in leeroo.__all__)
