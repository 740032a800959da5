"""leeroo log: the answers in the store, with their questions where these are known."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.store.answers import KEPT
from leeroo.engine.store.feedback import Feedback
from leeroo.engine.store.store import Store
from tests.command import leeroo

FIRST = "What is 1 plus 1?"


@pytest.fixture
def place(tmp_path: Path, pool_file: Path) -> Path:
    """Provide a folder with a store of two runs, of four questions by each expert."""
    texts = [f"What is {i} plus {i}?" for i in range(1, 5)]
    pq.write_table(pa.table({"text": texts, "n": [1, 2, 3, 4]}), tmp_path / "questions.parquet")
    for expert in ("small", "large"):
        command = ("run", "questions.parquet", "--column", "text", "--out", f"{expert}.parquet", "--expert", expert)
        assert leeroo(*command, "--pool", pool_file, "--store", "store", cwd=tmp_path).returncode == 0
    return tmp_path


def _log(place: Path, *arguments: str) -> list[dict[str, Any]]:
    done = leeroo("log", "--store", "store", "--json", *arguments, cwd=place)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["answers"]
    return found


def test_the_latest_answers_come_last(place: Path) -> None:
    """As many as are wanted, with what each cost; recorded answers of one run come in any order."""
    found = _log(place)
    assert [row["expert"] for row in found] == ["small"] * 4 + ["large"] * 4
    assert {row["answer"] for row in found[4:]} == {f"large says {2 * i}" for i in range(1, 5)}
    assert {row["list_cost_usd"] for row in found[4:]} == {0.0015}
    assert _log(place, "-n", "3") == found[-3:]


def test_answers_are_chosen_by_run_expert_and_text(place: Path) -> None:
    """The beginning of a run's id is enough, and case does not matter."""
    run = _log(place, "-n", "1")[0]["run"]
    assert {row["expert"] for row in _log(place, "--run", run[:8])} == {"large"}
    assert len(_log(place, "--expert", "small")) == 4
    assert [row["expert"] for row in _log(place, "--search", "SAYS 6")] == ["small", "large"]
    assert _log(place, "--search", FIRST) == []


@pytest.mark.parametrize(
    ("arguments", "known"), [(("--column", "text"), 8), (("--prompt", "What is {n} plus {n}?"), 8)]
)
def test_questions_are_read_from_their_table(place: Path, arguments: tuple[str, ...], known: int) -> None:
    """By the column or the prompt of the run; then they are searched too."""
    of_table = ("--questions", "questions.parquet", *arguments)
    assert sum(row["question"] is not None for row in _log(place, *of_table)) == known
    assert [row["question"] for row in _log(place, *of_table, "--search", "is 1 PLUS")] == [FIRST] * 2


def test_the_text_of_a_question_with_feedback_is_known(place: Path) -> None:
    """The others are hashes in the store, and a line says how to see them."""
    with contextlib.closing(Store(place / "store")) as store:
        store.give([Feedback(FIRST, "small", "small says 2", 1.0, None)])
    assert [row["question"] for row in _log(place)].count(FIRST) == 2
    done = leeroo("log", "--store", "store", cwd=place)
    assert f"question: {FIRST}\n" in done.stdout
    assert "--questions" in done.stderr


def test_a_pipe_gets_long_texts_whole_and_a_terminal_their_beginning(tmp_path: Path) -> None:
    """On a terminal each text is one line without characters that steer it."""
    answer = "first line\nsecond \x1b[31mline\n" + "word " * 100
    with contextlib.closing(Store(tmp_path)) as store:
        row = {"key": b"k", "answer": answer, "expert": "x", "run": "r"}
        store.append(pa.Table.from_pylist([row], schema=KEPT))
    said = leeroo("log", "--store", tmp_path).stdout
    assert said.count("word") == 100
    assert "  answer: first line\n    second" in said
    shown = _on_a_terminal("log", "--store", str(tmp_path))
    assert "  answer: first line second [31mline word" in shown
    assert "…" in shown
    assert "\x1b[31m" not in shown
    assert shown.count("word") < 20


def _on_a_terminal(*arguments: str) -> str:
    """Run a command whose output is a terminal of 80 columns."""
    ours, its = pty.openpty()
    environment = {**os.environ, "TERM": "dumb", "COLUMNS": "80"}
    command = [sys.executable, "-m", "leeroo", *arguments]
    subprocess.run(command, stdout=its, stderr=subprocess.DEVNULL, env=environment, timeout=120, check=True)
    os.close(its)
    with open(ours, "rb", buffering=0) as terminal:
        return terminal.read(100_000).decode()


def test_a_search_without_answers_says_so(place: Path) -> None:
    """It is no error; a store that is not there is one."""
    done = leeroo("log", "--store", "store", "--search", "nowhere", cwd=place)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "no answer in the store fits\n")
    done = leeroo("log", "--store", "none", cwd=place)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    done = leeroo("log", "--store", "store", "--questions", "questions.parquet", cwd=place)
    assert (done.returncode, "text" in done.stderr) == (2, True)
