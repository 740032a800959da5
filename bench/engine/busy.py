"""Models on a machine that others use too: one core taken by another program, or four processes of ours at once.

    python bench/engine/busy.py [--what model] [--rows 16] [--repeats 3] [--ways "" OMP_WAIT_POLICY=ACTIVE]

`model` is SmolLM2-135M with transformers, `vllm` the same with vLLM, `encoder` a sentence encoder, `hidden` the states
of SmolLM2-135M, `single` the sentence encoder with one text a call. A way is a list of environment variables, separated
by commas; the empty one is what users get. Another program is a process that does nothing but compute. All processes
have their models loaded before the clock starts, and situations and ways are measured in turns. A line has the median
seconds on an idle machine; with one core taken, and the ratio; and how many rows four processes answer in a second, to
those of one process alone. A process that takes longer than `--limit` seconds is stopped: "inf".
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

_PROCESSES = 4
# How many processes answer, and whether another program takes a core.
_SITUATIONS = ((1, False), (1, True), (_PROCESSES, False))
_MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
_MINILM = "sentence-transformers/all-MiniLM-L6-v2"
_ENCODERS = {"encoder": _MINILM, "single": _MINILM, "hidden": f"{_MODEL}@17-mean"}
_BACKENDS = {"model": "transformers", "vllm": "vllm"}
_POOL = f"""
[[expert]]
name = "m"
model = "{_MODEL}"
backend = "%s"
usd_per_m_input = 0.01
usd_per_m_output = 0.02
"""
# Some 60 tokens, about what a question of MMLU has.
_TEXT = "Tell me about the number {}: " + ", ".join(f"is it near {i} or {i * i}" for i in range(6)) + "?"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--what", default="model", choices=(*_BACKENDS, *_ENCODERS))
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=60)
    parser.add_argument("--ways", nargs="+", default=["", "OMP_WAIT_POLICY=ACTIVE"])
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.what, given.rows)
        return
    print(f"{os.cpu_count()} cores; {given.what}, {given.rows} rows, medians of {given.repeats}\n", flush=True)
    print("| way | idle | one core taken | ratio | four processes | four to one |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TMPDIR"] = folder
        medians = measure(given)
    for way, (idle, taken, four) in medians.items():
        print(
            f"| {way or 'as it is'} | {idle:.2f} s | {taken:.2f} s | {taken / idle:.1f} | {four:.2f} s "
            f"| {_PROCESSES * idle / four:.2f} |",
            flush=True,
        )


def measure(given: argparse.Namespace) -> dict[str, list[float]]:
    """Return for each way the median seconds idle, with one core taken, and of four processes."""
    seconds: dict[str, list[list[float]]] = {way: [] for way in given.ways}
    workers: dict[str, list[subprocess.Popen[bytes]]] = {}
    try:
        for _ in range(given.repeats):
            for way, runs in seconds.items():
                runs.append([])
                for number, beside in _SITUATIONS:
                    if way not in workers:
                        workers[way] = start(way, given)
                    with busy_core() if beside else contextlib.nullcontext():
                        runs[-1].append(answer(workers[way][:number], given.limit))
                    if runs[-1][-1] == float("inf"):
                        stop(workers.pop(way))
                print(way, *(f"{one:.2f}" for one in runs[-1]), file=sys.stderr, flush=True)
    finally:
        for some in workers.values():
            stop(some)
    return {way: [statistics.median(of) for of in zip(*runs, strict=True)] for way, runs in seconds.items()}


def start(way: str, given: argparse.Namespace) -> list[subprocess.Popen[bytes]]:
    """Start processes, and wait until their models are loaded."""
    command = [sys.executable, __file__, "--worker", "--what", given.what, "--rows", str(given.rows)]
    environment = {**os.environ, **dict(pair.split("=", 1) for pair in way.split(",") if pair)}
    pipe = subprocess.PIPE
    workers = [
        subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, bufsize=0) for _ in range(_PROCESSES)
    ]
    for worker in workers:
        _wait(worker, None)
    return workers


def stop(workers: list[subprocess.Popen[bytes]]) -> None:
    """Kill processes; their models end with them."""
    for worker in workers:
        worker.kill()
        worker.wait()


def answer(workers: list[subprocess.Popen[bytes]], limit_s: float) -> float:
    """Return the seconds until all of these processes have answered their rows, infinite when that is too long."""
    began = time.perf_counter()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write(b"go\n")
    in_time = all(_wait(worker, began + limit_s) for worker in workers)
    return time.perf_counter() - began if in_time else float("inf")


def _wait(worker: subprocess.Popen[bytes], until: float | None) -> bool:
    """Wait until a process is done; return whether it is."""
    assert worker.stdout is not None
    left = None if until is None else max(0.0, until - time.perf_counter())
    if not select.select([worker.stdout], [], [], left)[0]:
        return False
    if worker.stdout.readline() != b"done\n":
        raise SystemExit("a process ended: see above")
    return True


def work(what: str, rows: int) -> None:
    """Load a model, and answer rows, each with a text of its own, for every line that comes in."""
    with (encoding if what in _ENCODERS else answering)(what) as compute:
        compute([_TEXT.format(-1)])
        print("done", flush=True)
        for turn, _ in enumerate(sys.stdin):
            texts = [_TEXT.format(turn * rows + i) for i in range(rows)]
            for some in [[text] for text in texts] if what == "single" else [texts]:
                compute(some)
            print("done", flush=True)


@contextlib.contextmanager
def encoding(what: str) -> Iterator[Callable[[list[str]], object]]:
    """Give a function that encodes texts; no vectors are kept."""
    os.environ["LEEROO_VECTORS_GIB"] = "0"
    from leeroo.engine.orchestrator.encoders.encode import encode

    yield lambda texts: encode(texts, _ENCODERS[what])


@contextlib.contextmanager
def answering(what: str) -> Iterator[Callable[[list[str]], object]]:
    """Give a function that answers texts with a local model."""
    import leeroo

    with tempfile.TemporaryDirectory() as folder:
        pool = Path(folder) / "pool.toml"
        pool.write_text(_POOL % _BACKENDS[what])
        with leeroo.connect(pool=pool, router="none", store=folder) as con:
            asked = "SELECT count(leeroo_answer(t, max_tokens := 24)) FROM (SELECT unnest(?::VARCHAR[]) t)"
            yield lambda texts: con.execute(asked, [texts]).fetchall()


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """Keep one core busy in here."""
    spinning = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        spinning.kill()
        spinning.wait()


if __name__ == "__main__":
    main()
