"""Questions a second of each kind of encoder, on questions of MMLU, nothing kept from before.

    python bench/engine/encoders.py [--questions 300]

Reads `queries.parquet` of mmlu_gpt4_mixtral in LEEROO_DATA, or ../shared/data. Questions are drawn at random, so their
lengths are those of the benchmark; the static encoder gets all of them, as it is too fast for a few. Models are loaded,
and each encoder has read some questions, before the clock starts.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import duckdb

os.environ["LEEROO_VECTORS_GIB"] = "0"

from leeroo.engine.orchestrator.encoders.encode import encode

_MINILM, _SMOLLM2 = "sentence-transformers/all-MiniLM-L6-v2", "HuggingFaceTB/SmolLM2-135M-Instruct"
_WARM = 8


def main() -> None:
    """Encode and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=300)
    asked = parser.parse_args()
    data = Path(os.environ.get("LEEROO_DATA") or Path(__file__).resolve().parents[3] / "shared" / "data")
    queries = data / "mmlu_gpt4_mixtral" / "queries.parquet"
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
