"""Caps of keys: one key's spending stops at its own cap, and costs no other key anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.command import leeroo
from tests.serve.talk import Serve, chat, jsonl, submit, wait

pytestmark = pytest.mark.usefixtures("api_pool")

# USD of an answer of the expert `small`, 12 tokens in and 3 out at 1 USD a million; it can cost several times that.
SMALL = 15 / 1e6


def _lines(client: openai.OpenAI, file: str | None) -> list[dict[str, Any]]:
    return [] if file is None else [json.loads(line) for line in client.files.content(file).text.splitlines()]


def test_a_key_stops_at_its_own_cap(serve: Serve, tmp_path: Path) -> None:
    """Lines beyond it fail with the cap and when it opens; another key's lines and stored answers go on."""
    server = serve()
    ours, theirs = server.client(server.key("ours")), server.client(server.key("theirs"))
    done = leeroo("limits", "set", "--per-day", f"{20 * SMALL}", "--key", "ours", "--store", "store", cwd=tmp_path)
    assert done.returncode == 0
    texts = [f"question {i}" for i in range(40)]
    lines = jsonl([chat(text, text, model="small") for text in texts])
    first = wait(ours, submit(ours, lines).id)
    assert first.status == "completed"
    answered, failed = _lines(ours, first.output_file_id), _lines(ours, first.error_file_id)
    assert (len(answered), len(failed)) == (first.request_counts.completed, first.request_counts.failed)
    assert len(answered) + len(failed) == 40
    assert len(failed) >= 20
    [message] = {line["error"]["message"] for line in failed}
    assert message.startswith("the daily cap of $0.0003 for this key is used up")
    assert message.endswith("00:00 UTC")
    other = wait(theirs, submit(theirs, lines).id)
    assert other.request_counts.completed == 40
    # What is stored by now costs the key nothing.
    again = wait(ours, submit(ours, lines).id)
    assert again.request_counts.completed == 40
    spent = json.loads(leeroo("spend", "--by", "key", "--store", "store", "--json", cwd=tmp_path).stdout)["spend"]
    usd = {row["key"]: row["cost_usd"] for row in spent}
    assert usd == {"ours": pytest.approx(len(answered) * SMALL), "theirs": pytest.approx(len(failed) * SMALL)}
    assert usd["ours"] <= 20 * SMALL
