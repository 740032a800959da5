"""What a run would cost can be seen before there is a key; the run itself is refused in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.command import leeroo

POOL = "".join(
    f"""
[[expert]]
name = "{name}"
model = "{name}"
backend = "openai"
api_key_env = "NO_SUCH_KEY"
usd_per_m_input = {price}
usd_per_m_output = {price}
max_tokens = 8
"""
    for name, price in (("small", 1), ("large", 10))
)
OPTIONS = ["--pool", "pool.toml", "--router", "none", "--store", "store", "--max-cost-usd", "1"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a table and a pool of two experts whose key is not set."""
    (tmp_path / "pool.toml").write_text(POOL)
    (tmp_path / "table.csv").write_text("question\n" + "".join(f"What is {n} plus {n}?\n" for n in range(20)))
    return tmp_path


@pytest.mark.parametrize("what", ["table.csv", "SELECT leeroo_answer(question) FROM 'table.csv'"])
def test_a_plan_needs_no_key(what: str, folder: Path) -> None:
    """Rows and costs are printed, with the reason why nothing could be sent yet."""
    done = leeroo("explain", what, *OPTIONS, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "20 rows" in done.stdout
    assert "small" in done.stdout
    assert "NO_SUCH_KEY" in done.stdout


def test_a_pilot_is_foreseen_without_a_key(folder: Path) -> None:
    """What learning would try out first is printed, too."""
    done = leeroo("explain", "table.csv", *OPTIONS, "--learn", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "to 2 experts" in done.stdout


def test_a_choice_needs_no_key(folder: Path) -> None:
    """Routes are written, with a warning."""
    done = leeroo("route", "table.csv", *OPTIONS, "--out", "routes.csv", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "NO_SUCH_KEY" in done.stderr
    assert json.loads(done.stdout)["rows"] == 20


@pytest.mark.parametrize("learn", [[], ["--learn"]])
def test_a_run_is_refused(learn: list[str], folder: Path) -> None:
    """One line names the variable, and nothing is written."""
    done = leeroo("run", "table.csv", *OPTIONS, *learn, "--out", "answers.csv", cwd=folder)
    assert done.returncode == 2
    assert "NO_SUCH_KEY" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (folder / "answers.csv").exists()
