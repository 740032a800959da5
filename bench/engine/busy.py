"""A local model beside another program: threads that wait by spinning, and threads that sleep.

    python bench/engine/busy.py [--rows 48] [--repeats 3] [--backend transformers]

Another program is a process that does nothing but compute. Each way answers in a process of its own with the model
loaded, in turns; a line has the median seconds on an idle machine and with one core taken, and the ratio. A way that
takes longer than ten minutes in all is stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import leeroo

_LIMIT_S = 600
_POOL = """
[[expert]]
name = "m"
model = "HuggingFaceTB/SmolLM2-135M-Instruct"
backend = "{backend}"
usd_per_m_input = 0.01
usd_per_m_output = 0.02
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--backend", default="transformers", choices=("transformers", "vllm"))
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        print(answer(given.rows, given.backend))
        return
    print("| wait policy | idle | one core taken | ratio |\n|---|---|---|---|")
    for policy in ("ACTIVE", "PASSIVE"):
        idle, busy = [], []
        for _ in range(given.repeats):
            idle.append(run(policy, given))
            with busy_core():
                busy.append(run(policy, given))
        seconds = statistics.median(idle), statistics.median(busy)
        print(f"| {policy} | {seconds[0]:.1f} s | {seconds[1]:.1f} s | {seconds[1] / seconds[0]:.1f} |", flush=True)


def run(policy: str, given: argparse.Namespace) -> float:
    """Return the seconds that a process with this policy answers."""
    command = [sys.executable, __file__, "--once", "--rows", str(given.rows), "--backend", given.backend]
    environment = {**os.environ, "OMP_WAIT_POLICY": policy}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, timeout=_LIMIT_S, check=True)
    return float(done.stdout.split()[-1])


def answer(rows: int, backend: str) -> float:
    """Return the seconds that a loaded model takes for all rows, each with a text of its own."""
    with tempfile.TemporaryDirectory() as folder:
        pool = Path(folder) / "pool.toml"
        pool.write_text(_POOL.format(backend=backend))
        with leeroo.connect(pool=pool, router="none", store=folder) as con:
            con.execute("SELECT leeroo_answer('What is the capital of France?', max_tokens := 2)").fetchall()
            began = time.perf_counter()
            asked = "leeroo_answer('Tell me about the number ' || i || '.', max_tokens := 24)"
            con.execute(f"SELECT count({asked}) FROM range({rows}) r(i)").fetchall()
            return time.perf_counter() - began


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """Keep one core busy in here."""
    spinning = subprocess.Popen(
        [sys.executable, "-c", f"import time\nend = time.time() + {_LIMIT_S}\nwhile time.time() < end: pass"]
    )
    try:
        yield
    finally:
        spinning.kill()
        spinning.wait()


if __name__ == "__main__":
    main()
