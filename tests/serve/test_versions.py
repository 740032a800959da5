"""A server's folder that version 2 of the database left: its running batch goes on, its ended ones can be judged."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from leeroo.serve.database import VERSION
from tests.serve.talk import Serve, Server, content, wait

pytestmark = pytest.mark.usefixtures("api_pool")

# Written by a server that was killed in the middle of a wave: two batches had ended (the input file of the second was
# deleted), and of the third one line was answered, one was wrong, and eleven were claimed.
VERSION_2 = Path(__file__).with_name("version_2")
ENDED, DELETED, RUNNING = (
    "batch_62523bdf12a42b21ae957340e9d3cc1d",
    "batch_7f9497b825b9c1aa8968cef45ac816a1",
    "batch_e22905f948f965d9fca1bc327665b894",
)


@pytest.fixture
def server(serve: Serve, tmp_path: Path) -> Server:
    """Start a server over the old folder."""
    folder = tmp_path / "store" / "serve"
    shutil.copytree(VERSION_2 / "files", folder / "files")
    with closing(sqlite3.connect(folder / "serve.sqlite")) as old:
        old.executescript((VERSION_2 / "serve.sql").read_text("utf-8"))
        old.execute("UPDATE batches SET expires_at = strftime('%s', 'now') + 86400")
        old.commit()
    return serve("--keep-days", "0")


def _judge(server: Server, batch: str, custom_id: str) -> httpx.Response:
    item = {"batch_id": batch, "custom_id": custom_id, "score": 1}
    return httpx.post(f"{server.url}/v1/feedback", json=item)


def test_a_running_batch_is_finished(server: Server, api: Any, tmp_path: Path) -> None:
    """Answered lines are not sent again; claimed ones are answered, and wrong ones stay wrong."""
    client = server.client()
    batch = wait(client, RUNNING)
    assert (batch.status, batch.metadata) == ("completed", {"name": "old"})
    assert batch.request_counts.model_dump() == {"total": 13, "completed": 12, "failed": 1}
    answers = {line["custom_id"]: line["response"]["body"] for line in content(client, batch.output_file_id)}
    assert list(answers) == [f"q{i}" for i in range(12)]
    texts = [body["choices"][0]["message"]["content"] for body in answers.values()]
    assert texts == [f"echo: {'stuck' if i % 3 == 2 else 'question'} {i}" for i in range(12)]
    assert [name for name, body in answers.items() if body["choices"][0]["logprobs"]] == ["q5"]
    assert answers["q0"]["model"] == "small"
    assert "question 0" not in api.asked
    [wrong] = content(client, batch.error_file_id)
    assert (wrong["custom_id"], wrong["response"]["status_code"]) == ("wrong", 404)
    assert wrong["response"]["body"]["error"]["message"].startswith("there is no model 'medium'; those that can")
    assert all(_judge(server, RUNNING, name).status_code == 200 for name in ("q0", "q1", "q11"))
    with closing(sqlite3.connect(tmp_path / "store" / "serve" / "serve.sqlite")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (VERSION,)


def test_ended_batches_can_be_judged(server: Server) -> None:
    """Their lines are read from their files once, and the error says so where the files are gone."""
    client = server.client()
    assert _judge(server, ENDED, "a").status_code == 200
    for file in (client.batches.retrieve(ENDED).input_file_id, client.batches.retrieve(ENDED).output_file_id):
        client.files.delete(str(file))
    assert _judge(server, ENDED, "b").status_code == 200
    assert "has no answer under the custom_id 'c'" in _judge(server, ENDED, "c").json()["error"]["message"]
    assert "the files of" in _judge(server, DELETED, "a").json()["error"]["message"]
