"""Limits: silent connections, guesses at keys, quotas, names, and the end of the server."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from leeroo.serve import clock
from leeroo.serve.web.rates import Rates
from tests.serve.talk import Serve, Server, Tenant, chat, jsonl, submit, wait

pytestmark = pytest.mark.usefixtures("api_pool")

UPLOAD = b'Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'


@contextlib.contextmanager
def _silent(server: Server, data: bytes, n: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as opened:
        lines = []
        for _ in range(n):
            lines.append(opened.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60)))
            lines[-1].sendall(data)
        yield lines


@pytest.fixture(scope="module", autouse=True)
def half_a_minute(idle: Callable[..., Server]) -> Iterator[dict[str, Future[None]]]:
    """Begin what takes half a minute, while the other tests of this module go on; the last ones look how it ended."""
    server = idle("--max-file-mb", "1")
    with ThreadPoolExecutor() as pool:
        yield {"silent": pool.submit(_silence, server), "slow": pool.submit(_slow_upload, server)}


def _slow_upload(server: Server) -> None:
    head = b"POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 500\r\n"
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as line:
        line.sendall(head + UPLOAD)
        assert b" 408 " in line.recv(65536)
    assert 25 < time.monotonic() - began < 45


def _silence(server: Server) -> None:
    polled = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    with _silent(server, b"", 5) as nothing, _silent(server, b"GET /health HTTP/1.1\r\nHost: x\r\nX-A", 5) as halves:
        began = time.monotonic()
        closed = threading.Thread(target=_wait_closed, args=([*nothing, *halves],))
        closed.start()
        while closed.is_alive():
            assert time.monotonic() - began < 50
            polled.request("GET", "/health")
            assert b"ok" in polled.getresponse().read()
            time.sleep(0.2)
        assert time.monotonic() - began > 20


def _wait_closed(lines: list[socket.socket]) -> None:
    for line in lines:
        with contextlib.suppress(ConnectionError):
            while line.recv(1000):
                pass


def test_new_connections_replace_silent_ones(serve: Serve) -> None:
    """Every request is answered, with more connections than there may be."""
    server = serve(start=False)
    server.start(files=160)
    with _silent(server, b"GET ", 200):
        for _ in range(20):
            assert httpx.get(f"{server.url}/health").status_code == 200


def test_guesses_at_keys_are_counted_by_the_real_address(serve: Serve) -> None:
    """For every method and form, whatever X-Forwarded-For says; a right key is not held up."""
    server = serve()
    key = {"authorization": f"Bearer {server.key('only')}"}
    wrong = {"authorization": "Bearer lk-wrong"}
    for i, (method, path, headers) in enumerate(
        [("GET", "/v1/models", wrong), ("POST", "/v1/files", wrong), ("GET", "/", {"cookie": "leeroo_session=x"})] * 30
    ):
        reply = httpx.request(method, server.url + path, headers={**headers, "x-forwarded-for": f"10.0.0.{i}"})
        assert reply.status_code == (401 if i < 60 else 429)
    assert httpx.get(f"{server.url}/v1/models", headers=key).status_code == 200
    assert httpx.get(f"{server.url}/openapi.json").status_code == 429
    assert httpx.get(f"{server.url}/openapi.json", headers=key).status_code == 200


def test_a_step_of_the_clock_changes_no_rate_and_no_expiry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting the clock an hour back or a day forward changes neither."""
    rates = Rates()
    before, real = clock.now(), time.time()
    for step in (-3600, 25 * 3600):
        monkeypatch.setattr(time, "time", lambda step=step: real + step)
        assert rates.hit("a", most=3).granted
        assert clock.now() - before < 60
    assert rates.hit("a", most=3).granted
    refused = rates.hit("a", most=3)
    assert (refused.granted, 0 < refused.wait_s <= 60) == (False, True)
    assert rates.hit("b", most=3).granted


def test_a_key_keeps_no_more_than_its_quota(serve: Serve, tmp_path: Path) -> None:
    """Deleting makes room again; other keys have their own."""
    import sqlite3

    server = serve("--max-key-gb", "1")
    client = server.client()
    file = client.files.create(file=("a.jsonl", jsonl([chat("a", "x")])), purpose="batch")
    with sqlite3.connect(tmp_path / "store" / "serve" / "serve.sqlite") as db:
        db.execute("UPDATE files SET bytes = 1073741824")
    with pytest.raises(openai.APIStatusError, match="delete files that are no longer needed") as refused:
        client.files.create(file=("b.jsonl", jsonl([chat("a", "x")])), purpose="batch")
    assert refused.value.status_code == 413
    client.files.delete(file.id)
    client.files.create(file=("b.jsonl", jsonl([chat("a", "x")])), purpose="batch")


def test_files_and_batches_expire(serve: Serve, tmp_path: Path) -> None:
    """They expire at their own time or the server's; files that a killed server left are deleted at the start."""
    import sqlite3

    server = serve("--keep-days", "2")
    client = server.client()
    expiry: Any = {"anchor": "created_at", "seconds": 3600}
    kept = wait(client, submit(client, jsonl([chat("a", "x")])).id)
    batch = wait(client, submit(client, jsonl([chat("a", "x")]), extra_body={"output_expires_after": expiry}).id)
    output = client.files.retrieve(batch.output_file_id)
    assert output.expires_at == output.created_at + 3600
    with pytest.raises(openai.BadRequestError, match="output_expires_after.seconds"):
        submit(client, jsonl([chat("a", "x")]), extra_body={"output_expires_after": {**expiry, "seconds": 5}})
    upload = client.files.create(file=("a", jsonl([chat("a", "x")])), purpose="batch", expires_after=expiry)
    assert upload.expires_at == upload.created_at + 3600
    server.stop(signal.SIGKILL)
    folder = tmp_path / "store" / "serve"
    (folder / "files" / "file-orphan").write_text("left over")
    with sqlite3.connect(folder / "serve.sqlite") as db:
        db.execute("UPDATE files SET expires = 1 WHERE expires IS NOT NULL")
        db.execute(f"UPDATE files SET created = created - 200000 WHERE id = '{kept.output_file_id}'")
        db.execute(f"UPDATE batches SET completed_at = completed_at - 200000 WHERE id = '{kept.id}'")
    server.start()
    until = time.monotonic() + 20
    gone = {output.id, upload.id, kept.output_file_id}
    while gone & {file.id for file in client.files.list()} and time.monotonic() < until:
        time.sleep(0.1)
    left = {file.id for file in client.files.list()}
    assert not gone & left
    assert {path.name for path in (folder / "files").iterdir()} == left
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve(kept.id)
    assert client.batches.retrieve(batch.id).status == "completed"


@pytest.mark.parametrize("name", ["../../etc/passwd", "C:\\files\\passwd", "/etc/passwd"])
def test_a_file_is_named_by_its_last_part(tenant: Tenant, name: str) -> None:
    """Whoever downloads it does not write elsewhere."""
    file = tenant.client.files.create(file=(name, jsonl([chat("a", "x")])), purpose="batch")
    assert file.filename == "passwd"
    assert (
        tenant.client.files.content(file.id).response.headers["content-disposition"] == 'attachment; filename="passwd"'
    )


@pytest.mark.parametrize("name", ["Private", "privat", "max-cost-usd", "MAX_COST_USD", "cost_weigth"])
def test_names_that_are_nearly_ours_are_refused(tenant: Tenant, name: str) -> None:
    """Rows that were meant to be private do not go out because of a capital letter."""
    with pytest.raises(openai.BadRequestError, match="did you mean"):
        submit(tenant.client, jsonl([chat("a", "x")]), metadata={name: "true"})


def test_paths_with_a_slash_lead_nowhere(serve: Serve) -> None:
    """No redirect to whatever the Host header names; invented methods make no series of metrics."""
    server = serve()
    assert httpx.get(f"{server.url}/v1/files/", headers={"host": "localhost"}).status_code == 404
    for i in range(5):
        httpx.request(f"METHOD{i}", f"{server.url}/v1/files")
    assert "METHOD" not in httpx.get(f"{server.url}/metrics").text


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("uploading", [False, True])
def test_a_signal_ends_the_server_with_0(serve: Serve, how: signal.Signals, uploading: bool) -> None:
    """The server ends within seconds, also with an upload under way."""
    server = serve()
    head = b"POST /v1/files HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n"
    with _silent(server, head + UPLOAD, 1) if uploading else contextlib.nullcontext():
        time.sleep(0.3)
        began = time.monotonic()
        server.stop(how)
    assert server.process
    assert server.process.returncode == 0
    assert time.monotonic() - began < 10
    assert "Traceback" not in server.log()


def _refused(place: Path, *options: str) -> str:
    """Return the one line that a server says which does not start."""
    command = [sys.executable, "-m", "leeroo", "serve", "--pool", "pool.toml", "--store", "other", *options]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    return done.stderr


def test_a_port_in_use_is_one_line(serve: Serve, tmp_path: Path) -> None:
    """The server ends with one line and exit code 2."""
    server = serve()
    message = _refused(tmp_path, "--port", str(server.port))
    assert f"127.0.0.1:{server.port} cannot be listened on (address already in use)" in message


def test_an_expert_with_the_name_that_routes_is_refused(tmp_path: Path) -> None:
    """Clients could not name it."""
    pool = tmp_path / "pool.toml"
    pool.write_text(pool.read_text().replace('name = "small"', 'name = "leeroo"'))
    assert "name = 'leeroo': is the name that has experts chosen; call this one otherwise" in _refused(tmp_path)


def test_an_upload_that_finds_no_room_is_507(serve: Serve, small_disk: Path) -> None:
    """Where the folder for temporary files is full, nothing else suffers, and smaller files are taken."""
    server = serve(start=False)
    server.start(temporary=small_disk)
    client = server.client()
    with pytest.raises(openai.APIStatusError, match="no room left") as refused:
        client.files.create(file=("t.jsonl", b" " * 5 * 2**20), purpose="batch")
    assert refused.value.status_code == 507
    assert wait(client, submit(client, jsonl([chat("a", "x")])).id).status == "completed"
    assert "Traceback" not in server.log()


def test_a_pool_without_its_packages_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra that is missing is named before anything is served."""
    from leeroo.engine.answer import open_engine
    from leeroo.engine.backends import select
    from leeroo.engine.errors import UsageError
    from leeroo.serve.run import _check

    missing = "the package openai is not installed: pip install 'leeroo[api]'"
    monkeypatch.setattr(select, "_no_module", lambda *_: missing)
    no_expert = pytest.raises(UsageError, match="no expert can run here: large: the package openai")
    with open_engine(tmp_path / "pool.toml", store=tmp_path / "store") as engine, no_expert:
        _check(engine)


def test_secrets_of_a_pool_are_in_no_log(serve: Serve, tmp_path: Path, api: Any) -> None:
    """A password in a base_url, or a key that the provider repeats, is in no log and no error file."""
    pool = tmp_path / "pool.toml"
    pool.write_text(pool.read_text().replace("http://127", "http://user:pass-word-1@127"))
    api.does = {"odd": "key_shown"}
    server = serve()
    client = server.client()
    batch = wait(client, submit(client, jsonl([chat("a", "x"), chat("b", "odd")])).id)
    said = server.log() + "".join(
        client.files.content(f).text for f in (batch.output_file_id, batch.error_file_id) if f
    )
    assert "pass-word-1" not in said
    assert os.environ.get("OPENAI_API_KEY", "sk-none") not in said


def test_reading_while_deleting_is_whole_or_404(tenant: Tenant) -> None:
    """A download that has begun is not cut off."""
    client = tenant.client
    content = jsonl([chat(str(i), "x" * 1000) for i in range(20_000)])
    file = client.files.create(file=("a", content), purpose="batch")
    with client.files.with_streaming_response.content(file.id) as reply:
        client.files.delete(file.id)
        assert b"".join(reply.iter_bytes()) == content
    with pytest.raises(openai.NotFoundError):
        client.files.content(file.id)


def test_silent_connections_are_closed(half_a_minute: dict[str, Future[None]]) -> None:
    """Those that send nothing, and those that stop in the middle of a head; not one that is polled all the time."""
    half_a_minute["silent"].result()


def test_a_slow_upload_is_ended(half_a_minute: dict[str, Future[None]]) -> None:
    """An upload that brings nothing for half a minute is ended."""
    half_a_minute["slow"].result()
