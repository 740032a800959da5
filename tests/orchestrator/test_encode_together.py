"""Processes that encode the same texts at the same time: each text is encoded once on a machine."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from leeroo.engine.orchestrator.encoders import encode, vectors

pytestmark = pytest.mark.usefixtures("two_threads")

TEXTS = [f"Question number {i}, and what about it?" for i in range(60)]
# Encodes the texts in parts of eight, and prints each that it has encoded itself; `before` is called before each batch.
SCRIPT = """
import os, signal, sys, time
import numpy as np
from leeroo.engine.orchestrator.encoders import encode, sentence
encode._PART, encode._PART_S, encode._POLL_S = 8, 0, 0.02
right, calls = sentence.passes, 0
def passes(name, folder, weights_hash, texts):
    global calls
    calls += 1
    {before}
    for batch, of_batch in right(name, folder, weights_hash, texts):
        for i in batch:
            print(texts[i], flush=True)
        yield batch, of_batch
sentence.passes = passes
texts = [f"Question number {{i}}, and what about it?" for i in range(60)]
np.save(sys.argv[2], encode.encode(texts, sys.argv[1]))
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a cache folder of its own."""
    monkeypatch.setenv("LEEROO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LEEROO_VECTORS_GIB", "4")
    return tmp_path / "cache"


@pytest.fixture
def start(tiny_bert: Path, tmp_path: Path) -> Start:
    """Return a function that starts a process which encodes the texts into the file `name`.npy."""

    def start(name: str, before: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", SCRIPT.format(before=before), str(tiny_bert), str(tmp_path / f"{name}.npy")]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    return start


def ended(process: subprocess.Popen[str]) -> list[str]:
    """Wait for a process to end well, and return the texts that it has encoded."""
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error
    return out.splitlines()


def owners(home: Path) -> list[str]:
    """Return who has claimed something."""
    db = sqlite3.connect(home / "vectors.sqlite")
    found = [owner for (owner,) in db.execute("SELECT owner FROM claims").fetchall()]
    db.close()
    return found


def test_each_text_is_encoded_once(start: Start, home: Path, tmp_path: Path) -> None:
    """Four processes at once encode every text once between them, and all have the same vectors."""
    running = [start(str(i), "time.sleep(0.2)") for i in range(4)]
    encoded = [ended(process) for process in running]
    assert sorted(text for of_one in encoded for text in of_one) == sorted(TEXTS)
    found = [np.load(tmp_path / f"{i}.npy") for i in range(4)]
    assert all((each == found[0]).all() for each in found)
    assert (np.linalg.norm(found[0], axis=1) > 0.9).all()
    assert owners(home) == []
    assert list((home / "claims").iterdir()) == []


def test_a_killed_process_stalls_nobody(start: Start, home: Path, tmp_path: Path) -> None:
    """After kill -9 of the one that encodes, another one takes the rest over, and encodes nothing that is stored."""
    first = start("first", "if calls == 3: print('third', flush=True); time.sleep(600)")
    assert first.stdout is not None
    of_first = []
    while (line := first.stdout.readline().strip()) != "third":
        of_first.append(line)
    second = start("second", "pass")
    with pytest.raises(subprocess.TimeoutExpired):  # it waits for the third part
        second.wait(6)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    of_second = ended(second)
    assert len(of_first) == 16
    assert sorted(of_first + of_second) == sorted(TEXTS)
    assert owners(home) == []
    assert list((home / "claims").iterdir()) == []


def test_one_that_hangs_is_waited_for_only_so_long(
    tiny_bert: Path, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    """A living process that makes no progress is left alone, and its texts are encoded without it."""
    monkeypatch.setattr(encode, "_PATIENCE_S", 0.3)
    waited: list[int] = []
    holding = claimed(str(tiny_bert), TEXTS[:5])
    found = encode.encode_all(TEXTS, [str(tiny_bert)], lambda done, _total: waited.append(done))[str(tiny_bert)]
    assert 0 in waited
    assert waited[-1] == len(TEXTS)
    assert (np.linalg.norm(found, axis=1) > 0.9).all()
    holding.release()


def test_other_texts_do_not_wait(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that encodes other texts is not waited for."""
    monkeypatch.setattr(encode, "_PATIENCE_S", 1e9)
    holding = claimed(str(tiny_bert), ["another text"])
    assert encode.encode(TEXTS, str(tiny_bert)).shape[0] == len(TEXTS)
    holding.release()


def test_whoever_waits_may_be_stopped(tiny_bert: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the one who watches the progress ends the waiting."""
    monkeypatch.setattr(encode, "_PATIENCE_S", 1e9)
    holding = claimed(str(tiny_bert), TEXTS[:5])
    stop = threading.Event()
    threading.Timer(0.5, stop.set).start()

    def check(_done: int, _total: int) -> None:
        if stop.is_set():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode.encode_all(TEXTS, [str(tiny_bert)], check)
    holding.release()
    assert encode.encode(TEXTS, str(tiny_bert)).shape[0] == len(TEXTS)


def claimed(encoder: str, texts: list[str]) -> vectors.Claims:
    """Return a claim of somebody who lives, on these texts."""
    pending = encode._read_stored({encoder: encode._read(encoder)}, texts, {})
    claims = vectors.Claims()
    assert claims.claim(pending.keys[encoder]) is None
    return claims
