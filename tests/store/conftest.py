"""What the tests of the store share: rows to keep, and another process that uses the same store."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from leeroo.engine.store.answers import KEPT
from leeroo.engine.store.runs import Run
from leeroo.engine.store.store import Store


def key(name: str) -> bytes:
    """Return the key of an answer."""
    return hashlib.sha256(name.encode()).digest()


def keys(*names: str) -> pa.Array:
    """Keys of answers."""
    return pa.array([key(name) for name in names], pa.binary())


def rows(*names: str, **other: Any) -> pa.Table:
    """Answers to be kept, alike but for their keys."""
    row = {
        "run": "r",
        "fingerprint": "f",
        "answer": "yes",
        "prompt_tokens": 7,
        "completion_tokens": 4,
        "list_cost_usd": 0.5,
        "latency_ms": 20.0,
        "finish_reason": "stop",
    }
    return pa.Table.from_pylist([{**row, "key": key(name), **other} for name in names], schema=KEPT)


def claimed(store: Store, run: Run, wanted: pa.Array, at_most: Sequence[float], expert: str = "small") -> list[bool]:
    """Claim keys for requests to one expert, and return which are granted."""
    granted: list[bool] = store.claim(run, wanted, at_most, [expert] * len(at_most)).granted.to_pylist()
    return granted


_PROLOGUE = """
import sys, time
from pathlib import Path
from leeroo.engine.store.store import Store
from leeroo.engine.store.spending import Charge
from tests.store.conftest import claimed, key, keys, rows
store = Store(Path(sys.argv[1]))
"""

Beside = Callable[[Path, str], "subprocess.Popen[str]"]


@pytest.fixture
def beside() -> Iterator[Beside]:
    """Run code on a store in another process; returns when it has printed a line, while it goes on living."""
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path, code: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", f"{_PROLOGUE}{code}\nprint('done', flush=True)\ntime.sleep(60)", str(folder)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
