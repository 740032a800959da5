"""Batches that teach their server whom to ask, by metadata."""

from __future__ import annotations

import json
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import openai
import pytest

from tests import three_experts
from tests.serve.talk import Serve, chat, content, jsonl, submit, wait


def test_a_batch_learns_within_its_budget(serve: Serve, tmp_path: Path, api: Any) -> None:
    """A batch with metadata.learn has an answer for every line, within its budget, and leaves a router in the store."""
    table = three_experts.set_up(tmp_path, api, 60)
    server = serve(start=False)
    client = server.client(server.key("one"))
    server.start()
    lines = [chat(str(i), question) for i, question, _ in table.rows()]
    batch = submit(client, jsonl(lines), metadata={"learn": "true", "max_cost_usd": "0.01"})
    batch = wait(client, batch.id)
    assert (batch.status, batch.error_file_id) == ("completed", None)
    results = content(client, batch.output_file_id)
    assert [line["custom_id"] for line in results] == [str(i) for i in range(60)]
    answers = [line["response"]["body"]["leeroo"] for line in results]
    assert {each["expert"] for each in answers} <= set(three_experts.SKILLS)
    assert all(0 < each["predicted_score"] <= 1 for each in answers)
    assert sum(each["cost_usd"] for each in answers) == pytest.approx(api.account_usd)
    assert 0 < api.account_usd <= 0.01
    assert {body["model"] for body in api.bodies} == set(three_experts.SKILLS)  # a pilot asks all of them
    assert list((tmp_path / "store" / "learned").rglob("router.json"))


def test_keys_learn_nothing_from_one_another(serve: Serve, tmp_path: Path, api: Any) -> None:
    """What a key's batch taught is where its next one starts, and not where another key's does."""
    table = three_experts.set_up(tmp_path, api, 180)
    server = serve(start=False)
    one, two = server.key("one"), server.key("two")
    server.start()
    parts = [table.rows()[start : start + 60] for start in (0, 60, 120)]
    started = []
    for key, rows in zip((one, two, one), parts, strict=True):
        before = set((tmp_path / "store").rglob("started.json"))
        lines = [chat(str(i), question) for i, question, _ in rows]
        client = server.client(key)
        batch = submit(client, jsonl(lines), metadata={"learn": "true", "max_cost_usd": "0.01"})
        assert wait(client, batch.id).status == "completed"
        [note] = set((tmp_path / "store").rglob("started.json")) - before
        started.append((note.parent, json.loads(note.read_text())["before"]))
    (first, of_first), (second, of_second), (third, of_third) = started
    assert (of_first, of_second) == (None, None)
    assert (third.parent, of_third) == (first.parent, first.name)
    assert second.parent != first.parent


def test_a_killed_batch_goes_on_learning(serve: Serve, tmp_path: Path, api: Any) -> None:
    """A server that is killed in the pilot finishes the batch when it is started again, and pays for nothing twice."""
    table = three_experts.set_up(tmp_path, api, 60)
    api.delay_s = 0.05
    server = serve(start=False)
    client = server.client(server.key("one"))
    server.start()
    lines = [chat(str(i), question) for i, question, _ in table.rows()]
    batch = submit(client, jsonl(lines), metadata={"learn": "true", "max_cost_usd": "0.01"})
    until = time.monotonic() + 60
    while len(api.bodies) < 20:
        assert time.monotonic() < until, server.log()
        time.sleep(0.01)
    server.stop(signal.SIGKILL)
    before = len(api.bodies)
    server.start()
    batch = wait(client, batch.id)
    assert (batch.status, batch.request_counts.completed) == ("completed", 60)
    assert len(api.bodies) > before  # it was killed on its way
    calls = Counter((body["model"], json.dumps(body["messages"])) for body in api.bodies)
    assert sum(calls.values()) - len(calls) <= api.most_at_once  # those in flight are repeated
    assert api.account_usd <= 0.01


@pytest.mark.parametrize(
    ("metadata", "line"),
    [
        ({"learn": "yes"}, "metadata.learn is 'yes'; it should be 'true' or 'false'"),
        ({"learn": "true"}, "metadata.learn spends a budget: give metadata.max_cost_usd"),
        ({"learn": "true", "max_cost_usd": "1", "latency_weight": "1"}, "and no weights"),
        ({"Learn": "true"}, "did you mean 'learn'?"),
    ],
)
def test_wrong_metadata_of_learning_is_refused(shared: Any, metadata: dict[str, str], line: str) -> None:
    """A value other than true or false, and learning without a budget, are refused at once."""
    with pytest.raises(openai.BadRequestError, match="metadata") as error:
        submit(shared.client, jsonl([chat("1", "question")]), metadata=metadata)
    assert line in str(error.value)
