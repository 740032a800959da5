"""Many processes at once never pass a cap together, by the provider's own account, and neither do kills."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from leeroo.engine.store.store import Store
from tests.provider import Provider, running

ROOT = Path(__file__).parents[2]
# A process that answers questions of its own once all are ready, and prints the number of answers and an error.
PROGRAM = """
import sys, time
from pathlib import Path
from leeroo.engine.answer import Criteria, open_engine
import pyarrow as pa
place, name, rows = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
with open_engine(place / "pool.toml", store=place / "store") as engine:
    (place / f"ready-{name}").touch()
    while not (place / "go").exists():
        time.sleep(0.01)
    table = pa.table({"question": [f"question {i} of {name}" for i in range(rows)]})
    out = engine.answer_table(table.to_reader(), Criteria())
errors = out.column("error").drop_null().to_pylist()
print(rows - len(errors), errors[-1] if errors else "", flush=True)
"""
# USD of the most expensive answer: as many tokens as it may have, and a prompt that is as long as ours at most.
PRICE, TOKENS = 100.0, 64


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Provide a provider whose answers take a moment, and are as long as they may be or much shorter."""
    with running() as server:
        server.usd_per_m["large"] = (PRICE, PRICE)
        server.usage = lambda prompt, body: (len(prompt), random.Random(prompt).choice((2, 20, TOKENS)))
        server.delay_s = 0.02
        yield server


@pytest.fixture
def place(tmp_path: Path, provider: Provider) -> Path:
    """Provide a folder with a pool of one expert."""
    (tmp_path / "pool.toml").write_text(
        provider.entry("large", PRICE, TOKENS, "[expert.engine]\nconcurrency = 8\nmax_retries = 0")
    )
    return tmp_path


def _cap(place: Path, usd: float) -> None:
    store = Store(place / "store")
    store.set_caps({"day": usd})
    store.close()


def _start(place: Path, *names: str, rows: int) -> list[subprocess.Popen[str]]:
    """Start processes, and let them begin together."""
    (place / "go").unlink(missing_ok=True)
    command = [sys.executable, "-c", PROGRAM, str(place)]
    started = [
        subprocess.Popen([*command, name, str(rows)], cwd=ROOT, stdout=subprocess.PIPE, text=True) for name in names
    ]
    while not all((place / f"ready-{name}").exists() for name in names):
        assert all(each.poll() is None for each in started)
        time.sleep(0.05)
    (place / "go").touch()
    return started


def test_twenty_processes_never_pass_a_daily_cap(place: Path, provider: Provider) -> None:
    """Together they spend most of it and no more, and each says why the rest of its rows has no answer."""
    cap = 150 * PRICE * 45 / 1e6
    _cap(place, cap)
    started = _start(place, *map(str, range(20)), rows=60)
    said = [process.communicate(timeout=240)[0] for process in started]
    assert [process.returncode for process in started] == [0] * 20
    answered = sum(int(line.split()[0]) for line in said)
    assert answered == len(provider.bills) < 20 * 60
    highest = PRICE * (200 + TOKENS) / 1e6
    assert cap - highest < provider.account_usd <= cap
    assert all(f"the daily cap of ${cap:.3f} for all experts is" in line or line == "60 \n" for line in said)
    assert any("is used up but for $0.0" in line for line in said)


def test_kills_do_not_pass_a_cap(place: Path, provider: Provider) -> None:
    """What was under way at a kill may have been billed, and counts; what is left is spent by those that live."""
    cap = 500 * PRICE * 45 / 1e6
    _cap(place, cap)
    for kill in range(3):
        sent = len(provider.calls)
        started = _start(place, *(f"{kill}-{i}" for i in range(3)), rows=200)
        while len(provider.calls) < sent + 30:
            time.sleep(0.005)
        for process in started:
            process.send_signal(signal.SIGKILL)
            process.wait()
    while provider.at_once:  # what was under way is billed before the last run begins
        time.sleep(0.01)
    billed = provider.account_usd
    [last] = _start(place, "last", rows=500)
    assert "the daily cap" in last.communicate(timeout=120)[0]
    assert 0 < billed < provider.account_usd <= cap
    store = Store(place / "store")
    [found] = store.caps()
    assert provider.account_usd <= found.used <= cap
    assert found.held == 0
    store.close()
