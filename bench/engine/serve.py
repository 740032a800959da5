"""The HTTP endpoint under load: many clients at once, and many batches one after another.

    python bench/engine/serve.py [--clients 200] [--batches 10000]

A real server over the nine experts of `mmlu9` of LEEROO_DATA, replayed, with a router that has learned from its
training split. First all clients submit a batch of 50 rows at once, each with a connection of its own, and poll until
it has ended; then many batches of five rows go through, 100 at a time, while the server's memory is read.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import httpx
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `bench` is

from bench.routing.data import DATA
from leeroo.engine.orchestrator.training.learn import train

_ROWS, _SMALL, _AT_ONCE = 50, 5, 100
_ENDED = ("completed", "failed", "expired", "cancelled")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--batches", type=int, default=10_000)
    options = parser.parse_args()
    prompts = [
        str(prompt)
        for (prompt,) in duckdb.execute(
            f"SELECT prompt FROM '{DATA}/mmlu9/queries.parquet' WHERE split = 'test' ORDER BY query_id"
        ).fetchall()
    ]
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        _pool(place)
        train([DATA / "mmlu9"]).save(place / "router")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [sys.executable, "-m", "leeroo", "serve", "--pool", "pool.toml", "--router", "router"]
        limits = ["--max-open", "100000", "--requests-per-minute", "100000000"]
        with (place / "log").open("wb") as log:
            server = subprocess.Popen(
                [*command, *limits, "--store", "store", "--port", str(port)], cwd=place, stderr=log, stdout=log
            )
        try:
            url = f"http://127.0.0.1:{port}"
            _await(url)
            print(f"{os.cpu_count()} cores; nine experts replayed, a router of its own\n")
            asyncio.run(_crowd(url, prompts, options.clients))
            asyncio.run(_procession(url, prompts, options.batches, psutil.Process(server.pid)))
        finally:
            server.kill()


async def _crowd(url: str, prompts: list[str], clients: int) -> None:
    """Run all clients at once; print how long submitting and polling took, and how many rows are missing."""
    submits: list[float] = []
    polls: list[float] = []
    random = np.random.default_rng(0)
    files = [_file([prompts[i] for i in random.integers(len(prompts), size=_ROWS)]) for _ in range(clients)]
    began = time.perf_counter()
    ended = await asyncio.gather(*(_client(url, file, submits, polls) for file in files))
    seconds = time.perf_counter() - began
    wrong = [
        batch for batch in ended if batch["status"] != "completed" or batch["request_counts"]["completed"] != _ROWS
    ]
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        texts = [(await client.get(f"/v1/files/{batch['output_file_id']}/content")).text for batch in ended]
    lines = sum(len({json.loads(line)["custom_id"] for line in text.splitlines()}) for text in texts)
    print(f"{clients} clients with {_ROWS} rows each at once: {seconds:.1f} s, {clients * _ROWS / seconds:,.0f} rows/s")
    print(f"batches that are not whole: {len(wrong)}; rows in the output files: {lines:,} of {clients * _ROWS:,}")
    for what, times in (("submit (upload and create)", submits), ("poll", polls)):
        p50, p99 = np.percentile(times, [50, 99])
        print(f"{what}: {len(times):,}, median {1000 * p50:.0f} ms, p99 {1000 * p99:.0f} ms")


async def _client(url: str, file: bytes, submits: list[float], polls: list[float]) -> dict[str, Any]:
    # Certificates are not read: each client would take the time of several requests for that.
    async with httpx.AsyncClient(base_url=url, timeout=300, verify=False) as client:
        began = time.perf_counter()
        batch = await _submit(client, file)
        submits.append(time.perf_counter() - began)
        while batch["status"] not in _ENDED:
            await asyncio.sleep(1)
            began = time.perf_counter()
            batch = (await client.get(f"/v1/batches/{batch['id']}")).raise_for_status().json()
            polls.append(time.perf_counter() - began)
        return batch


async def _procession(url: str, prompts: list[str], batches: int, server: psutil.Process) -> None:
    """Run batches in groups; print the server's memory after each tenth of them."""
    random = np.random.default_rng(1)
    print(f"\n{batches:,} batches of {_SMALL} rows, {_AT_ONCE} at a time\n")
    print("| batches | resident MiB | seconds |\n|---|---|---|")
    began, done = time.perf_counter(), 0
    async with httpx.AsyncClient(base_url=url, timeout=300, limits=httpx.Limits(max_connections=20)) as client:
        print(f"| 0 | {_mib(server):.0f} | 0 |")
        for end in range(_AT_ONCE, batches + 1, _AT_ONCE):
            files = [_file([prompts[i] for i in random.integers(len(prompts), size=_SMALL)]) for _ in range(_AT_ONCE)]
            made = await asyncio.gather(*(_submit(client, file) for file in files))
            for batch in made:
                while (await client.get(f"/v1/batches/{batch['id']}")).json()["status"] not in _ENDED:
                    await asyncio.sleep(0.05)
            done = end
            if done % (batches // 10) == 0:
                print(f"| {done:,} | {_mib(server):.0f} | {time.perf_counter() - began:.0f} |", flush=True)


async def _submit(client: httpx.AsyncClient, file: bytes) -> dict[str, Any]:
    upload = await client.post("/v1/files", files={"file": ("a.jsonl", file)}, data={"purpose": "batch"})
    body = {
        "input_file_id": upload.raise_for_status().json()["id"],
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    batch: dict[str, Any] = (await client.post("/v1/batches", json=body)).raise_for_status().json()
    return batch


def _file(prompts: list[str]) -> bytes:
    lines = (
        {
            "custom_id": str(i),
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": {"model": "leeroo", "messages": [{"role": "user", "content": prompt}]},
        }
        for i, prompt in enumerate(prompts)
    )
    return "\n".join(map(json.dumps, lines)).encode()


def _pool(place: Path) -> None:
    listed = duckdb.execute(
        f"SELECT expert, usd_per_m_input, usd_per_m_output FROM '{DATA}/mmlu9/experts.parquet'"
    ).fetchall()
    model = (DATA / "mmlu9").resolve()
    (place / "pool.toml").write_text(
        "".join(
            f'[[expert]]\nname = "{name}"\nmodel = "{model}"\nbackend = "replay"\n'
            f"usd_per_m_input = {read}\nusd_per_m_output = {written}\n"
            for name, read, written in listed
        )
    )


def _await(url: str) -> None:
    for _ in range(600):
        try:
            if httpx.get(f"{url}/health").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise SystemExit("the server does not start")


def _mib(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 2**20


if __name__ == "__main__":
    main()
