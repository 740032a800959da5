"""Tokens and rows per second: the engine beside what it stands on, on the same rows and model.

    python bench/throughput.py [--rows 256] [--repeats 3] [--model HuggingFaceTB/SmolLM2-135M-Instruct] [--new 32]
                               [--ways raw,engine,ray,transformers] [--subjects 48] [--per-subject 4]

Three tables: distinct prompts; the same number of rows, each prompt in two of them; and questions of MMLU
(LEEROO_DATA), each with five solved ones of its subject, in random order, with a KV cache that holds fewer prefixes
than there are.
Every way runs in a process of its own, with a new engine and a new store, in turns; loading is not counted. "raw" is
`vllm.LLM.generate` over all prompts handed over at once. Ratios are those of medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where the name `bench` is

from bench.routing_data import DATA
from leeroo.engine import weights
from leeroo.engine.answer import Criteria, Progress, open_engine
from leeroo.engine.batch.prompts import ASK
from leeroo.engine.jobs.mmlu_data import read_questions

TABLES = ("distinct", "duplicates", "mmlu")
# Of the KV cache on a CPU: with one GiB about 23,000 tokens of SmolLM2 find room, half of the prefixes of 48 subjects.
_CACHE_GIB = {"distinct": "2", "duplicates": "2", "mmlu": "1"}


def main() -> None:
    """Measure and print, or measure one way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    parser.add_argument("--new", type=int, default=32, help="tokens at most for an answer")
    parser.add_argument("--ways", default="raw,engine")
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--subjects", type=int, default=48)
    parser.add_argument("--per-subject", type=int, default=4)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        way, table = options.one.split(":")
        print(json.dumps(WAYS[way](prompts_of(table, options), options, table)))
        return
    print(f"{os.cpu_count()} cores; {options.model}, up to {options.new} new tokens, medians of {options.repeats}\n")
    print(
        "| table | rows | way | seconds | rows/s | tokens read and written /s | to raw |\n|---|---|---|---|---|---|---|"
    )
    for table in options.tables.split(","):
        found: dict[str, list[dict[str, float]]] = {way: [] for way in options.ways.split(",")}
        for _ in range(options.repeats):
            for way in found:
                found[way].append(_apart(way, table))
        _print(table, found)


def _print(table: str, found: dict[str, list[dict[str, float]]]) -> None:
    seconds = {way: statistics.median(each["seconds"] for each in runs) for way, runs in found.items()}
    raw = seconds.get("raw")
    for way, took in seconds.items():
        rows, tokens = found[way][0]["rows"], found[way][0]["tokens"]
        ratio = f"{raw / took:.2f}" if raw else "-"
        print(
            f"| {table} | {rows:,.0f} | {way} | {took:.1f} | {rows / took:.1f} | {tokens / took:,.0f} | {ratio} |",
            flush=True,
        )


def _apart(way: str, table: str) -> dict[str, float]:
    """One measurement in a process of its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--one", f"{way}:{table}"]
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": _CACHE_GIB[table]}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{way} on {table}: {done.stderr[-2000:]}")
    told: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


def prompts_of(table: str, options: argparse.Namespace) -> list[str]:
    """The prompts of a table, text to go on with."""
    if table == "mmlu":
        questions = read_questions(str(DATA / "mmlu"), shots=5, limit=57 * options.per_subject)
        chosen = duckdb.execute(
            f"""SELECT prompt FROM questions WHERE subject IN (
                    SELECT subject FROM questions GROUP BY subject ORDER BY md5(subject) LIMIT {options.subjects})
                ORDER BY md5(prompt)"""
        ).fetchall()
        assert len(questions)
        return [str(prompt) for (prompt,) in chosen]
    distinct = options.rows if table == "distinct" else options.rows // 2
    topics = [str(q) for (q,) in duckdb.execute("SELECT question FROM 'examples/questions.parquet'").fetchall()]
    prompts = [f"Question {i}: {topics[i % len(topics)]}\nAnswer:" for i in range(distinct)]
    return (prompts * 2)[: options.rows] if table == "duplicates" else prompts


def _raw(prompts: list[str], options: argparse.Namespace, table: str) -> dict[str, float]:
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    from vllm import LLM, SamplingParams

    from leeroo.engine.backends.vllm import defaults

    llm = LLM(**defaults(), model=str(weights.locate(options.model)), max_model_len=4096)
    llm.generate(["warm"], SamplingParams(max_tokens=1), use_tqdm=False)
    params = SamplingParams(temperature=0, max_tokens=1 if table == "mmlu" else options.new)
    began = time.perf_counter()
    outputs = llm.generate(prompts, params, use_tqdm=False)
    seconds = time.perf_counter() - began
    tokens = sum(len(o.prompt_token_ids or []) + len(o.outputs[0].token_ids) for o in outputs)
    return {"seconds": seconds, "rows": len(prompts), "tokens": tokens}


def _engine(backend: str, place: str = "local") -> Callable[[list[str], argparse.Namespace, str], dict[str, float]]:
    def measure(prompts: list[str], options: argparse.Namespace, table: str) -> dict[str, float]:
        pool = f"""
[[expert]]
name = "one"
model = "{options.model}"
backend = "{backend}"
usd_per_m_input = 0.01
usd_per_m_output = 0.02
max_tokens = {options.new}
[expert.engine]
{"max_model_len = 4096" if backend == "vllm" else ""}
[expert.ray]
replicas = 2
"""
        last = Progress()

        def listen(progress: Progress) -> None:
            nonlocal last
            last = progress

        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "pool.toml").write_text(pool)
            with open_engine(Path(name) / "pool.toml", None, Path(name) / "store", listen, place) as engine:  # type: ignore[arg-type]
                criteria = Criteria(ask_column="ask")
                engine.answer(_table(["warm"], "distinct").to_reader(), criteria).read_all()
                began = time.perf_counter()
                answers = engine.answer(_table(prompts, table).to_reader(), criteria).read_all()
                seconds = time.perf_counter() - began
                engine.delivered()
        assert answers.column("error").null_count == len(prompts), answers.column("error")
        tokens = sum(d.prompt_tokens + d.completion_tokens for d in last.experts.values())
        return {"seconds": seconds, "rows": len(prompts), "tokens": tokens}

    return measure


def _table(prompts: list[str], table: str) -> pa.Table:
    """The prompts as they are, as rows for the engine; of MMLU's the letters are to be chosen from."""
    n = len(prompts)
    given: dict[str, Any] = {"raw": pa.array([True] * n)}
    if table == "mmlu":
        given["choices"] = pa.array([list("ABCD")] * n)
    columns = [given.get(field.name, pa.nulls(n, field.type)) for field in ASK]
    return pa.table({"question": prompts, "ask": pa.StructArray.from_arrays(columns, fields=list(ASK))})


WAYS: dict[str, Callable[[list[str], argparse.Namespace, str], dict[str, float]]] = {
    "raw": _raw,
    "engine": _engine("vllm"),
    "ray": _engine("vllm", "ray"),
    "transformers": _engine("transformers"),
}

if __name__ == "__main__":
    main()
