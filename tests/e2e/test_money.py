"""The provider's own account is the truth: budgets hold, and costs add up to it, over kills at random moments.

In the suite a few runs; by hand `LEEROO_MONEY_RUNS=50 LEEROO_MONEY_SEED=7 pytest -s tests/e2e/test_money.py` prints the
figures of each.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.provider import Provider, running

RUNS = int(os.environ.get("LEEROO_MONEY_RUNS", "3"))
SEED = int(os.environ.get("LEEROO_MONEY_SEED", "7"))
CENT = 0.01
# Behaviours of the provider and how often each comes; those that end an expert, or wait for long, are left out.
MIX = {
    "ok": 20.0,
    **dict.fromkeys(("null_content", "content_filter_partial", "length_in_reasoning", "refusal", "empty_stop"), 1.0),
    **dict.fromkeys(("tool_calls", "parts", "think_tags", "usage_strings", "usage_floats", "cached", "surrogate"), 1.0),
    **dict.fromkeys(("finish_null", "stream", "text_choice", "content_number", "choices_empty", "cut_body"), 0.5),
    **dict.fromkeys(("usage_missing", "usage_total_only", "drop_billed", "invalid_json", "context_openai"), 0.5),
}
PRICES = {"large": (40.0, 80.0), "small": (4.0, 8.0)}
EXPERT = """
[[expert]]
name = "{name}"
model = "{name}"
backend = "openai"
base_url = "{url}"
usd_per_m_input = {price[0]}
usd_per_m_output = {price[1]}
usd_per_m_cached_input = {cached}
max_tokens = 60
[expert.engine]
concurrency = {concurrency}
max_retries = 1
"""


@dataclass
class Killed:
    """What the kills of one run left under way, as the store knows it."""

    kills: int = 0
    calls: int = 0
    at_most_usd: float = 0.0


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Provide a provider whose calls take a moment and about as many tokens as prompts have."""
    with running() as server:
        server.usd_per_m |= PRICES
        server.delay_s = 0.03
        server.usage = lambda prompt, body: (len(prompt), 1 + len(prompt) % 50)
        yield server


def _command(folder: Path, provider: Provider, rng: random.Random, rows: int, budget: float | None) -> list[str]:
    """Write a table and a pool, and return the run over them."""
    questions = [f"question {i} of {rng.random()}" + " and so on" * rng.randrange(4) for i in range(rows)]
    pq.write_table(pa.table({"question": questions}), folder / "input.parquet")
    experts = [
        EXPERT.format(
            name=name,
            url=provider.url,
            price=price,
            cached=price[0] * provider.cached_share,
            concurrency=rng.choice((2, 5, 12)),
        )
        for name, price in PRICES.items()
    ]
    (folder / "pool.toml").write_text('default = "large"\n' + "".join(experts))
    command = [sys.executable, "-m", "leeroo", "run", "input.parquet", "--pool", "pool.toml", "--store", "store"]
    return command if budget is None else [*command, "--max-cost-usd", repr(budget)]


def _kill(command: list[str], folder: Path, provider: Provider, rng: random.Random, killed: Killed) -> bool:
    """Run a command and kill it after a random number of calls; False where it ended first."""
    enough = len(provider.calls) + rng.randrange(1, 60)
    run = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    while run.poll() is None and len(provider.calls) < enough:
        time.sleep(0.005)
    time.sleep(rng.random() * 0.05)
    run.send_signal(signal.SIGKILL)
    if run.wait() != -signal.SIGKILL:
        return False
    with closing(sqlite3.connect(folder / "store" / "answers.sqlite")) as db:
        calls, usd = db.execute("SELECT count(*), coalesce(sum(at_most_usd), 0) FROM claims").fetchone()
    killed.kills += 1
    killed.calls += calls
    killed.at_most_usd += usd
    while provider.at_once:  # what was under way is billed before the next run begins
        time.sleep(0.01)
    return True


def _billed(provider: Provider) -> tuple[Counter[str], set[str]]:
    """Return the USD billed by prompt, and the prompts with a reply that did not give its cost."""
    usd: Counter[str] = Counter()
    for bill in provider.bills:
        usd[bill.prompt] += bill.usd  # type: ignore[assignment]
    return usd, {bill.prompt for bill in provider.bills if not bill.reported}


@pytest.mark.parametrize("number", range(RUNS))
def test_the_account_is_the_cost_and_within_the_budget(number: int, tmp_path: Path, provider: Provider) -> None:
    """Over odd replies and kills, what the provider billed is what rows cost but for calls in flight at the kills."""
    rng = random.Random(f"{SEED} {number}")
    provider.mix, provider.seed = MIX, number
    rows = rng.randrange(60, 160)
    budget = rng.choice((0.02, 0.08, 0.2, 0.5))
    command = [*_command(tmp_path, provider, rng, rows, budget), "--out", "out.parquet"]
    killed = Killed()
    while killed.kills < 3 and _kill(command, tmp_path, provider, rng, killed):
        pass
    if not (tmp_path / "out.parquet").exists():
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
        assert done.returncode in (0, 1), done.stderr
        assert "Traceback" not in done.stderr
    table = pq.read_table(tmp_path / "out.parquet")
    cost = dict(zip(table.column("question").to_pylist(), table.column("cost_usd").to_pylist(), strict=True))
    billed, uncosted = _billed(provider)
    lost = {prompt: usd - cost[prompt] for prompt, usd in billed.items() if abs(usd - cost[prompt]) > 1e-8}
    unequal = {prompt: usd for prompt, usd in lost.items() if prompt not in uncosted}
    known = sum(usd for prompt, usd in billed.items() if prompt not in uncosted)
    print(
        f"run {number}: {rows} rows, budget ${budget}, account ${provider.account_usd:.6f}, cost ${sum(cost.values()):.6f},"
        f" {killed.kills} kills with {killed.calls} calls in flight (at most ${killed.at_most_usd:.6f}),"
        f" {len(unequal)} rows differ by ${sum(unequal.values()):.6f}, {len(uncosted)} rows without usage"
    )
    assert len(unequal) <= killed.calls
    assert all(usd > 0 for usd in unequal.values()), "a row costs more than was billed for it"
    paid = sum(usd for prompt, usd in cost.items() if prompt not in uncosted)
    assert abs(known - sum(unequal.values()) - paid) < CENT / 100
    assert provider.account_usd <= budget + killed.at_most_usd


def test_two_processes_pay_for_no_row_twice(tmp_path: Path, provider: Provider) -> None:
    """Two processes share one store; after one is killed, the other sends only what was in flight."""
    rng = random.Random(SEED)
    command = _command(tmp_path, provider, rng, 150, None)
    other = subprocess.Popen([*command, "--out", "other.parquet"], cwd=tmp_path, stderr=subprocess.DEVNULL)
    killed = Killed()
    _kill_one_of_two(command, tmp_path, provider, killed)
    assert other.wait(timeout=240) == 0
    subprocess.run([*command, "--out", "out.parquet"], cwd=tmp_path, check=True, capture_output=True, timeout=240)
    twice = sum(times - 1 for times in Counter(bill.prompt for bill in provider.bills).values())
    print(f"two processes: {twice} rows paid for twice, {killed.calls} calls in flight when one was killed")
    assert twice <= killed.calls
    out, others = (pq.read_table(tmp_path / name) for name in ("out.parquet", "other.parquet"))
    assert out.column("answer").null_count == 0
    assert out.column("answer").equals(others.column("answer"))


def _kill_one_of_two(command: list[str], folder: Path, provider: Provider, killed: Killed) -> None:
    run = subprocess.Popen([*command, "--out", "out.parquet"], cwd=folder, stderr=subprocess.DEVNULL)
    while run.poll() is None and len(provider.calls) < 60:
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    run.wait()
    with closing(sqlite3.connect(folder / "store" / "answers.sqlite")) as db:
        killed.calls = db.execute("SELECT count(*) FROM claims").fetchone()[0]
