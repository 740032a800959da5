"""Tokens and rows per second: the engine beside what it stands on, and its peers, on the same rows and model.

    python bench/engine/throughput.py [--rows 256] [--repeats 3] [--new 32]
        [--model HuggingFaceTB/SmolLM2-135M-Instruct]
        [--ways raw,raw-apart,engine,ray,transformers,ray-data,daft,run-batch --peers PEERS/bin/python]
        [--tables distinct,duplicates,mmlu] [--subjects 57] [--per-subject 4]

Three tables: distinct prompts; the same number of rows, each prompt in two of them; and questions of MMLU
(LEEROO_DATA), each with five solved ones of its subject, in random order, with a KV cache that holds a third of the
subjects' prefixes. Every way runs in a process of its own, with a new engine and a new store, in turns; loading is not
counted. "raw" is `vllm.LLM.generate` over all prompts handed over at once, with the engine's settings; "raw-apart" is
the same with a process of its own to compute in, which is vLLM's way. Ratios are those of medians.

The model "random:WIDTHxLAYERS" is a Llama of that size with random weights and SmolLM2's tokenizer: what a GPU is
measured with where no weights can be fetched, and small, 64x2, what shows how fast all but the model is. The ways
ray-data, daft and run-batch are those of throughput_peers.py, which tells of their environment.
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

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `bench` is

from bench.routing.data import DATA
from leeroo.engine import weights
from leeroo.engine.answer import Criteria, Progress, open_engine
from leeroo.engine.backends import device
from leeroo.engine.batch.prompts import build_asks
from leeroo.engine.jobs.mmlu.data import read_questions
from leeroo.engine.paths import cache_folder

TABLES = ("distinct", "duplicates", "mmlu")
# Of the KV cache, for questions of MMLU: the prefixes of 57 subjects have about 35,000.
_CACHE_TOKENS = 12_288


def main() -> None:
    """Measure and print, or measure one way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="HuggingFaceTB/SmolLM2-135M-Instruct")
    parser.add_argument("--new", type=int, default=32, help="tokens at most for an answer")
    parser.add_argument("--ways", default="raw,engine")
    parser.add_argument("--tables", default=",".join(TABLES))
    parser.add_argument("--subjects", type=int, default=57)
    parser.add_argument("--per-subject", type=int, default=4)
    parser.add_argument("--peers", default=sys.executable, help="the Python of the peers' environment")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.folder = _model(options.model)
    if options.one is not None:
        way, table = options.one.split(":")
        print(json.dumps(WAYS[way](prompts_of(table, options), options, table)))
        return
    where = "one GPU" if _on_gpu() else f"{os.cpu_count()} cores without a GPU"
    print(f"{where}; {options.model}, up to {options.new} new tokens (MMLU: 1), medians of {options.repeats}\n")
    print(
        "| table | rows | way | seconds | rows/s | tokens read and written /s | to raw |\n|---|---|---|---|---|---|---|"
    )
    for table in options.tables.split(","):
        found: dict[str, list[dict[str, float]]] = {way: [] for way in options.ways.split(",")}
        for _ in range(options.repeats):
            for way in found:
                found[way].append(_measure_in_subprocess(way, table, options))
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


def _measure_in_subprocess(way: str, table: str, options: argparse.Namespace) -> dict[str, float]:
    """Measure one way in a process of its own."""
    environment = {**os.environ, "VLLM_CPU_KVCACHE_SPACE": "2"}
    with tempfile.TemporaryDirectory() as name:
        if way in WAYS:
            command = [sys.executable, __file__, *sys.argv[1:], "--one", f"{way}:{table}"]
        else:
            (Path(name) / "prompts.json").write_text(json.dumps(prompts_of(table, options)))
            script = str(Path(__file__).with_name("throughput_peers.py"))
            command = [options.peers, script, way, f"{name}/prompts.json", options.folder, str(_new(options, table))]
            command += ["--engine", json.dumps(_engine_options(table))]
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise SystemExit(f"{way} on {table}: {done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def _model(name: str) -> str:
    """Return the folder of a model; one of random weights is made when it is not there."""
    if not name.startswith("random:"):
        return str(weights.locate(name))
    width, layers = map(int, name.removeprefix("random:").split("x"))
    folder = cache_folder() / "random" / f"{width}x{layers}"
    if not folder.is_dir():
        import torch
        from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

        tokenizer = AutoTokenizer.from_pretrained(weights.locate("HuggingFaceTB/SmolLM2-135M-Instruct"))
        heads = max(width // 128, 2)
        config = LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=width * 7 // 2 // 64 * 64,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=max(heads // 4, 1),
            max_position_embeddings=8192,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        torch.manual_seed(0)
        torch.set_default_dtype(torch.bfloat16 if _on_gpu() else torch.float32)
        LlamaForCausalLM(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return str(folder)


def _on_gpu() -> bool:
    return not device.on_host()


def _engine_options(table: str) -> dict[str, Any]:
    """Return the options of all ways of vLLM beside their defaults."""
    block = 16 if _on_gpu() else 128
    own = {"num_gpu_blocks_override": _CACHE_TOKENS // block} if table == "mmlu" else {}
    return {"max_model_len": 4096, **own}


def _new(options: argparse.Namespace, table: str) -> int:
    return 1 if table == "mmlu" else int(options.new)


def prompts_of(table: str, options: argparse.Namespace) -> list[str]:
    """Return the prompts of a table, text to go on with."""
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


def _raw_in_subprocess(prompts: list[str], options: argparse.Namespace, table: str) -> dict[str, float]:
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "1"
    return _raw(prompts, options, table)


def _raw(prompts: list[str], options: argparse.Namespace, table: str) -> dict[str, float]:
    from leeroo.engine.backends.local.vllm import defaults, set_environment

    set_environment()
    from vllm import LLM, SamplingParams

    llm = LLM(**defaults(), model=options.folder, **_engine_options(table))
    llm.generate(["warm"], SamplingParams(max_tokens=1), use_tqdm=False)
    params = SamplingParams(temperature=0, max_tokens=_new(options, table))
    began = time.perf_counter()
    outputs = llm.generate(prompts, params, use_tqdm=False)
    seconds = time.perf_counter() - began
    tokens = sum(len(o.prompt_token_ids or []) + len(o.outputs[0].token_ids) for o in outputs)
    return {"seconds": seconds, "rows": len(prompts), "tokens": tokens}


def _engine(backend: str, place: str = "local") -> Callable[[list[str], argparse.Namespace, str], dict[str, float]]:
    def measure(prompts: list[str], options: argparse.Namespace, table: str) -> dict[str, float]:
        given = _engine_options(table) if backend == "vllm" else {}
        pool = f"""
[[expert]]
name = "one"
model = "{options.folder}"
backend = "{backend}"
usd_per_m_input = 0.01
usd_per_m_output = 0.02
max_tokens = {options.new}
[expert.engine]
{"".join(f"{name} = {value}" + chr(10) for name, value in given.items())}
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
                engine.answer_table(_table(["warm"], "distinct").to_reader(), criteria)
                began = time.perf_counter()
                answers = engine.answer_table(_table(prompts, table).to_reader(), criteria)
                seconds = time.perf_counter() - began
        assert answers.column("error").null_count == len(prompts), answers.column("error")
        tokens = sum(d.prompt_tokens + d.completion_tokens for d in last.experts.values())
        return {"seconds": seconds, "rows": len(prompts), "tokens": tokens}

    return measure


def _table(prompts: list[str], table: str) -> pa.Table:
    """Return the prompts as they are, as rows for the engine; of MMLU's the letters are to be chosen from."""
    n = len(prompts)
    given: dict[str, Any] = {"raw": pa.array([True] * n)}
    if table == "mmlu":
        given["choices"] = pa.array([list("ABCD")] * n)
    return pa.table({"question": prompts, "ask": build_asks(n, given)})


WAYS: dict[str, Callable[[list[str], argparse.Namespace, str], dict[str, float]]] = {
    "raw": _raw,
    "raw-apart": _raw_in_subprocess,
    "engine": _engine("vllm"),
    "ray": _engine("vllm", "ray"),
    "transformers": _engine("transformers"),
}

if __name__ == "__main__":
    main()
