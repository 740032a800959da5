"""The wheel works in an environment that holds nothing but it and its base dependencies.

`LEEROO_WHEEL` names one that is built already; else it is built here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the folder of programs of an environment with the wheel installed."""
    folder = tmp_path_factory.mktemp("wheel")
    if "LEEROO_WHEEL" in os.environ:
        wheel = Path(os.environ["LEEROO_WHEEL"]).resolve()
    else:
        _run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
        [wheel] = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=True)
    programs = folder / "venv" / "bin"
    _run(programs / "python", "-m", "pip", "install", "--quiet", wheel)
    return programs


def _run(*command: str | Path, folder: Path | None = None) -> str:
    # Nothing of the checkout is seen by the other environment.
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(900)
def test_commands_of_the_wheel_run(installed: Path, tmp_path: Path, pool_file: Path) -> None:
    """The pool that ships is listed, and one statement is answered by a replayed pool."""
    listed = _run(installed / "leeroo", "experts", folder=tmp_path)
    assert "smollm2" in listed
    statement = "SELECT leeroo_answer('What is 3 plus 3?') AS answer"
    place: list[str | Path] = ["--pool", pool_file, "--store", tmp_path / "store", "--out", tmp_path / "out.csv"]
    _run(installed / "leeroo", "sql", statement, *place, folder=tmp_path)
    assert (tmp_path / "out.csv").read_text().splitlines() == ["answer", "large says 6"]
