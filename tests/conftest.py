"""What the tests of several rooms share: a small data folder, a replay pool over it, and where real data lies."""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.answer import Engine
from leeroo.engine.pool import load_pool
from leeroo.engine.schema import EXPERTS, OUTCOMES, QUERIES

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# A vector from the last run of the tests would prove nothing.
os.environ.setdefault("LEEROO_VECTORS_GIB", "0")

QUESTIONS = 40


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of recorded outcomes of real models."""
    folder = Path(os.environ.get("LEEROO_DATA") or Path(__file__).parents[2] / "shared" / "data")
    assert folder.is_dir(), f"recorded outcomes are needed in {folder}; name another folder in LEEROO_DATA"
    return folder


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    """Recorded outcomes of two experts on 40 questions: 'large' is right on all, 'small' on the even ones."""
    folder = tmp_path / "data"
    folder.mkdir()
    ids = [f"q-{i:03}" for i in range(QUESTIONS)]
    pq.write_table(
        pa.Table.from_pylist(
            [
                {
                    "query_id": q,
                    "dataset": "toy",
                    "split": "test",
                    "question": f"What is {i} plus {i}?",
                    "answer": str(2 * i),
                    "prompt": f"What is {i} plus {i}?",
                }
                for i, q in enumerate(ids)
            ],
            schema=QUERIES,
        ),
        folder / "queries.parquet",
    )
    pq.write_table(
        pa.Table.from_pylist(
            [
                {
                    "query_id": q,
                    "expert": expert,
                    "score": float(expert == "large" or i % 2 == 0),
                    "response": f"{expert} says {2 * i}",
                    "prompt_tokens": 10,
                    "completion_tokens": 5,
                }
                for i, q in enumerate(ids)
                for expert in ("large", "small")
            ],
            schema=OUTCOMES,
        ),
        folder / "outcomes.parquet",
    )
    pq.write_table(
        pa.Table.from_pylist(
            [
                {"expert": e, "model": e, "license_open": True, "usd_per_m_input": p, "usd_per_m_output": p}
                for e, p in (("large", 100.0), ("small", 10.0))
            ],
            schema=EXPERTS,
        ),
        folder / "experts.parquet",
    )
    return folder


@pytest.fixture
def pool_file(tmp_path: Path, data_folder: Path) -> Path:
    """A pool that replays `data_folder`: 'large' costs 1,500 and 'small' 150 millionths of a dollar a question."""
    path = tmp_path / "pool.toml"
    path.write_text(
        f"""
default = "large"
[[expert]]
name = "large"
model = "{data_folder}"
backend = "replay"
usd_per_m_input = 100
usd_per_m_output = 100
[[expert]]
name = "small"
model = "{data_folder}"
backend = "replay"
usd_per_m_input = 10
usd_per_m_output = 10
"""
    )
    return path


@pytest.fixture
def engine(pool_file: Path, tmp_path: Path) -> Iterator[Engine]:
    """An engine over `pool_file` without a router, with a store of its own."""
    with Engine(load_pool(pool_file), store=tmp_path / "store") as engine:
        yield engine


@pytest.fixture
def questions() -> Callable[..., pa.RecordBatchReader]:
    """Make a reader with an `id` and a `question` column out of questions."""

    def make(*texts: str | None) -> pa.RecordBatchReader:
        table = pa.table({"id": list(range(len(texts))), "question": pa.array(texts, pa.string())})
        return table.to_reader()

    return make


class ApiServer(ThreadingHTTPServer):
    """A server that speaks OpenAI's chat API on loopback, counts what it is asked, and misbehaves on demand.

    The answer to a question is "echo: " and its text. `faults` maps words to what befalls a prompt with that
    word in it: a list of HTTP statuses to give before answering (an endless one with `repeat`), 'garbage',
    'empty', 'hang' or 'drop'. `says` gives other answers: from model and prompt to the probabilities of first words,
    the likeliest of which is the answer.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.delay_s = 0.0
        self.faults: dict[str, list[int | str]] = {}
        self.repeat = False
        self.says: Callable[[str, str], dict[str, float]] | None = None
        self.asked: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.most_at_once = self.at_once = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """The base URL for the client."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def fault(self, prompt: str) -> int | str | None:
        """What befalls this request, taken off the list."""
        with self.lock:
            for word, faults in self.faults.items():
                if word in prompt and faults:
                    return faults[0] if self.repeat else faults.pop(0)
        return None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what some tests are about."""


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ApiServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        """Answer one chat completion."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        prompt = body["messages"][-1]["content"]
        server = self.server
        with server.lock:
            server.asked[prompt] += 1
            server.bodies.append(body)
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            self._reply(body["model"], prompt, server.fault(prompt))
        finally:
            with server.lock:
                server.at_once -= 1

    def _reply(self, model: str, prompt: str, fault: int | str | None) -> None:
        if fault == "drop":
            self.close_connection = True
            return
        if fault == "hang":
            time.sleep(3)
        time.sleep(self.server.delay_s)
        if isinstance(fault, int):
            code = "context_length_exceeded" if fault == 400 else None
            self._send(fault, {"error": {"message": f"fault {fault}", "code": code}}, {"Retry-After": "0.05"})
        elif fault == "garbage":
            self._send(200, b"<html>not json")
        elif fault == "empty":
            self._send(200, {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": []})
        else:
            message = {"role": "assistant", "content": f"echo: {prompt}"}
            reply: dict[str, Any] = {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
            reply["choices"] = [{"index": 0, "message": message, "finish_reason": "stop"}]
            if self.server.says is not None:
                chances = self.server.says(model, prompt)
                message["content"] = max(chances, key=lambda word: chances[word])
                told = [{"token": word, "logprob": math.log(p), "bytes": None} for word, p in chances.items()]
                reply["choices"][0]["logprobs"] = {"content": [{**told[0], "top_logprobs": told}]}
            reply["usage"] = {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15}
            self._send(200, reply)

    def _send(self, status: int, body: bytes | dict[str, Any], headers: dict[str, str] | None = None) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def api() -> Iterator[ApiServer]:
    """A running API server."""
    server = ApiServer()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def api_entry(api: ApiServer) -> Callable[..., str]:
    """Make the entry of a pool file for an expert of the API; `more` goes to its end."""

    def make(name: str, price: float, max_tokens: int, more: str = "") -> str:
        return f"""
[[expert]]
name = "{name}"
model = "{name}"
backend = "openai"
base_url = "{api.url}"
usd_per_m_input = {price}
usd_per_m_output = {price}
max_tokens = {max_tokens}
{more}
"""

    return make
