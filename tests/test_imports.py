"""The house: imports go downwards only."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import leeroo


def test_no_floor_is_climbed() -> None:
    """import-linter finds no import against the order of the rooms."""
    command = [str(Path(sys.executable).with_name("lint-imports"))]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


NAMES = [
    "Criteria",
    "Engine",
    "LeerooError",
    "Router",
    "RowsFailedWarning",
    "answer",
    "answer_async",
    "connect",
    "decide",
    "evaluate",
    "explain",
    "extract",
    "label",
    "open_engine",
    "register",
    "report",
    "solve",
    "sql",
    "train",
]


def test_the_public_names_are_exactly_these() -> None:
    """`dir` shows them and nothing else, before any of it is imported; each can be imported."""
    assert [name for name in leeroo.__all__ if not name.startswith("_")] == NAMES
    assert [name for name in dir(leeroo) if not name.startswith("_")] == NAMES
    assert all(getattr(leeroo, name) is not None for name in NAMES)
    with pytest.raises(AttributeError, match="module 'leeroo' has no attribute 'anwser'"):
        leeroo.anwser  # noqa: B018 (looked up only)
