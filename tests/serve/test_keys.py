"""Keys: who sees what, and what is never seen."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.command import leeroo
from tests.serve.talk import Serve, chat, jsonl, submit, wait

pytestmark = pytest.mark.usefixtures("api_pool")


def _keys(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return leeroo("keys", *arguments, "--store", "store", cwd=place)


def test_one_key_sees_nothing_of_another(serve: Serve, tmp_path: Path) -> None:
    """Objects of another key are in no list, and requests for them are answered as for missing ones."""
    server = serve()
    ours, theirs = server.client(server.key("ours")), server.client(server.key("theirs"))
    batch = wait(ours, submit(ours, jsonl([chat("a", "question")])).id)
    assert [found.id for found in ours.batches.list()] == [batch.id]
    assert not list(theirs.batches.list())
    assert not list(theirs.files.list())
    for call in (
        lambda: theirs.batches.retrieve(batch.id),
        lambda: theirs.batches.cancel(batch.id),
        lambda: theirs.files.retrieve(batch.input_file_id),
        lambda: theirs.files.content(batch.output_file_id),
        lambda: theirs.files.delete(batch.output_file_id),
        lambda: theirs.batches.create(
            input_file_id=batch.input_file_id, endpoint="/v1/chat/completions", completion_window="24h"
        ),
    ):
        with pytest.raises(openai.NotFoundError):
            call()


def test_without_a_key_that_is_in_use_there_is_no_reply_but_401(serve: Serve, tmp_path: Path) -> None:
    """A missing, wrong or revoked key gets 401, even when the only key was revoked."""
    server = serve()
    key = server.key("only")
    headers = {"authorization": f"Bearer {key}"}
    models = f"{server.url}/v1/models"
    assert httpx.get(models, headers=headers).status_code == 200
    for wrong in ({}, {"authorization": "Bearer lk-wrong"}, {"authorization": f"Basic {key}"}, {"authorization": key}):
        reply = httpx.get(models, headers=wrong)
        assert reply.status_code == 401
        assert reply.json()["error"]["type"] == "authentication_error"
    # Refused before any of it is read: there is no more than its head.
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as line:
        line.sendall(b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
        assert b" 401 " in line.recv(65536)
    assert _keys(tmp_path, "revoke", "only").returncode == 0
    assert httpx.get(models, headers=headers).status_code == 401
    assert httpx.get(models).status_code == 401


def test_secrets_are_kept_and_logged_nowhere(serve: Serve, tmp_path: Path) -> None:
    """The log has neither the key nor a question, and the key is not on the disk."""
    server = serve()
    key = server.key("reports")
    client = server.client(key)
    wait(client, submit(client, jsonl([chat("a", "a most private question")])).id)
    httpx.post(f"{server.url}/login", data={"key": key})
    assert key not in server.log()
    assert "most private" not in server.log()
    for path in (tmp_path / "store").rglob("*"):
        if path.is_file():
            assert key.encode() not in path.read_bytes(), path


def test_keys_from_the_command_line(tmp_path: Path) -> None:
    """Made once, listed without their secret, revoked by name."""
    made = _keys(tmp_path, "create", "reports")
    assert made.stdout.startswith("lk-")
    again = _keys(tmp_path, "create", "reports")
    assert (again.returncode, again.stderr) == (
        2,
        "leeroo: there is a key 'reports' already: revoke it first, or choose another name\n",
    )
    assert made.stdout.strip() not in _keys(tmp_path, "list").stdout
    assert "revoked: key_" in _keys(tmp_path, "revoke", "reports").stderr
    assert "no key in use is called 'reports'" in _keys(tmp_path, "revoke", "reports").stderr
    assert "reports" in _keys(tmp_path, "list").stdout


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--host", "0.0.0.0"], "0.0.0.0 can be reached from elsewhere, and there is no key yet"),
        (["--pool", "none.toml"], "none.toml"),
        (["--max-lines", "0"], "invalid value for '--max-lines'"),
    ],
)
def test_a_server_that_should_not_start(tmp_path: Path, options: list[str], line: str) -> None:
    """Says why in one line."""
    command = [sys.executable, "-m", "leeroo", "serve", "--pool", "pool.toml", "--store", "store", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert line in done.stderr


def test_two_servers_do_not_share_a_folder(serve: Serve, tmp_path: Path, api: Any) -> None:
    """The second one says so."""
    serve()
    command = [sys.executable, "-m", "leeroo", "serve", "--pool", "pool.toml", "--store", "store", "--port", "0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "another server works in" in done.stderr) == (2, True)
