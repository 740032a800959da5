"""Questions a second of each kind of encoder, on questions of MMLU, nothing kept from before.

    python bench/engine/encoders.py [--questions 300] [--processes 1,2,4]

Reads `queries.parquet` of mmlu_gpt4_mixtral in LEEROO_DATA, or ../shared/data. Questions are drawn at random, so their
lengths are those of the benchmark; the static encoder gets all of them, as it is too fast for a few. Models are loaded,
and each encoder has read some questions, before the clock starts.

With `--processes` that many processes start at once, with an empty cache, and encode the same questions by MiniLM.
Their seconds include starting and loading; whoever waits for the vectors of another loads no model.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

os.environ["LEEROO_VECTORS_GIB"] = "0"

from leeroo.engine.orchestrator.encoders.encode import encode

_MINILM, _SMOLLM2 = "sentence-transformers/all-MiniLM-L6-v2", "HuggingFaceTB/SmolLM2-135M-Instruct"
_WARM = 8
# One of several processes: prints how many questions it has encoded itself.
_ONE = """
import sys, duckdb
from leeroo.engine.orchestrator.encoders import encode, sentence
encoded, right = [], sentence.passes
sentence.passes = lambda *of: ((encoded.extend(batch), (batch, vectors))[1] for batch, vectors in right(*of))
prompts = duckdb.execute(f"SELECT prompt FROM '{sys.argv[1]}' ORDER BY hash(query_id) LIMIT {sys.argv[2]}").fetchall()
encode.encode([text for (text,) in prompts], sys.argv[3])
print(len(encoded))
"""


def measure_together(queries: Path, questions: int, processes: int) -> None:
    """Encode the same questions in several processes at once, and print a row."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "LEEROO_CACHE": cache, "LEEROO_VECTORS_GIB": "1"}
        command = [sys.executable, "-c", _ONE, str(queries), str(questions), _MINILM]
        before, start = os.times(), time.perf_counter()
        running = [
            subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(processes)
        ]
        encoded = [int(process.communicate()[0]) for process in running]
        seconds, after = time.perf_counter() - start, os.times()
        cpu = after.children_user - before.children_user + after.children_system - before.children_system
    print(f"| {processes} | {questions:,} | {sum(encoded):,} | {seconds:.1f} | {cpu:.1f} |", flush=True)


def main() -> None:
    """Encode and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--processes", help="numbers of processes that encode the same questions at once, as 1,2,4")
    asked = parser.parse_args()
    data = Path(os.environ.get("LEEROO_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
    queries = data / "mmlu_gpt4_mixtral" / "queries.parquet"
    if asked.processes:
        print(f"{os.cpu_count()} cores\n\n| processes | questions | encoded by all | seconds | CPU seconds |")
        print("|---|---|---|---|---|")
        for processes in asked.processes.split(","):
            measure_together(queries, asked.questions, int(processes))
        return
    prompts = [text for (text,) in duckdb.execute(f"SELECT prompt FROM '{queries}' ORDER BY hash(query_id)").fetchall()]
    print(f"{os.cpu_count()} cores\n\n| encoder | questions | seconds | questions a second |\n|---|---|---|---|")
    some = prompts[: asked.questions]
    for encoder, texts in (
        (f"static:{_MINILM}", prompts),
        (_MINILM, some),
        (f"{_SMOLLM2}@17-mean", some),
        (f"{_SMOLLM2}@30-mean", some),
    ):
        encode(prompts[-_WARM:], encoder)
        start = time.perf_counter()
        encode(texts, encoder)
        seconds = time.perf_counter() - start
        print(f"| {encoder} | {len(texts):,} | {seconds:.1f} | {len(texts) / seconds:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
