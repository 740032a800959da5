"""Batches of Anthropic, Gemini and Mistral: a fake of each sends the shapes that its documentation shows.

Every provider answers six rows: one well, one that it refuses, one that expires the first time, one with thoughts, one
that its filter stops, and one that fails for good.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.errors import ExpertUnavailable, PoolError
from leeroo.engine.pool import load_pool

JSON = dict[str, Any]
ROWS = ("well", "refused", "late", "thoughtful", "filtered", "broken")
# What every answer reports: 12 tokens in, 3 out.
USD = 15e-6 * 0.5


class _Fake(ThreadingHTTPServer):
    """A server of one provider; `lose` breaks the connection after the next batch was created."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.batches: list[JSON] = []
        self.headers_seen: JSON = {}
        self.lose = self.cancelled = False
        self.looks = 0
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def reply(self, method: str, path: str, query: str, content: bytes) -> JSON | bytes | None:
        """Return the reply to a request, None where there is nothing."""
        raise AssertionError("each provider has its own")

    def seen(self, prompt: str) -> int:
        """Return how many batches have had a line with this prompt, with the latest."""
        return sum(prompt in json.dumps(batch) for batch in self.batches)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    server: _Fake  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        """Answer."""
        self._answer("POST")

    def do_GET(self) -> None:
        """Answer."""
        self._answer("GET")

    def _answer(self, method: str) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, _, query = self.path.partition("?")
        self.server.headers_seen = {name.casefold(): value for name, value in self.headers.items()}
        before = len(self.server.batches)
        found = self.server.reply(method, path, query, content)
        if len(self.server.batches) > before and self.server.lose:
            self.server.lose = False
            raise ConnectionError
        data = found if isinstance(found, bytes) else json.dumps(found or {"error": {"message": "none"}}).encode()
        self.send_response(404 if found is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _prompt(text: str) -> str:
    return next(word for word in ROWS if f"the {word} one" in text)


class _Anthropic(_Fake):
    def reply(self, method: str, path: str, query: str, content: bytes) -> JSON | bytes | None:
        """Speak the Message Batches API."""
        assert self.headers_seen["x-api-key"] == "sk-ant-123456"
        assert self.headers_seen["anthropic-version"] == "2023-06-01"
        if (method, path) == ("POST", "/v1/messages/batches"):
            self.batches.append(json.loads(content))
            return self._batch(len(self.batches) - 1)
        if (method, path) == ("GET", "/v1/messages/batches"):
            newest = [self._batch(i) for i in reversed(range(len(self.batches)))]
            return {"data": newest, "has_more": False, "first_id": None, "last_id": None}
        found = re.fullmatch(r"/v1/messages/batches/msgbatch_(\d+)(/results)?", path)
        if found is None:
            return None
        if found[2] is None:
            return self._batch(int(found[1]))
        return b"\n".join(json.dumps(self._line(each)).encode() for each in self.batches[int(found[1])]["requests"])

    def _batch(self, i: int) -> JSON:
        n = len(self.batches[i]["requests"])
        return {
            "id": f"msgbatch_{i}",
            "type": "message_batch",
            "processing_status": "ended",
            "request_counts": {"processing": 0, "succeeded": n, "errored": 0, "canceled": 0, "expired": 0},
            "ended_at": "2099-09-24T18:37:24.100435Z",
            "created_at": "2099-09-24T18:30:24.100435Z",
            "expires_at": "2099-09-25T18:37:24.100435Z",
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": f"{self.url}/v1/messages/batches/msgbatch_{i}/results",
        }

    def _line(self, request: JSON) -> JSON:
        params = request["params"]
        assert params["model"] == "claude"
        assert params["max_tokens"] == 256
        assert params["system"] == "Be brief."
        assert {turn["role"] for turn in params["messages"]} == {"user"}
        prompt = _prompt(params["messages"][0]["content"])
        if prompt == "late" and self.seen("the late one") == 1:
            return {"custom_id": request["custom_id"], "result": {"type": "expired"}}
        if prompt == "broken":
            error = {"type": "invalid_request_error", "message": "messages: something is wrong"}
            return {
                "custom_id": request["custom_id"],
                "result": {"type": "errored", "error": {"type": "error", "error": error, "request_id": "r"}},
            }
        content: list[JSON] = [{"type": "text", "text": f"echo {prompt}"}]
        if prompt == "thoughtful":
            content.insert(0, {"type": "thinking", "thinking": "Hm.", "signature": "x"})
        stop = "refusal" if prompt in ("refused", "filtered") else "end_turn"
        message = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude",
            "content": [] if stop == "refusal" else content,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": {
                "input_tokens": 12,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": 3,
                "service_tier": "batch",
            },
        }
        return {"custom_id": request["custom_id"], "result": {"type": "succeeded", "message": message}}


class _Gemini(_Fake):
    def reply(self, method: str, path: str, query: str, content: bytes) -> JSON | bytes | None:
        """Speak the batch mode of the Gemini API."""
        assert self.headers_seen["x-goog-api-key"] == "sk-ant-123456"
        if (method, path) == ("POST", "/v1beta/models/gemini:batchGenerateContent"):
            self.batches.append(json.loads(content)["batch"])
            return self._operation(len(self.batches) - 1)
        if (method, path) == ("GET", "/v1beta/batches"):
            return {"operations": [self._operation(i) for i in range(len(self.batches))]}
        found = re.fullmatch(r"/v1beta/batches/(\d+)", path)
        return None if found is None else self._operation(int(found[1]))

    def _operation(self, i: int) -> JSON:
        batch = self.batches[i]
        requests = batch["inputConfig"]["requests"]["requests"]
        kind = "type.googleapis.com/google.ai.generativelanguage.v1main"
        return {
            "name": f"batches/{i}",
            "metadata": {
                "@type": f"{kind}.GenerateContentBatch",
                "model": "models/gemini",
                "displayName": batch["displayName"],
                "createTime": "2099-07-10T12:00:00.123456789Z",
                "endTime": "2099-07-10T12:10:00.123456789Z",
                "updateTime": "2099-07-10T12:10:00.123456789Z",
                "batchStats": {"requestCount": str(len(requests)), "successfulRequestCount": str(len(requests))},
                "state": "BATCH_STATE_SUCCEEDED",
                "name": f"batches/{i}",
            },
            "done": True,
            "response": {
                "@type": f"{kind}.GenerateContentBatchOutput",
                "inlinedResponses": {"inlinedResponses": [self._response(each) for each in requests]},
            },
        }

    def _response(self, item: JSON) -> JSON:
        request = item["request"]
        assert request["systemInstruction"] == {"parts": [{"text": "Be brief."}]}
        assert request["generationConfig"]["maxOutputTokens"] == 256
        [turn] = request["contents"]
        prompt = _prompt(turn["parts"][0]["text"])
        if prompt == "late" and self.seen("the late one") == 1:
            return {"error": {"code": 14, "message": "unavailable"}, "metadata": item["metadata"]}
        if prompt == "broken":
            return {
                "error": {"code": 3, "message": "Request contains an invalid argument."},
                "metadata": item["metadata"],
            }
        parts: list[JSON] = [{"text": f"echo {prompt}"}]
        if prompt == "thoughtful":
            parts.insert(0, {"text": "Hm.", "thought": True})
        response: JSON = {
            "candidates": [{"content": {"parts": parts, "role": "model"}, "finishReason": "STOP", "index": 0}],
            "usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 3, "totalTokenCount": 15},
            "modelVersion": "gemini",
        }
        if prompt == "filtered":
            response["candidates"] = [{"finishReason": "SAFETY", "index": 0}]
        if prompt == "refused":
            del response["candidates"]
            response["promptFeedback"] = {"blockReason": "PROHIBITED_CONTENT"}
        return {"response": response, "metadata": item["metadata"]}


class _Mistral(_Fake):
    def __init__(self) -> None:
        super().__init__()
        self.files: list[bytes] = []

    def reply(self, method: str, path: str, query: str, content: bytes) -> JSON | bytes | None:
        """Speak Mistral's files and batch jobs."""
        assert self.headers_seen["authorization"] == "Bearer sk-ant-123456"
        if (method, path) == ("POST", "/v1/files"):
            assert b'name="purpose"\r\n\r\nbatch' in content
            self.files.append(b"\n".join(re.findall(rb"^\{.*\}$", content.replace(b"\r", b""), re.MULTILINE)))
            return {"id": str(len(self.files) - 1), "object": "file", "purpose": "batch"}
        if (method, path) == ("POST", "/v1/batch/jobs"):
            job = json.loads(content)
            lines = [json.loads(line) for line in self.files[int(job["input_files"][0])].splitlines()]
            self.batches.append({**job, "lines": lines})
            return self._job(len(self.batches) - 1)
        if (method, path) == ("GET", "/v1/batch/jobs"):
            return {"data": [self._job(i) for i in range(len(self.batches))] if "page=0" in query else [], "total": 1}
        if (found := re.fullmatch(r"/v1/batch/jobs/job-(\d+)", path)) is not None:
            return self._job(int(found[1]))
        if (found := re.fullmatch(r"/v1/files/out-(\d+)/content", path)) is not None:
            return b"\n".join(json.dumps(self._line(each)).encode() for each in self.batches[int(found[1])]["lines"])
        return None

    def _job(self, i: int) -> JSON:
        job = self.batches[i]
        assert job["model"] == "mistral"
        n = len(job["lines"])
        return {
            "id": f"job-{i}",
            "object": "batch",
            "input_files": job["input_files"],
            "metadata": job["metadata"],
            "endpoint": job["endpoint"],
            "model": job["model"],
            "output_file": f"out-{i}",
            "error_file": None,
            "errors": [],
            "status": "SUCCESS",
            "created_at": 4000000000,
            "started_at": 4000000001,
            "completed_at": 4000000600,
            "total_requests": n,
            "completed_requests": n,
            "succeeded_requests": n,
            "failed_requests": 0,
        }

    def _line(self, line: JSON) -> JSON:
        body = line["body"]
        assert body["messages"][0] == {"role": "system", "content": "Be brief."}
        prompt = _prompt(body["messages"][1]["content"])
        response: JSON = {
            "status_code": 200,
            "body": {
                "id": "x",
                "object": "chat.completion",
                "model": "mistral",
                "choices": [
                    {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": f"echo {prompt}"}}
                ],
                "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
            },
        }
        if prompt == "thoughtful":
            thoughts = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
            message = response["body"]["choices"][0]["message"]
            message["content"] = [thoughts, {"type": "text", "text": message["content"]}]
        if prompt in ("refused", "filtered"):
            response["body"]["choices"][0] |= {"finish_reason": "content_filter"}
        if prompt == "late" and self.seen("the late one") == 1:
            response = {"status_code": 503, "body": {"message": "overloaded"}}
        if prompt == "broken":
            response = {"status_code": 400, "body": {"object": "error", "message": "something is wrong", "code": 3000}}
        return {"id": "batch-x", "custom_id": line["custom_id"], "response": response, "error": None}


PROVIDERS: dict[str, tuple[Callable[[], _Fake], str]] = {
    "anthropic": (_Anthropic, "/v1"),
    "gemini": (_Gemini, "/v1beta"),
    "mistral": (_Mistral, "/v1"),
}
MODELS = {"anthropic": "claude", "gemini": "gemini", "mistral": "mistral"}


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> Iterator[tuple[str, _Fake]]:
    """Provide each of the providers."""
    server = PROVIDERS[request.param][0]()
    yield request.param, server
    server.shutdown()
    server.server_close()


@pytest.fixture
def engine(provider: tuple[str, _Fake], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Open an engine over one batch expert of the provider."""
    name, server = provider
    monkeypatch.setenv("A_KEY", "sk-ant-123456")
    (tmp_path / "pool.toml").write_text(f"""
[[expert]]
name = "slow"
model = "{MODELS[name]}"
backend = "openai"
base_url = "{server.url}{PROVIDERS[name][1]}"
api_key_env = "A_KEY"
usd_per_m_input = 1
usd_per_m_output = 1
batch = true
batch_discount = 0.5
system = "Be brief."
[expert.engine]
provider = "{name}"
poll_interval = 0.2
""")
    with Engine(load_pool(tmp_path / "pool.toml"), store=tmp_path / "store") as engine:
        yield engine


def _answer(engine: Engine) -> dict[str, JSON]:
    table = pa.table({"question": [f"This is the {row} one" for row in ROWS]})
    answers = engine.answer_table(table.to_reader(), Criteria()).to_pylist()
    return dict(zip(ROWS, answers, strict=True))


def test_each_row_is_understood(engine: Engine, provider: tuple[str, _Fake]) -> None:
    """Answers, thoughts, refusals and errors come out as those of the online API do, at the price of a batch."""
    rows = _answer(engine)
    assert {row: rows[row]["answer"] for row in ROWS} == {
        "well": "echo well",
        "refused": None,
        "late": "echo late",
        "thoughtful": "echo thoughtful",
        "filtered": None,
        "broken": None,
    }
    assert all(rows[row]["error"] for row in ("refused", "filtered"))
    assert "wrong" in rows["broken"]["error"] or "invalid argument" in rows["broken"]["error"]
    assert [rows[row]["cost_usd"] for row in ("well", "late", "thoughtful")] == pytest.approx([USD] * 3)
    assert rows["broken"]["cost_usd"] == 0
    assert len(provider[1].batches) == 2  # the second has the late one alone
    assert engine.store.batches() == []


def test_a_batch_whose_id_was_lost_is_found(engine: Engine, provider: tuple[str, _Fake]) -> None:
    """The connection breaks after the batch was created: it is not created again."""
    provider[1].lose = True
    assert _answer(engine)["well"]["answer"] == "echo well"
    assert len(provider[1].batches) == 2


def test_a_provider_without_batches_is_named(tmp_path: Path) -> None:
    """Where we know no batch API, the pool's mistake is one line."""
    (tmp_path / "pool.toml").write_text("""
[[expert]]
name = "slow"
model = "m"
backend = "openai"
usd_per_m_input = 1
usd_per_m_output = 1
batch = true
[expert.engine]
provider = "cohere"
""")
    known = "no batches of the provider 'cohere' are known; there are those of openai"
    with (
        Engine(load_pool(tmp_path / "pool.toml"), store=tmp_path / "store") as engine,
        pytest.raises(PoolError, match=known),
    ):
        _answer(engine)


def test_a_key_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each provider has the usual name of its key."""
    from leeroo.engine.backends.select import connect

    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    (tmp_path / "pool.toml").write_text("""
[[expert]]
name = "slow"
model = "claude-sonnet-4-5"
backend = "openai"
batch = true
[expert.engine]
provider = "anthropic"
""")
    with pytest.raises(ExpertUnavailable, match="ANTHROPIC_API_KEY"):
        connect(load_pool(tmp_path / "pool.toml").experts[0])
