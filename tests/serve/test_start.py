"""What a server says of itself when it starts."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.serve.talk import Serve, Server

EXPERT = """[[expert]]
name = "{0}"
model = "{0}"
backend = "openai"
base_url = "http://127.0.0.1:9/v1"
usd_per_m_input = 1
usd_per_m_output = 1
"""


@pytest.fixture(autouse=True)
def _pool(tmp_path: Path) -> None:
    keyless = 'api_key_env = "LEEROO_TEST_UNSET"\n'
    (tmp_path / "pool.toml").write_text(f'default = "one"\n{EXPERT.format("one")}{EXPERT.format("two")}{keyless}')


def _serving(server: Server) -> dict[str, Any]:
    [line] = [line for line in server.log().splitlines() if '"serving"' in line]
    found: dict[str, Any] = json.loads(line)
    return found


def test_the_log_has_what_is_served(serve: Serve, tmp_path: Path) -> None:
    """Address, pool, experts that can and cannot run, router, store and keys are in one object."""
    server = serve()
    found = _serving(server)
    assert (found["address"], found["pool"]) == (server.url, "pool.toml")
    assert found["experts"][0] == "one (default)"
    assert re.fullmatch(r"two \(cannot run: .*LEEROO_TEST_UNSET.*\)", found["experts"][1])
    assert found["router"].startswith("none: one")
    assert (tmp_path / found["store"]).samefile(tmp_path / "store")
    assert found["keys"].startswith("none")
    with pytest.raises(openai.NotFoundError, match="batches only"):
        server.client().chat.completions.create(model="leeroo", messages=[{"role": "user", "content": "Hi"}])


def test_keys_in_use_are_counted(serve: Serve, tmp_path: Path) -> None:
    """A revoked key is not in use, and keys are needed still."""
    server = serve(start=False)
    first = server.key("first")
    server.key("second")
    assert _serving(server.start())["keys"] == "2 in use"
    with pytest.raises(openai.AuthenticationError):
        server.client("lk-other").completions.create(model="leeroo", prompt="Hi")
    with pytest.raises(openai.NotFoundError, match="batches only"):
        server.client(first).completions.create(model="leeroo", prompt="Hi")


def test_a_terminal_gets_lines(serve: Serve, tmp_path: Path) -> None:
    """A name and a value on each line, and no JSON."""
    port = serve(start=False).port
    ours, its = pty.openpty()
    command = [sys.executable, "-m", "leeroo", "serve", "--port", str(port), "--pool", "pool.toml", "--store", "store"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=its) as process:
        os.close(its)
        said = ""
        while "batches" not in said:
            said += os.read(ours, 4096).decode()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=30) == 0
    lines = dict(line.split(maxsplit=1) for line in said.splitlines() if not line.startswith("{"))
    assert lines["address"] == f"http://127.0.0.1:{port}"
    assert lines["experts"].startswith("one (default), two (cannot run:")
    assert lines["pool"] == "pool.toml"
