"""The HTTP endpoint under load: many clients at once, a small batch beside a large one, and many batches in a row.

    python bench/engine/serve.py [--mode crowd] [--clients 200] [--repeats 1]
    python bench/engine/serve.py --mode beside [--lines 50000] [--model NAME] [--same-key]
    python bench/engine/serve.py --mode procession [--batches 10000]

A real server in a process of its own. Clients are one process and one event loop on the same cores; the CPU seconds of
both are printed. The crowd and the procession ask the nine experts of `mmlu9` of LEEROO_DATA, replayed, with a router
that has learned from its training split:

- crowd: all clients submit a batch of 50 rows at once and poll each second until it has ended.
- procession: batches of five rows go through, 100 at a time, while the server's memory is read.
- beside: one batch of many lines alone, one with small batches beside it, one after another, one alone again, and one
  alone of as many lines as the large and the small ones together, each with questions of its own. Answers are replayed,
  or those of a local model (`--model`) that the large batch holds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import duckdb
import httpx
import numpy as np
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # where the name `bench` is

from bench.routing.data import DATA
from leeroo.engine.orchestrator.training.learn import train

_ROWS, _SMALL, _AT_ONCE = 50, 5, 100
# Lines of a small batch beside a large one, and of all of them: fewer than one a second for an hour.
_BESIDE, _OF_SMALL = 10, 36_000
# Seconds between two small batches, and between two polls of either.
_PAUSE_S, _POLL_S = 1.0, 0.2
_ENDED = ("completed", "failed", "expired", "cancelled")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=("crowd", "beside", "procession"), default="crowd")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=1, help="of the crowd, with questions of its own each time")
    parser.add_argument("--lines", type=int, default=50_000)
    parser.add_argument("--model", help="local model for `beside`, by its name or folder; default: replayed answers")
    parser.add_argument("--small", type=int, default=1000, help="the most small batches for `beside`")
    parser.add_argument("--same-key", action="store_true", help="small batches have the key of the large one")
    parser.add_argument("--batches", type=int, default=10_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if options.mode == "beside":
            _arithmetic(place, 4 * options.lines + 2 * _OF_SMALL, options.model)
        else:
            _pool(place)
            router = train([DATA / "mmlu9"])
            router.predict(_prompts())  # vectors of all questions are kept, here and in the server's process
            router.save(place / "router")
        print(f"{os.cpu_count()} cores\n", flush=True)
        keys = [_key(place, name) for name in ("large", "small")] if options.mode == "beside" else []
        with _serving(place, [] if options.mode == "beside" else ["--router", "router"]) as (url, server):
            if options.mode == "beside":
                pair = [keys[0], keys[0] if options.same_key else keys[1]]
                asyncio.run(_beside(url, server, options.lines, pair, options.small))
            elif options.mode == "crowd":
                for repeat in range(options.repeats):
                    asyncio.run(_crowd(url, server, _prompts(), options.clients, repeat))
            else:
                asyncio.run(_procession(url, _prompts(), options.batches, server))


@contextlib.contextmanager
def _serving(place: Path, more: list[str]) -> Iterator[tuple[str, psutil.Process]]:
    """Start a server over the pool in a folder; yield its address and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "leeroo", "serve", "--pool", "pool.toml", "--store", "store", "--port", str(port)]
    limits = ["--max-open", "100000", "--requests-per-minute", "100000000"]
    with (place / "log").open("wb") as log:
        server = subprocess.Popen([*command, *limits, *more], cwd=place, stderr=log, stdout=log)
    try:
        url = f"http://127.0.0.1:{port}"
        _await(url)
        yield url, psutil.Process(server.pid)
    finally:
        server.kill()


def _client(url: str, key: str | None = None) -> aiohttp.ClientSession:
    """Open a client with as many connections as it has requests under way."""
    return aiohttp.ClientSession(
        url,
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(300),
        headers={} if key is None else {"authorization": f"Bearer {key}"},
        raise_for_status=True,
    )


async def _crowd(url: str, server: psutil.Process, prompts: list[str], clients: int, seed: int) -> None:
    """Run all clients at once; print how long submitting and polling took, and how many rows are missing."""
    submits: list[float] = []
    polls: list[float] = []
    random = np.random.default_rng(seed)
    files = [_file([prompts[i] for i in random.integers(len(prompts), size=_ROWS)]) for _ in range(clients)]
    async with _client(url) as client:
        began, cpu = time.perf_counter(), _cpu_s(server)
        ended = await asyncio.gather(*(_submit_and_poll(client, file, submits, polls) for file in files))
        seconds = time.perf_counter() - began
        cpu = [after - before for after, before in zip(_cpu_s(server), cpu, strict=True)]
        wrong = [
            batch for batch in ended if batch["status"] != "completed" or batch["request_counts"]["completed"] != _ROWS
        ]
        texts = [await (await client.get(f"/v1/files/{batch['output_file_id']}/content")).text() for batch in ended]
    lines = sum(len({json.loads(line)["custom_id"] for line in text.splitlines()}) for text in texts)
    print(f"{clients} clients with {_ROWS} rows each at once: {seconds:.1f} s, {clients * _ROWS / seconds:,.0f} rows/s")
    print(f"CPU: server {cpu[0]:.1f} s, clients {cpu[1]:.1f} s")
    print(f"batches that are not whole: {len(wrong)}; rows in the output files: {lines:,} of {clients * _ROWS:,}")
    for what, times in (("submit (upload and create)", submits), ("poll", polls)):
        p50, p99 = np.percentile(times, [50, 99])
        print(f"{what}: {len(times):,}, median {1000 * p50:.0f} ms, p99 {1000 * p99:.0f} ms", flush=True)


async def _submit_and_poll(
    client: aiohttp.ClientSession, file: bytes, submits: list[float], polls: list[float]
) -> dict[str, Any]:
    began = time.perf_counter()
    batch = await _submit(client, file)
    submits.append(time.perf_counter() - began)
    while batch["status"] not in _ENDED:
        await asyncio.sleep(1)
        began = time.perf_counter()
        batch = await _get(client, batch)
        polls.append(time.perf_counter() - began)
    return batch


async def _beside(url: str, server: psutil.Process, lines: int, keys: list[str], most: int) -> None:
    """Run a large batch alone, one beside small ones, whose number is limited, and one alone; print their times."""
    async with _client(url, keys[0]) as ours, _client(url, keys[1]) as theirs:
        await _follow(theirs, _sums(range(-_BESIDE, 0)))  # loads the model, if there is one
        before = await _large(ours, server, range(lines))
        large = asyncio.create_task(_large(ours, server, range(lines, 2 * lines)))
        small: list[tuple[float, float]] = []
        await asyncio.sleep(_PAUSE_S)
        while not large.done() and len(small) < most:
            first = 3 * lines + _BESIDE * len(small)
            small.append(await _follow(theirs, _sums(range(first, first + _BESIDE))))
            await asyncio.sleep(_PAUSE_S)
        beside = await large
        after = await _large(ours, server, range(2 * lines, 3 * lines))
        first = 3 * lines + _OF_SMALL
        together = await _large(ours, server, range(first, first + lines + _BESIDE * len(small)))
    starts, ends = np.array(small).T
    for what, (seconds, cpu_s) in (
        (f"{lines:,} lines alone", before),
        (f"{lines:,} lines beside {len(small)} small batches", beside),
        (f"{lines:,} lines alone again", after),
        (f"{lines + _BESIDE * len(small):,} lines alone", together),
    ):
        print(f"{what}: {seconds:.1f} s, CPU of the server {cpu_s:.1f} s")
    for what, times in (("starts", starts), ("ends", ends)):
        print(f"a batch of {_BESIDE} {what} after {np.median(times):.1f} s, at most {times.max():.1f} s")
    alone = (before[0] + after[0]) / 2, (before[1] + after[1]) / 2
    for what, other in (("the mean of both alone", alone), ("the lines of all in one batch", together)):
        more = [100 * (x / y - 1) for x, y in zip(beside, other, strict=True)]
        print(f"the large one beside, against {what}: {more[0]:+.1f} % time, {more[1]:+.1f} % CPU", flush=True)


async def _large(client: aiohttp.ClientSession, server: psutil.Process, numbers: range) -> tuple[float, float]:
    """Run a large batch; return its seconds and the CPU seconds that the server spent meanwhile."""
    cpu = _cpu_s(server)[0]
    return (await _follow(client, _sums(numbers)))[1], _cpu_s(server)[0] - cpu


async def _follow(client: aiohttp.ClientSession, file: bytes) -> tuple[float, float]:
    """Submit a batch and poll; return the seconds until it was open to the engine, and until it had ended whole."""
    began, started = time.perf_counter(), None
    batch = await _submit(client, file)
    while batch["status"] not in _ENDED:
        await asyncio.sleep(_POLL_S)
        batch = await _get(client, batch)
        if started is None and batch["status"] != "validating":
            started = time.perf_counter() - began
    seconds = time.perf_counter() - began
    counts = batch["request_counts"]
    assert (batch["status"], counts["completed"]) == ("completed", counts["total"]), batch
    return started or seconds, seconds


async def _procession(url: str, prompts: list[str], batches: int, server: psutil.Process) -> None:
    """Run batches in groups; print the server's memory after each tenth of them."""
    random = np.random.default_rng(1)
    print(f"{batches:,} batches of {_SMALL} rows, {_AT_ONCE} at a time\n")
    print("| batches | resident MiB | seconds |\n|---|---|---|")
    began, done = time.perf_counter(), 0
    async with _client(url) as client:
        print(f"| 0 | {_mib(server):.0f} | 0 |")
        for end in range(_AT_ONCE, batches + 1, _AT_ONCE):
            files = [_file([prompts[i] for i in random.integers(len(prompts), size=_SMALL)]) for _ in range(_AT_ONCE)]
            made = await asyncio.gather(*(_submit(client, file) for file in files))
            for batch in made:
                while (await _get(client, batch))["status"] not in _ENDED:
                    await asyncio.sleep(0.05)
            done = end
            if done % (batches // 10) == 0:
                print(f"| {done:,} | {_mib(server):.0f} | {time.perf_counter() - began:.0f} |", flush=True)


async def _submit(client: aiohttp.ClientSession, file: bytes) -> dict[str, Any]:
    form = aiohttp.FormData({"purpose": "batch"})
    form.add_field("file", file, filename="a.jsonl")
    async with client.post("/v1/files", data=form) as reply:
        uploaded = (await reply.json())["id"]
    body = {"input_file_id": uploaded, "endpoint": "/v1/chat/completions", "completion_window": "24h"}
    async with client.post("/v1/batches", json=body) as reply:
        batch: dict[str, Any] = await reply.json()
        return batch


async def _get(client: aiohttp.ClientSession, batch: dict[str, Any]) -> dict[str, Any]:
    async with client.get(f"/v1/batches/{batch['id']}") as reply:
        found: dict[str, Any] = await reply.json()
        return found


def _sums(numbers: range) -> bytes:
    return _file([_sum(i) for i in numbers])


def _sum(i: int) -> str:
    return f"What is {i} plus {i}?"


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


def _prompts() -> list[str]:
    query = f"SELECT prompt FROM '{DATA}/mmlu9/queries.parquet' WHERE split = 'test' ORDER BY query_id"
    return [str(prompt) for (prompt,) in duckdb.execute(query).fetchall()]


def _arithmetic(place: Path, lines: int, model: str | None) -> None:
    """Write a pool of one expert that answers sums: a local model, or one whose answers are recorded."""
    backend, name = ("transformers", model) if model else ("replay", "recorded")
    (place / "pool.toml").write_text(
        f'[[expert]]\nname = "one"\nmodel = "{name}"\nbackend = "{backend}"\nusd_per_m_input = 1\n'
        "usd_per_m_output = 1\nmax_tokens = 8\n"
    )
    if model:
        return
    folder = place / "recorded"
    folder.mkdir()
    numbers = f"(SELECT i, 'What is ' || i || ' plus ' || i || '?' AS q FROM range(-{_BESIDE}, {lines}) t(i))"
    for table, columns in {
        "queries": "i::VARCHAR AS query_id, 'sums' AS dataset, 'test' AS split, q AS question, q AS prompt,"
        " NULL::VARCHAR AS subject, NULL::VARCHAR AS category, NULL::VARCHAR[] AS choices, NULL::VARCHAR AS answer",
        "outcomes": "i::VARCHAR AS query_id, 'one' AS expert, 1.0::DOUBLE AS score, (2 * i)::VARCHAR AS response,"
        " NULL::VARCHAR AS prediction, 10::INTEGER AS prompt_tokens, 5::INTEGER AS completion_tokens",
    }.items():
        duckdb.execute(f"COPY (SELECT {columns} FROM {numbers}) TO '{folder}/{table}.parquet'")
    duckdb.execute(
        "COPY (SELECT 'one' AS expert, 'one' AS model, true AS license_open, 1.0::DOUBLE AS usd_per_m_input,"
        f" 1.0::DOUBLE AS usd_per_m_output) TO '{folder}/experts.parquet'"
    )


def _key(place: Path, name: str) -> str:
    command = [sys.executable, "-m", "leeroo", "keys", "create", name, "--store", "store"]
    return subprocess.run(command, cwd=place, check=True, capture_output=True, text=True).stdout.strip()


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


def _cpu_s(server: psutil.Process) -> list[float]:
    """Return the CPU seconds of the server, its children too, and of this process."""
    found = []
    for process in (server, psutil.Process()):
        used = process.cpu_times()
        living = [child.cpu_times() for child in process.children(recursive=True)] if process is server else []
        found.append(sum(each.user + each.system for each in (used, *living)))
    return found


def _mib(process: psutil.Process) -> float:
    return float(process.memory_info().rss) / 2**20


if __name__ == "__main__":
    main()
