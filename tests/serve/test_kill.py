"""Killed again and again, a server ends all its batches, each row once, and repeats no call that was answered."""

from __future__ import annotations

import random
import signal
import time
from typing import Any

import pytest

from tests.serve.talk import Serve, chat, content, jsonl, submit, wait

BATCHES, ROWS, KILLS, CONCURRENCY = 5, 600, 20, 16

pytestmark = pytest.mark.usefixtures("api_pool")


def test_twenty_kills_lose_and_repeat_nothing(serve: Serve, api: Any) -> None:
    """All rows of five batches are answered, and only calls in flight at a kill are repeated."""
    moments = random.Random(11)
    api.delay_s = 0.05
    server = serve()
    client = server.client()
    lines = [jsonl([chat(f"{b}-{i}", f"batch {b} question {i}") for i in range(ROWS)]) for b in range(BATCHES)]
    made = [submit(client, each).id for each in lines]
    for _ in range(KILLS):
        enough = sum(api.asked.values()) + moments.randint(0, 75)
        until = time.monotonic() + 30
        while sum(api.asked.values()) < enough and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(moments.random() * 0.2)
        server.stop(signal.SIGKILL)
        server.start()
    assert sum(api.asked.values()) < BATCHES * ROWS, "all was answered before the last kill"
    api.delay_s = 0.0
    for number, batch in enumerate(made):
        ended = wait(client, batch)
        assert (ended.status, ended.error_file_id) == ("completed", None)
        assert ended.request_counts.completed == ROWS
        results = content(client, ended.output_file_id)
        assert [line["custom_id"] for line in results] == [f"{number}-{i}" for i in range(ROWS)]
        answers = [line["response"]["body"]["choices"][0]["message"]["content"] for line in results]
        assert answers == [f"echo: batch {number} question {i}" for i in range(ROWS)]
        assert ended.leeroo["cost_usd"] == pytest.approx(ended.leeroo["list_cost_usd"])
    assert len(api.asked) == BATCHES * ROWS
    assert sum(n - 1 for n in api.asked.values()) <= KILLS * CONCURRENCY


def test_a_sample_is_not_paid_for_twice(serve: Serve, api: Any) -> None:
    """Lines with a temperature stay separate, and a killed wave resumes with the samples it had."""
    api.delay_s = 0.1
    server = serve()
    client = server.client()
    batch = submit(client, jsonl([chat(str(i), "the same", temperature=1.0) for i in range(300)])).id
    while sum(api.asked.values()) < 100:
        time.sleep(0.01)
    server.stop(signal.SIGKILL)
    server.start()
    api.delay_s = 0.0
    ended = wait(client, batch)
    assert ended.request_counts.completed == 300
    assert 300 <= sum(api.asked.values()) <= 300 + CONCURRENCY
    assert ended.leeroo["cost_usd"] == pytest.approx(300 * 150e-6)


def test_a_batch_past_its_time_expires(serve: Serve, api: Any) -> None:
    """Answers so far are delivered; the other lines have the error that the batch expired."""
    import sqlite3

    api.delay_s = 0.2
    server = serve()
    client = server.client()
    batch = submit(client, jsonl([chat(str(i), f"question {i}") for i in range(2000)])).id
    while not api.asked:
        time.sleep(0.01)
    with sqlite3.connect(server.place / "store" / "serve" / "serve.sqlite") as db:
        db.execute("UPDATE batches SET expires_at = created_at - 1")
    ended = wait(client, batch)
    assert (ended.status, ended.expired_at is not None) == ("expired", True)
    answers, errors = content(client, ended.output_file_id), content(client, ended.error_file_id)
    assert 0 < len(answers) < 2000
    assert len(answers) + len(errors) == 2000
    assert {line["error"]["code"] for line in errors} == {"batch_expired"}
