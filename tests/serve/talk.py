"""A server in a process of its own, and the requests of tests to it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import openai

from tests.command import leeroo
from tests.disk import limit_files
from tests.provider import Provider

ENDED = ("completed", "failed", "expired", "cancelled")


class Server:
    """A server that can be started, killed and started again on the same port and folder."""

    def __init__(self, place: Path, *options: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.place, self.options = place, options
        self.url = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, ready: int = 200, files: int = 1024, temporary: Path | None = None) -> Server:
        """Start with a limit of open files, and wait until /health answers with the status `ready`.

        Temporary files go to a folder of their own; without room for one of `SMALL_DISK` bytes where that is no disk.
        """
        own = {} if temporary is None else {"TMPDIR": str(temporary)}
        limit = None if temporary is None or temporary.is_mount() else limit_files
        command = [sys.executable, "-m", "leeroo", "serve", "--port", str(self.port), "--pool", "pool.toml"]
        limited = ["bash", "-c", f'ulimit -Sn {files}; exec "$@"', "serve"]
        with (self.place / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*limited, *command, "--store", "store", *self.options],
                cwd=self.place,
                env={**os.environ, **own},
                stderr=log,
                stdout=log,
                preexec_fn=limit,
            )
        until = time.monotonic() + 60
        with httpx.Client(verify=False) as client:  # certificates would be read at every try otherwise
            while time.monotonic() < until:
                assert self.process.poll() is None, self.log()
                with contextlib.suppress(httpx.TransportError):
                    if client.get(f"{self.url}/health").status_code == ready:
                        return self
                time.sleep(0.05)
        raise AssertionError("the server does not answer: " + self.log())

    def log(self) -> str:
        """Return its log so far."""
        return (self.place / "log").read_text()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it, and wait for the end."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(timeout=30)

    def key(self, name: str) -> str:
        """Make a key, as people do."""
        made = leeroo("keys", "create", name, "--store", "store", cwd=self.place)
        made.check_returncode()
        return made.stdout.strip()

    def client(self, key: str = "none") -> openai.OpenAI:
        """Return the stock client."""
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0)


Serve = Callable[..., Server]


class Tenant(NamedTuple):
    """One of those who share a server."""

    client: openai.OpenAI
    api: Provider  # what the server's experts call; nobody else uses it meanwhile
    server: Server


def chat(custom_id: str, text: str, model: str = "leeroo", **more: Any) -> dict[str, Any]:
    """Return a line with one question."""
    body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def jsonl(lines: list[Any]) -> bytes:
    """Return lines as the content of a file."""
    return "\n".join(json.dumps(line) for line in lines).encode()


def submit(client: openai.OpenAI, content: bytes, endpoint: str = "/v1/chat/completions", **more: Any) -> Any:
    """Upload a file and create a batch of it."""
    file = client.files.create(file=("input.jsonl", content), purpose="batch")
    how: Any = {"endpoint": endpoint, "completion_window": "24h", **more}
    return client.batches.create(input_file_id=file.id, **how)


def wait(client: openai.OpenAI, batch: str, timeout_s: float = 120) -> Any:
    """Return the batch when it has ended."""
    until = time.monotonic() + timeout_s
    while (found := client.batches.retrieve(batch)).status not in ENDED:
        assert time.monotonic() < until, f"the batch has not ended: {found}"
        time.sleep(0.1)
    return found


def content(client: openai.OpenAI, file: str | None) -> list[dict[str, Any]]:
    """Return the lines of a file; none if there is no file."""
    return [json.loads(line) for line in client.files.content(file).text.splitlines()] if file else []
