"""The examples in docstrings of public functions run as written."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

MODULES = ["leeroo.api.frames", "leeroo.api.records", "leeroo.api.reports", "leeroo.api.routers", "leeroo.polars"]


@pytest.mark.usefixtures("models_here")
@pytest.mark.parametrize("name", MODULES)
def test_examples_run_as_written(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each prints what its docstring says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEEROO_STORE", str(tmp_path / "store"))
    done = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert done.attempted > 0
    assert done.failed == 0
