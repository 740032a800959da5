"""Options of runs for tests of Python's functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def options(pool_file: Path, tmp_path: Path) -> dict[str, Any]:
    """Provide the replayed pool, with a store of its own."""
    return {"pool": pool_file, "store": tmp_path / "store"}
