"""Batch files and HTTP bodies at random: no 5xx, no traceback, no line lost, and another key's batches complete."""

from __future__ import annotations

import json
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fuzz.conftest import Cases
from tests.provider import running
from tests.serve.talk import ENDED, Server, chat, content, jsonl, submit, wait

Random = random.Random

_TEXTS = (
    "", " ", "q", "\u2028", "\x00", "\ud800", "\U0001f600", "[[[[", "../../x", "x" * 5000, "{}", "null", "\\", "\r\n", "leeroo",
)  # fmt: skip
_KEYS = (
    "model", "messages", "prompt", "temperature", "top_p", "n", "stop", "seed", "max_tokens", "max_completion_tokens", "logprobs",
    "top_logprobs", "tools", "tool_choice", "response_format", "reasoning_effort", "stream", "user", "metadata", "store",
    "frequency_penalty", "presence_penalty", "logit_bias", "colour",
)  # fmt: skip


def _value(rng: Random, depth: int = 0) -> Any:
    """Return any JSON value, mostly a small one."""
    kinds: list[Callable[[], Any]] = [
        lambda: rng.choice(_TEXTS),
        lambda: rng.choice([None, True, False]),
        lambda: rng.choice([0, 1, -1, 2, 16, 17, 2**31, 2**63, -(2**63), 10**400, 0.5, 1.5, -0.0, 1e308]),
    ]
    if depth < 4:
        kinds += [
            lambda: [_value(rng, depth + 1) for _ in range(rng.randint(0, 3))],
            lambda: {rng.choice((*_TEXTS, *_KEYS)): _value(rng, depth + 1) for _ in range(rng.randint(0, 3))},
        ]
    return rng.choice(kinds)()


def _schema(rng: Random, depth: int = 0) -> Any:
    if depth > 3 or rng.random() < 0.2:
        return rng.choice([{}, {"type": "string"}, {"type": 1}, {"$ref": "#"}, {"$ref": "http://x/y"}, _value(rng)])
    names = ("properties", "items", "allOf", "not", "enum", "required", "$defs", "$schema", "pattern", "minimum")
    return {name: _of_schema(rng, name, depth) for name in rng.sample(names, rng.randint(1, 4))}


def _of_schema(rng: Random, name: str, depth: int) -> Any:
    if name in ("properties", "$defs"):
        return {rng.choice(_TEXTS): _schema(rng, depth + 1)}
    if name == "allOf":
        return [_schema(rng, depth + 1)]
    return _schema(rng, depth + 1) if name in ("items", "not") else _value(rng)


def _message(rng: Random) -> Any:
    if rng.random() < 0.1:
        return _value(rng)
    role = rng.choice(["user", "user", "system", "assistant", "tool", "developer", "function"])
    text = rng.choice([*_TEXTS, [{"type": "text", "text": rng.choice(_TEXTS)}], [_value(rng)]])
    return {"role": role, "content": text}


def _body(rng: Random) -> Any:
    body: dict[str, Any] = {"model": rng.choice(["leeroo", "large", "small", "none"])}
    body["messages"] = [_message(rng) for _ in range(rng.randint(0, 3))] + [
        {"role": "user", "content": "q"}
    ] * rng.randint(0, 1)
    for key in rng.sample(_KEYS, rng.randint(0, 3)):
        body[key] = _value(rng)
    if rng.random() < 0.3:
        form = {"type": "json_schema", "json_schema": {"name": "a", "schema": _schema(rng)}}
        body["response_format"] = rng.choice([form, {"type": "json_object"}, _value(rng)])
    return body if rng.random() < 0.95 else _value(rng)


def _line(rng: Random, number: int) -> bytes:
    line: Any = {"custom_id": f"c{number}", "method": "POST", "url": "/v1/chat/completions", "body": _body(rng)}
    if rng.random() < 0.01:
        line[rng.choice(["custom_id", "method", "url", "body", "more"])] = _value(rng)
    text = json.dumps(line).encode()
    return text[: rng.randint(0, len(text))] if rng.random() < 0.003 else text


def _file(rng: Random) -> tuple[bytes, int]:
    """Return a file, and how many lines it has."""
    lines = [_line(rng, number) for number in range(rng.randint(1, 40))]
    data = rng.choice([b"\n", b"\r\n", b"\n\n"]).join(lines)
    if rng.random() < 0.05:
        at = rng.randrange(len(data))
        data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
    return data, len(lines)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Run a server over two experts of a provider that always answers."""
    place: Path = tmp_path_factory.mktemp("fuzz")
    with running() as api:
        entry = 'model = "m"\nbackend = "openai"\nbase_url = "{}"\nusd_per_m_input = 1\nusd_per_m_output = 1\nmax_tokens = 16\n'
        names = ("large", "small")
        (place / "pool.toml").write_text("".join(f'[[expert]]\nname = "{n}"\n{entry.format(api.url)}' for n in names))
        server = Server(place, "--requests-per-minute", "1000000")
        server.start()
        yield server
        server.stop(signal.SIGKILL)


def test_batch_files(server: Server, cases: Cases) -> None:
    """Every line of a file that is a batch is in one of the two outputs, once; another batch is answered meanwhile."""
    client = server.client()
    count = lines = 0
    for name, rng in cases(12):
        data, n = _file(rng)
        made = submit(client, data)
        good = submit(client, jsonl([chat("a", f"good {name}", "small")]))
        batch = wait(client, made.id, timeout_s=60)
        assert batch.status in ("completed", "failed"), f"case {name}: {batch}"
        assert wait(client, good.id, timeout_s=60).request_counts.completed == 1, f"case {name}: the other batch"
        if batch.status == "completed":
            results = content(client, batch.output_file_id) + content(client, batch.error_file_id)
            assert len({line["custom_id"] for line in results}) == len(results) == batch.request_counts.total <= n, (
                f"case {name}"
            )
            bad = [line for line in results if "could not work with" in json.dumps(line)]
            assert not bad, f"case {name}: {bad[0]}"
        else:
            assert batch.errors.data[0].code != "server_error", f"case {name}: {batch.errors}"
        assert "Traceback" not in server.log(), f"case {name}: a traceback in the log"
        count, lines = count + 1, lines + n
    print(f"\n{count} files, {lines} lines")


def test_http_bodies(server: Server, cases: Cases) -> None:
    """Any body to any path is answered, and never with a 5xx."""
    count = 0
    with httpx.Client(base_url=server.url, timeout=30) as client:
        for name, rng in cases(150):
            path = rng.choice(
                ["/v1/batches", "/v1/files", "/v1/feedback", "/v1/batches/x/cancel", "/login", "/v1/models/x"]
            )
            value = _value(rng)
            if path == "/v1/batches" and rng.random() < 0.7:
                value = {
                    "input_file_id": "file-x",
                    "endpoint": "/v1/chat/completions",
                    "completion_window": "24h",
                    "metadata": value,
                }
            body = json.dumps(value).encode()
            headers = {
                "content-type": rng.choice(["application/json", "text/plain", "multipart/form-data; boundary=x", "x"])
            }
            if rng.random() < 0.2:
                body = body[: rng.randint(0, len(body))] + rng.randbytes(3)
            reply = client.request(
                rng.choice(["POST", "POST", "PUT", "GET", "DELETE"]), path, content=body, headers=headers
            )
            assert reply.status_code < 500, f"case {name}: {path} {body!r}"
            count += 1
    assert "Traceback" not in server.log()
    print(f"\n{count} requests")


def test_nothing_is_left_open(server: Server) -> None:
    """All batches of the fuzz have ended."""
    until = time.monotonic() + 30
    client = server.client()
    while (
        still := [batch.id for batch in client.batches.list() if batch.status not in ENDED]
    ) and time.monotonic() < until:
        time.sleep(0.2)
    assert not still
