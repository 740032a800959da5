"""The wheel works in an environment that holds nothing but it and its base dependencies.

`LEEROO_WHEEL` names one that is built already; else it is built here.
"""

from __future__ import annotations

import json
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


@pytest.mark.timeout(900)
def test_routers_that_ship_are_in_the_wheel(installed: Path, tmp_path: Path, data_folder: Path) -> None:
    """Each is listed and goes into one file; without an encoder a pool of known models goes to its default."""
    listed = json.loads(_run(installed / "leeroo", "routers", "--json", folder=tmp_path))["routers"]
    assert {"embedded", "helm-mmlu", "mmlu-pro", "mmlu-redux"} == {each["router"] for each in listed}
    for each in listed:
        assert "## Licence and attribution" in _run(installed / "leeroo", "routers", each["router"], folder=tmp_path)
        assert str(installed.parent) in each["folder"]
        _run(installed / "leeroo", "router", "export", each["folder"], f"{each['router']}.zip", folder=tmp_path)
        assert (tmp_path / f"{each['router']}.zip").stat().st_size > 100_000
    entry = '[[expert]]\nname = "{}"\nmodel = "{}"\nbackend = "replay"\nusd_per_m_input = 1\nusd_per_m_output = 1\n'
    models = ("gpt-4o-mini-2024-07-18", "gpt-4o-2024-08-06")
    (tmp_path / "pool.toml").write_text("".join(entry.format(model, data_folder) for model in models))
    (tmp_path / "t.csv").write_text("question\nWhy?\n")
    where = ("--pool", "pool.toml", "--store", "store", "--out", "routes.csv")
    _run(installed / "leeroo", "route", "t.csv", *where, folder=tmp_path)
    assert models[0] in (tmp_path / "routes.csv").read_text()


@pytest.mark.timeout(900)
def test_the_demo_of_the_bare_wheel_goes_on_without_a_model(installed: Path, tmp_path: Path) -> None:
    """It names the command that brings the model, shows what choosing brings, and draws the page."""
    shown = _run(installed / "leeroo", "demo", folder=tmp_path)
    assert "Left out: the package transformers is not installed: pip install 'leeroo[local]'" in shown
    assert "Choosing is right on 89.4 % for half of that." in " ".join(shown.split())
    assert "  leeroo experts\n" in shown
    assert "<svg" in (tmp_path / "demo" / "choosing.html").read_text(encoding="utf-8")


@pytest.mark.timeout(900)
def test_a_checkout_without_symbolic_links_is_refused(tmp_path: Path) -> None:
    """Git writes files for links where there are none: the build says so, and how to mend it."""
    _run(
        "git",
        "-c",
        "core.symlinks=false",
        "clone",
        "--quiet",
        "--no-local",
        "--depth",
        "1",
        f"file://{ROOT}",
        tmp_path / "it",
    )
    assert (tmp_path / "it" / "leeroo" / "engine").is_file()
    build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(tmp_path / "it")]
    done = subprocess.run([sys.executable, *build], capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode != 0
    assert "has no symbolic links: leeroo/engine is a file. Run 'git config core.symlinks true'" in done.stderr
    _run("git", "config", "core.symlinks", "true", folder=tmp_path / "it")
    _run("git", "checkout", "-f", folder=tmp_path / "it")
    assert (tmp_path / "it" / "leeroo" / "engine" / "answer.py").is_file()
