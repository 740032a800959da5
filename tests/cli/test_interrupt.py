"""SIGTERM and Ctrl-C end a command with one line and exit code 130, whenever they come and however often."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

LINE = "leeroo: interrupted; everything answered so far is kept, the same command goes on."


def _started(folder: Path, pool: Path) -> subprocess.Popen[str]:
    """Start a run that takes minutes."""
    pool.write_text(pool.read_text() + "[expert.engine]\ntokens_per_second = 1\n")
    (folder / "t.csv").write_text("question\n" + "".join(f"What is {i} plus {i}?\n" for i in range(40)))
    options = ["--pool", str(pool), "--store", "store", "--expert", "small"]
    command = [sys.executable, "-m", "leeroo", "run", "t.csv", "--out", "o.csv", *options]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _wait_for_run(folder: Path, process: subprocess.Popen[str]) -> None:
    """Wait until its questions go to the expert."""
    store = folder / "store" / "answers.sqlite"
    while process.poll() is None:
        with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro")) as db:
            if db.execute("SELECT count(*) FROM runs").fetchone()[0]:
                return
        time.sleep(0.01)


def _ends(process: subprocess.Popen[str]) -> None:
    out, said = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, ""), said
    assert said.splitlines() == [LINE]


@pytest.mark.parametrize("after", [0.15, 0.3, 0.6, 1.2])
def test_sigterm_at_any_moment(tmp_path: Path, pool_file: Path, after: float) -> None:
    """While things are imported, and while the input is read."""
    process = _started(tmp_path, pool_file)
    time.sleep(after)
    process.send_signal(signal.SIGTERM)
    _ends(process)


@pytest.mark.parametrize("after", [0.0, 0.7])
def test_sigterm_stops_a_run_that_answers(tmp_path: Path, pool_file: Path, after: float) -> None:
    """A run stops when its first questions are sent, and later."""
    process = _started(tmp_path, pool_file)
    _wait_for_run(tmp_path, process)
    time.sleep(after)
    process.send_signal(signal.SIGTERM)
    _ends(process)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_command_at_once(tmp_path: Path, pool_file: Path, number: signal.Signals) -> None:
    """There is still one line, and no traceback from the clean-up."""
    process = _started(tmp_path, pool_file)
    _wait_for_run(tmp_path, process)
    for _ in range(3):
        process.send_signal(number)
        time.sleep(0.005)
    _ends(process)
