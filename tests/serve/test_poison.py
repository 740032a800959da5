"""Poison: a batch or line that cannot be worked on fails alone, and the batches of others go on."""

from __future__ import annotations

import io
import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import openai
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.provider import BEHAVIOURS, Call, Reply
from tests.serve.talk import ENDED, Serve, Server, Tenant, chat, content, jsonl, submit, wait

pytestmark = pytest.mark.usefixtures("api_pool")


def _database(server: Server, statement: str) -> None:
    with closing(sqlite3.connect(server.place / "store" / "serve" / "serve.sqlite")) as db, db:
        db.execute(statement)


def _parquet(**columns: Any) -> bytes:
    return _bytes(pa.table(columns))


def _bytes(table: pa.Table) -> bytes:
    into = io.BytesIO()
    pq.write_table(table, into, compression="zstd")
    return into.getvalue()


@pytest.fixture(scope="module")
def small(idle: Callable[..., Server]) -> Server:
    """Start a server that takes files of two megabytes."""
    return idle("--max-file-mb", "2")


def test_a_budget_and_a_weight_are_refused_together(tenant: Tenant, tmp_path: Path) -> None:
    """The batch is refused when it is created, and the server's own options when it starts."""
    client = tenant.client
    with pytest.raises(openai.BadRequestError, match="give a budget"):
        submit(client, jsonl([chat("a", "x")]), metadata={"max_cost_usd": "1", "cost_weight": "2"})
    command = [sys.executable, "-m", "leeroo", "serve", "--pool", "pool.toml", "--store", "other", "--port", "0"]
    options = ["--max-cost-usd", "1", "--cost-weight", "2"]
    done = subprocess.run([*command, *options], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "give a budget" in done.stderr


def test_a_batch_that_the_engine_refuses_fails_alone(serve: Serve, api: Any) -> None:
    """One that was written by an older server: it says why, and others are answered."""
    api.delay_s = 3
    server = serve()
    client = server.client()
    poison = submit(client, jsonl([chat(str(i), f"poison {i}") for i in range(3)]))
    server.stop(signal.SIGKILL)
    api.delay_s = 0.0
    _database(server, "UPDATE batches SET max_cost_usd = 1, cost_weight = 2")
    server.start()
    good = wait(client, submit(client, jsonl([chat("a", "good")])).id, timeout_s=30)
    assert good.request_counts.completed == 1
    ended = wait(client, poison.id, timeout_s=30)
    assert ended.status == "failed"
    assert "give a budget" in ended.errors.data[0].message


@pytest.mark.parametrize("name", ["binary", "list", "struct", "map", "text", "dictionary"])
def test_a_parquet_bomb_is_refused(small: Server, name: str) -> None:
    """One value in every row takes no room in the file and gigabytes when it is unpacked, whatever it is nested in."""
    text = "x" * 500_000
    value: pa.Array = {
        "binary": pa.array([text.encode()] * 200),
        "list": pa.array([[text]] * 200),
        "struct": pa.array([{"a": {"b": text}}] * 200),
        "map": pa.array([[("k", text)]] * 200, pa.map_(pa.string(), pa.string())),
        "text": pa.array([text] * 200),
        "dictionary": pa.array([text] * 200).dictionary_encode(),
    }[name]
    client = small.client()
    bomb = _parquet(question=["q"] * 200, blob=value)
    assert len(bomb) < 100_000
    ended = wait(client, submit(client, bomb).id)
    assert ended.errors.data[0].message == "the Parquet file is too large when it is unpacked: split it"


def test_a_batch_that_ends_the_server_is_given_up(serve: Serve) -> None:
    """A server that was killed twice while it wrote the files of a batch does not try them a third time."""
    server = serve()
    client = server.client()
    batch = wait(client, submit(client, jsonl([chat("a", "x")])).id)
    server.stop(signal.SIGKILL)
    _database(server, "UPDATE batches SET status = 'finalizing', attempts = 2")
    server.start()
    ended = wait(client, batch.id, timeout_s=10)
    assert (ended.status, ended.errors.data[0].code) == ("failed", "server_error")


def test_a_line_that_ends_the_server_fails_alone(serve: Serve, api: Any) -> None:
    """Each time it is sent the server dies, before any other line is answered; those are answered all the same."""
    server = serve()
    client = server.client()
    ends: list[str] = []

    def reply(call: Call) -> Reply:
        if call.prompt == "poison" and server.process is not None:
            ends.append(call.prompt)
            server.process.kill()
        return BEHAVIOURS["ok"](call)

    api.replies, api.delay_s = reply, 0.5
    lines = [chat(str(i), "poison" if i == 7 else f"question {i}", "small") for i in range(12)]
    poison = submit(client, jsonl(lines))
    good = submit(client, jsonl([chat(str(i), f"good {i}", "large") for i in range(20)]))
    until = time.monotonic() + 90
    while _status(client, poison.id) not in ENDED:
        assert time.monotonic() < until
        if server.process is not None and server.process.poll() is not None:
            server.start()
        time.sleep(0.1)
    assert wait(client, good.id).request_counts.completed == 20
    ended = wait(client, poison.id)
    assert (ended.status, ended.request_counts.completed, ended.request_counts.failed) == ("completed", 11, 1)
    [failed] = content(client, ended.error_file_id)
    assert failed["custom_id"] == "7"
    assert re.search(r"the server ended \d times while it answered this line", json.dumps(failed))
    assert ended.leeroo["cost_usd"] == pytest.approx(11 * 15e-6)
    assert len(ends) <= 7


def _status(client: openai.OpenAI, batch: str) -> str:
    """Return the status of a batch; "" while the server is down."""
    try:
        return client.batches.retrieve(batch).status
    except openai.APIConnectionError:
        return ""


def test_half_a_character_is_its_lines_error(tenant: Tenant) -> None:
    """Half a character harms no other line, and takes no time."""
    lines = [chat(str(i), "half \ud83d" if i % 2 else f"whole \U0001f600 {i}") for i in range(40)]
    batch = wait(tenant.client, submit(tenant.client, jsonl(lines)).id, timeout_s=30)
    assert (batch.request_counts.completed, batch.request_counts.failed) == (20, 20)
    messages = {line["response"]["body"]["error"]["message"] for line in content(tenant.client, batch.error_file_id)}
    assert messages == {"a text holds half a character (a lone surrogate): send whole ones"}


def test_odd_schemas_are_their_lines_errors(tenant: Tenant) -> None:
    """Nested deep, with a `$schema` that is no text: the other lines are answered."""

    def line(name: str, schema: Any) -> dict[str, Any]:
        form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
        return chat(name, "x", response_format=form)

    deep: Any = {}
    for _ in range(150):
        deep = {"properties": {"a": deep}}
    lines = [line("deep", deep), line("list", {"$schema": [1]}), line("false", {"$schema": False}), chat("good", "x")]
    batch = wait(tenant.client, submit(tenant.client, jsonl(lines)).id)
    assert (batch.request_counts.completed, batch.request_counts.failed) == (1, 3)


def test_parquet_files_as_people_have_them(tenant: Tenant) -> None:
    """Two columns of one name, names in upper case, and text that is not UTF-8: only the broken row fails."""
    client = tenant.client
    question = pa.array(["one", "two", None]).cast(pa.binary())
    broken = pa.array([b"one", b"\xff\xfe", b"three"], pa.binary())
    broken = pa.Array.from_buffers(pa.string(), 3, broken.buffers())
    twice = pa.Table.from_arrays(
        [question.cast(pa.string()), pa.array([1, 2, 3]), pa.array([[4], None, []]), pa.array(["x", "y", "z"])],
        names=["question", "a", "a", "Answer"],
    )
    batch = wait(client, submit(client, _bytes(twice)).id)
    table = pq.ParquetFile(io.BytesIO(client.files.content(batch.output_file_id).content)).read()
    assert table.column_names[:5] == ["question", "a", "a", "Answer", "leeroo_answer"]
    assert table.select([0, 1, 2, 3]).equals(twice)
    assert table.column("leeroo_answer").to_pylist() == ["echo: one", "echo: two", None]
    batch = wait(client, submit(client, _bytes(pa.Table.from_arrays([broken], names=["question"]))).id)
    table = pq.ParquetFile(io.BytesIO(client.files.content(batch.output_file_id).content)).read()
    assert table.column("answer").to_pylist() == ["echo: one", None, "echo: three"]
    assert "not valid UTF-8" in table.column("error")[1].as_py()


def test_without_a_key_of_its_api_batches_wait_and_say_why(serve: Serve, tmp_path: Path) -> None:
    """The server is up, but not ready; files can be fetched, and batches go on when the key is there again."""
    pool = tmp_path / "pool.toml"
    pool.write_text(pool.read_text().replace("max_tokens", 'api_key_env = "NO_SUCH_KEY"\nmax_tokens', 1))
    entries = pool.read_text().split("[[expert]]")
    pool.write_text("[[expert]]".join(entries[:2]))
    server = serve(start=False)
    server.start(ready=503)
    reply = httpx.get(f"{server.url}/health")
    assert (reply.status_code, reply.json()["status"], reply.json()["ready"]) == (503, "degraded", False)
    assert "NO_SUCH_KEY" in reply.json()["why"]
    client = server.client()
    batch = submit(client, jsonl([chat("a", "x")]))
    time.sleep(2)
    batch = client.batches.retrieve(batch.id)
    assert batch.status not in ENDED
    assert "NO_SUCH_KEY" in batch.leeroo["waiting_for"]  # type: ignore[attr-defined]


def test_one_expert_down_is_reported_and_the_others_answer(serve: Serve, tmp_path: Path, api: Any) -> None:
    """The server is ready, but degraded."""
    pool = tmp_path / "pool.toml"
    pool.write_text(pool.read_text().replace("max_tokens", 'api_key_env = "NO_SUCH_KEY"\nmax_tokens', 1))
    server = serve()
    health = httpx.get(f"{server.url}/health").json()
    assert (health["status"], health["ready"]) == ("degraded", True)
    client = server.client()
    batch = wait(client, submit(client, jsonl([chat("a", "x", "small"), chat("b", "x", "large")])).id)
    assert (batch.request_counts.completed, batch.request_counts.failed) == (1, 1)
    [error] = content(client, batch.error_file_id)
    assert "NO_SUCH_KEY" in error["error"]["message"]


def test_lines_of_output_are_lines(tenant: Tenant) -> None:
    """Output is read line by line even by readers that split at every line separator of Unicode."""
    name = "a\u2028b\u0085c"
    batch = wait(tenant.client, submit(tenant.client, jsonl([chat(name, "x\u2028y\u2029z")])).id)
    [line] = tenant.client.files.content(batch.output_file_id).text.splitlines()
    result = json.loads(line)
    assert result["custom_id"] == name
    assert result["response"]["body"]["choices"][0]["message"]["content"] == "echo: x\u2028y\u2029z"
