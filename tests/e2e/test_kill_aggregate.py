"""Killed between two levels of a statement's aggregates, it goes on there, and nothing is paid for twice."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.jobs.test_aggregate import counting, is_merge

STATEMENT = """
SELECT part, leeroo_agg('complaint number ' || i, 'How many texts are there?', max_tokens := 20) AS many
FROM (SELECT i, i % 2 AS part FROM range(600) t(i)) GROUP BY part ORDER BY part
"""


def test_a_killed_statement_goes_on_with_its_merges(tmp_path: Path, api: Any) -> None:
    """Parts that were answered are in the store: only the merges are sent after the kill."""
    (tmp_path / "pool.toml").write_text(api.entry("m", 1, 100, "[expert.engine]\ncontext_tokens = 1000"))
    merging = threading.Event()

    def says(model: str, prompt: str) -> str:
        if is_merge(prompt) and not killed:
            merging.set()
            time.sleep(3)
        return counting(model, prompt)

    killed, api.says = False, says
    command = [sys.executable, "-m", "leeroo", "sql", STATEMENT, "--pool", "pool.toml", "--store", "store"]
    run = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert merging.wait(60)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    killed = True
    parts = sum("Say how many texts each point is in" in prompt for prompt in api.asked)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.count("300 texts") == 2
    assert all(n == 1 for prompt, n in api.asked.items() if not is_merge(prompt))
    assert len(api.asked) - parts in (1, 2)  # merges of both groups, which may be equal
