"""Requests that are wrong, too much, too slow or from the wrong place: raw, as no client would send them."""

from __future__ import annotations

import contextlib
import gzip
import json
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.serve.talk import Serve, Server, chat, jsonl, submit, wait

pytestmark = pytest.mark.usefixtures("api_pool")

UPLOAD = b'--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
NEW = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}


@pytest.fixture(scope="module")
def module_server(idle: Callable[..., Server]) -> Server:
    """One server for the requests that leave nothing behind."""
    return idle("--max-file-mb", "1")


def _raw(server: Server, data: bytes, *, wait_s: float = 10) -> bytes:
    """Return the reply to these bytes."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=wait_s) as line:
        line.sendall(data)
        reply = b""
        while part := line.recv(65536):
            reply += part
            head, end, body = reply.partition(b"\r\n\r\n")
            if end and len(body) >= int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]):
                break
        return reply


def _fill(path: Path) -> None:
    """Write until the disk is full."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)


def _error(reply: httpx.Response) -> tuple[int, str]:
    """Status and message; the shape is OpenAI's."""
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return reply.status_code, error["message"]


@pytest.mark.parametrize(
    ("method", "path", "how", "status", "message"),
    [
        ("POST", "/v1/batches", {"json": {}}, 400, "input_file_id: Field required"),
        ("POST", "/v1/batches", {"json": {"input_file_id": "f", **NEW, "endpoint": "/v1/embeddings"}}, 400, "endpoint: Input should be"),
        ("POST", "/v1/batches", {"json": {"input_file_id": "f", **NEW, "completion_window": "1h"}}, 400, "completion_window: Input should be '24h'"),
        ("POST", "/v1/batches", {"json": {"input_file_id": "f", **NEW, "priority": 1}}, 400, "priority: Extra inputs"),
        ("POST", "/v1/batches", {"json": {"input_file_id": "f", **NEW, "metadata": {"a": 1}}}, 400, "metadata.a: Input should be a valid string"),
        ("POST", "/v1/batches", {"json": {"input_file_id": "../../etc/passwd", **NEW}}, 404, "there is no file"),
        ("POST", "/v1/batches", {"content": b"{", "headers": {"content-type": "application/json"}}, 400, "JSON decode error"),
        ("POST", "/v1/batches", {"content": b"x", "headers": {"content-type": "text/plain"}}, 400, "Input should be a valid dictionary"),
        ("POST", "/v1/files", {"json": {}}, 400, "file: Field required"),
        ("POST", "/v1/files", {"files": {"file": b"x"}, "data": {"purpose": "assistants"}}, 400, "purpose: Input should be 'batch'"),
        ("POST", "/v1/files", {"files": {"file": b"x" * 2**21}, "data": {"purpose": "batch"}}, 413, "larger than the 1,048,576 bytes"),
        ("POST", "/v1/files", {"content": b"\0" * 100, "headers": {"content-type": "multipart/form-data; boundary=x"}}, 400, ""),
        ("POST", "/v1/files", {"content": gzip.compress(b"x" * 10**7), "headers": {"content-encoding": "gzip"}}, 415, "without Content-Encoding"),
        ("POST", "/v1/batches", {"content": b" " * 2**20 + b"{}", "headers": {"content-type": "application/json"}}, 413, "larger than"),
        ("GET", "/v1/files/..%2f..%2fserve.sqlite", {}, 404, "Not Found"),
        ("GET", "/v1/files/serve.sqlite/content", {}, 404, "there is no file 'serve.sqlite'"),
        ("GET", "/v1/files/" + "x" * 500, {}, 400, "file_id: String should have at most 64"),
        ("GET", "/v1/batches/none", {}, 404, "there is no batch 'none'"),
        ("GET", "/v1/batches?limit=0", {}, 400, "limit: Input should be greater"),
        ("POST", "/v1/chat/completions", {"json": {"model": "leeroo", "stream": True}}, 404, "batches only"),
        ("POST", "/v1/completions", {"content": b"{"}, 404, "POST /v1/batches"),
        ("PUT", "/v1/batches", {}, 405, "Method Not Allowed"),
        ("GET", "/docs", {}, 404, "Not Found"),
        ("GET", "/static/..%2fpage.py", {}, 404, "Not Found"),
    ],
)  # fmt: skip
def test_bad_requests_are_refused(
    module_server: Server, method: str, path: str, how: dict[str, Any], status: int, message: str
) -> None:
    """The reply has a 4xx status, and one clear line in OpenAI's form."""
    reply = httpx.request(method, module_server.url + path, **how)
    assert _error(reply)[0] == status
    assert message in _error(reply)[1]


def test_only_pages_of_its_own(module_server: Server) -> None:
    """A name of another host that leads here, or a page of another origin, is refused."""
    models = f"{module_server.url}/v1/models"
    assert httpx.get(models, headers={"host": "evil.example"}).status_code == 421
    assert httpx.get(models, headers={"host": f"localhost:{module_server.port}"}).status_code == 200
    assert httpx.get(models, headers={"origin": "http://evil.example"}).status_code == 403
    assert httpx.get(models, headers={"origin": "null"}).status_code == 403
    assert httpx.get(models, headers={"origin": module_server.url}).status_code == 200


def test_every_answer_has_a_request_id(module_server: Server) -> None:
    """The id is the client's own, if it is harmless; and the log has it too."""
    reply = httpx.get(f"{module_server.url}/health", headers={"x-request-id": "mine-1"})
    assert reply.headers["x-request-id"] == "mine-1"
    other = httpx.get(f"{module_server.url}/health", headers={"x-request-id": 'a"b c'}).headers["x-request-id"]
    assert other.startswith("req_")
    lines = [json.loads(line) for line in module_server.log().splitlines()]
    [logged] = [line for line in lines if line.get("request_id") == "mine-1"]
    assert (logged["path"], logged["status"], logged["level"]) == ("/health", 200, "info")


def test_a_client_that_leaves_in_the_middle(module_server: Server) -> None:
    """Leaves nothing behind, and the server goes on."""
    files = module_server.place / "store" / "serve" / "files"
    before = sorted(files.iterdir())
    for length in (200_000, 900_000):
        head = f"POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n"
        with socket.create_connection(("127.0.0.1", module_server.port)) as line:
            line.sendall(
                head.encode() + b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" + UPLOAD + b"y" * 100_000
            )
    time.sleep(0.5)
    assert httpx.get(f"{module_server.url}/health").status_code == 200
    assert sorted(files.iterdir()) == before


def test_a_body_without_a_length_is_limited(module_server: Server) -> None:
    """A body without a length is counted while it is read."""

    def endless() -> Iterator[bytes]:
        yield UPLOAD
        for _ in range(64):
            yield b"y" * 65536

    head = {"content-type": "multipart/form-data; boundary=x"}
    try:
        reply = httpx.post(f"{module_server.url}/v1/files", content=endless(), headers=head)
    except httpx.TransportError:  # closed while it was still sending
        return
    assert _error(reply)[0] == 413


def test_garbage_instead_of_http_is_refused(module_server: Server) -> None:
    """Garbage costs no other request anything."""
    assert b" 400 " in _raw(module_server, b"\x16\x03\x01 hello\r\n\r\n")
    assert httpx.get(f"{module_server.url}/health").json() == {"status": "ok", "live": True, "ready": True}


def test_too_many_requests_and_batches(serve: Serve, api: Any) -> None:
    """The reply says how long to wait; the headers say how many are left."""
    api.delay_s = 0.5
    server = serve("--requests-per-minute", "8", "--max-open", "2")
    client = server.client()
    for i in range(2):
        submit(client, jsonl([chat("a", f"question {i}")] * 1 + [chat("b", f"other {i}")]))
    file = client.files.create(file=("a", jsonl([chat("a", "x")])), purpose="batch")
    reply = httpx.post(f"{server.url}/v1/batches", json={"input_file_id": file.id, **NEW})
    assert _error(reply) == (429, "there are 2 open batches of this key already: wait until some have ended")
    limit, left = (reply.headers[f"x-ratelimit-{name}-requests"] for name in ("limit", "remaining"))
    assert (limit, left) == ("8", "2")
    replies = [httpx.get(f"{server.url}/v1/models") for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    assert 0 < int(replies[-1].headers["retry-after"]) <= 60
    assert httpx.get(f"{server.url}/health").status_code == 200


def test_a_full_disk_is_reported_and_loses_nothing(serve: Serve, api: Any, tmp_path: Path) -> None:
    """Uploads are refused while there is no room; what was there goes on when there is some again."""
    server = serve(start=False)
    small = tmp_path / "store"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small)], check=True)
    try:
        client = server.start().client()
        batch = wait(client, submit(client, jsonl([chat("a", "before")])).id)
        filler = small / "filler"
        _fill(filler)
        upload = {"files": {"file": jsonl([chat("a", "x" * 500_000)])}, "data": {"purpose": "batch"}}
        reply = httpx.post(f"{server.url}/v1/files", **upload)  # type: ignore[arg-type]
        assert _error(reply) == (507, "the server has no room left for this; nothing was kept of it")
        assert client.batches.retrieve(batch.id).status == "completed"
        filler.unlink()
        again = wait(client, submit(client, jsonl([chat("a", "after")])).id)
        assert again.request_counts.completed == 1
    finally:
        server.stop(signal.SIGKILL)
        subprocess.run(["umount", "--lazy", str(small)], check=True)
