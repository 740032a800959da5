"""The example questions answered by SmolLM2 through vLLM and through transformers: load time, wall time, tokens/s.

    python bench/engine/backends.py

Each backend runs in a process of its own, one after the other, over the same 60 questions of
examples/questions.parquet, asked once for a short answer and once to reason.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq

from leeroo.engine.backends.completions import Request
from leeroo.engine.backends.select import open_backend, unavailable
from leeroo.engine.pool import DEFAULT_POOL, load_pool
from leeroo.engine.schema import REQUESTS

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def measure(backend: str) -> dict[str, object]:
    """Load a backend and answer the questions with both experts of the local pool in one stream."""
    import pyarrow as pa

    experts = [e.model_copy(update={"backend": backend}) for e in load_pool(DEFAULT_POOL).experts]
    why = unavailable(experts[0])
    if why is not None:
        return {"backend": backend, "cannot run": why}
    questions = pq.read_table(EXAMPLES / "questions.parquet").column("question").to_pylist()
    requests = [
        Request(i * len(experts) + k, question, question, e.system, e.max_tokens, 0.0)
        for i, question in enumerate(questions)
        for k, e in enumerate(experts)
    ]
    batch = pa.RecordBatch.from_pylist([request.__dict__ for request in requests], schema=REQUESTS)
    started = time.perf_counter()
    engine = open_backend(experts[0])
    loaded = time.perf_counter()
    rows = [row for done in engine.generate(iter([batch])) for row in done.to_pylist()]
    seconds = time.perf_counter() - loaded
    engine.close()
    tokens = sum(row["completion_tokens"] for row in rows)
    return {
        "backend": backend,
        "load_s": round(loaded - started, 1),
        "wall_s": round(seconds, 1),
        "answers": len(rows),
        "tokens": tokens,
        "tokens_per_s": round(tokens / seconds, 1),
        "texts": {str(row["id"]): row["answer"] for row in rows},
    }


def main() -> None:
    """Measure each backend in its own process and print a line for each."""
    if len(sys.argv) == 2:
        print(json.dumps(measure(sys.argv[1])))
        return
    found = []
    for backend in ("transformers", "vllm"):
        done = subprocess.run([sys.executable, __file__, backend], check=True, capture_output=True, text=True)
        found.append(json.loads(done.stdout.strip().splitlines()[-1]))
    texts = [result.pop("texts", {}) for result in found]
    for result in found:
        print(", ".join(f"{name} {value}" for name, value in result.items()))
    same = sum(text == texts[1].get(key) for key, text in texts[0].items())
    print(f"the same text from both: {same} of {len(texts[0])}")


if __name__ == "__main__":
    main()
