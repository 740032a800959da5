"""What spending caps cost a claim, in a store with many answers, keys and days.

Run it with `python bench/engine/caps.py`; `--answers` sets how many the store has. For comparison it prints how long
the sum over the answers of a month takes, which claims would need without the sums that the store keeps.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import pyarrow as pa

from leeroo.engine.store.answers import KEPT
from leeroo.engine.store.runs import Run
from leeroo.engine.store.store import Store

DAY_S = 86_400
EXPERTS, OWNERS, DAYS = 10, 50, 31
RUNS, IN_FLIGHT = 20, 64
CLAIMS = 300


def main() -> None:
    """Fill a store, and print the time of a claim under each number of caps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=1_000_000)
    answers = parser.parse_args().answers
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        took = _fill(store, answers)
        runs = [store.begin(f"job {i}", 1, owner=f"key_{i}") for i in range(RUNS)]
        for run in runs:
            _claim(store, run, IN_FLIGHT)
        print(f"{os.cpu_count()} cores, {answers:,} answers appended at {answers / took:,.0f} a second\n")
        print("| | ms |\n|---|---|")
        print(f"| a claim without a cap | {_median_ms(store, runs):.2f} |")
        store.set_caps({"day": 1e9})
        print(f"| with a daily cap for all | {_median_ms(store, runs):.2f} |")
        store.set_caps({"month": 1e9})
        print(f"| with a monthly cap for all, too | {_median_ms(store, runs):.2f} |")
        store.set_caps({"month": 1e9}, expert="expert 3")
        store.set_caps({"month": 1e9}, owner="key_3")
        print(f"| with monthly caps for an expert and for a key, too | {_median_ms(store, runs):.2f} |")
        month = "SELECT sum(list_cost_usd) FROM answers WHERE created >= ?"
        began = time.perf_counter()
        store._db.execute(month, (time.time() - DAYS * DAY_S,)).fetchall()
        print(f"| the sum over all answers of a month | {(time.perf_counter() - began) * 1e3:.0f} |")
        store.close()


def _fill(store: Store, answers: int) -> float:
    """Append answers of every day of this month, expert and owner; return how many seconds that took."""
    owners = [store.begin("fill", 1, owner=f"key_{i}") for i in range(OWNERS)]
    groups = [(day, run) for day in range(DAYS) for run in owners]
    each = answers // len(groups)
    first = time.mktime(time.strptime(time.strftime("%Y-%m-01"), "%Y-%m-%d"))
    took = 0.0
    for day, run in groups:
        columns = {
            "key": [os.urandom(32) for _ in range(each)],
            "run": [run.run] * each,
            "expert": [f"expert {i % EXPERTS}" for i in range(each)],
            "answer": ["a short answer"] * each,
            "prompt_tokens": [100] * each,
            "completion_tokens": [20] * each,
            "list_cost_usd": [0.001] * each,
        }
        table = pa.table([pa.array(columns.get(f.name, [None] * each), f.type) for f in KEPT], schema=KEPT)
        began = time.perf_counter()
        store.append(table, first + day * DAY_S)
        took += time.perf_counter() - began
    return took


def _claim(store: Store, run: Run, rows: int) -> float:
    """Claim new keys; return how many milliseconds that took."""
    keys = pa.array([os.urandom(32) for _ in range(rows)], pa.binary())
    began = time.perf_counter()
    claimed = store.claim(run, keys, [0.01] * rows, ["expert 3"] * rows)
    took = (time.perf_counter() - began) * 1e3
    assert all(claimed.granted.to_pylist())
    if rows == 1:
        store.release_claims(run, keys.to_pylist())
    return took


def _median_ms(store: Store, runs: list[Run]) -> float:
    return statistics.median(_claim(store, runs[i % RUNS], 1) for i in range(CLAIMS))


if __name__ == "__main__":
    main()
