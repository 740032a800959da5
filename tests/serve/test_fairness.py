"""Tenants at the same time: neither a hanging expert nor a large batch of one key keeps another key waiting."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.schema import EXPERTS, OUTCOMES, QUERIES
from tests.serve.talk import Serve, chat, content, jsonl, submit, wait

# LEEROO_FAIRNESS_LINES=50000 is the whole of it.
LINES = int(os.environ.get("LEEROO_FAIRNESS_LINES", "8000"))
SOON_S = 10.0


@pytest.fixture
def replayed(tmp_path: Path) -> None:
    """Make a pool that replays the answers to LINES questions."""
    folder = tmp_path / "recorded"
    folder.mkdir()
    ids = [f"q-{i}" for i in range(LINES)]
    questions = pa.array([f"What is {i} plus {i}?" for i in range(LINES)])
    shared = {"query_id": pa.array(ids), "dataset": pa.array(["toy"] * LINES), "split": pa.array(["test"] * LINES)}
    _write(folder / "queries.parquet", QUERIES, {**shared, "question": questions, "prompt": questions})
    outcomes = {
        "query_id": pa.array(ids),
        "expert": pa.array(["one"] * LINES),
        "score": pa.array([1.0] * LINES),
        "response": pa.array([str(2 * i) for i in range(LINES)]),
        "prompt_tokens": pa.array([10] * LINES),
        "completion_tokens": pa.array([5] * LINES),
    }
    _write(folder / "outcomes.parquet", OUTCOMES, outcomes)
    prices = {"usd_per_m_input": 1.0, "usd_per_m_output": 1.0}
    expert = {"expert": "one", "model": "one", "license_open": True, **prices}
    pq.write_table(pa.Table.from_pylist([expert], schema=EXPERTS), folder / "experts.parquet")
    (tmp_path / "pool.toml").write_text(
        '[[expert]]\nname = "one"\nmodel = "recorded"\nbackend = "replay"\nusd_per_m_input = 1\nusd_per_m_output = 1\n'
    )


def _write(path: Path, schema: pa.Schema, columns: dict[str, pa.Array]) -> None:
    rows = len(next(iter(columns.values())))
    arrays = [columns[f.name].cast(f.type) if f.name in columns else pa.nulls(rows, f.type) for f in schema]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path)


@pytest.mark.usefixtures("api_pool")
def test_a_hanging_expert_stops_no_other_batch(serve: Serve, api: Any) -> None:
    """Another ten lines are done soon, for the same expert too, of another key and of the same one.

    A cancelled batch ends soon.
    """
    api.does, api.hang_s = {"stuck": "hang"}, 120.0
    server = serve()
    ours, theirs = server.client(server.key("ours")), server.client(server.key("theirs"))
    stuck = submit(ours, jsonl([chat(str(i), f"stuck {i}", "large") for i in range(20)]))
    while not api.asked:
        time.sleep(0.05)
    while api.at_once < 16:  # all of the expert's concurrency
        time.sleep(0.05)
    for client, expert in ((theirs, "small"), (ours, "small"), (theirs, "large"), (ours, "large")):
        began = time.monotonic()
        lines = [chat(str(i), f"question {i} of {id(client)}", expert) for i in range(10)]
        assert wait(client, submit(client, jsonl(lines)).id).request_counts.completed == 10
        assert time.monotonic() - began < SOON_S
    began = time.monotonic()
    ours.batches.cancel(stuck.id)
    assert wait(ours, stuck.id).status == "cancelled"
    assert time.monotonic() - began < SOON_S
    print(f"\ncancelled after {time.monotonic() - began:.1f} s")


@pytest.mark.usefixtures("api_pool")
def test_a_cancelled_batch_delivers_its_answers(serve: Serve, api: Any) -> None:
    """Answers that came before the cancelling are in the output file, although others of their wave still hang."""
    api.does, api.hang_s = {"stuck": "hang"}, 120.0
    server = serve()
    client = server.client()
    words = ["quick"] * 8 + ["stuck"] * 4
    batch = submit(client, jsonl([chat(str(i), f"{word} {i}") for i, word in enumerate(words)]))
    with contextlib.closing(sqlite3.connect(server.place / "store" / "answers.sqlite")) as db:
        while len(api.asked) < len(words) or db.execute("SELECT count(*) FROM answers").fetchone()[0] < 8:
            time.sleep(0.05)
    client.batches.cancel(batch.id)
    batch = wait(client, batch.id)
    assert (batch.status, batch.request_counts.completed) == ("cancelled", 8)
    assert {line["error"]["code"] for line in content(client, batch.error_file_id)} == {"batch_cancelled"}
    assert batch.leeroo["cost_usd"] == pytest.approx(8 * 150e-6)


@pytest.mark.usefixtures("replayed")
def test_a_small_batch_does_not_wait_for_a_large_one(serve: Serve) -> None:
    """One of another key is done within seconds, and one of the same key not much later."""
    server = serve()
    ours, theirs = server.client(server.key("ours")), server.client(server.key("theirs"))
    large = submit(ours, jsonl([chat(str(i), f"What is {i} plus {i}?") for i in range(LINES)]))
    began = time.monotonic()
    times: dict[str, list[float]] = {"another key": [], "the same key": []}
    while ours.batches.retrieve(large.id).status in ("validating", "in_progress"):
        for client, taken in ((theirs, times["another key"]), (ours, times["the same key"])):
            at = time.monotonic()
            small = [chat(str(i), f"What is {i} plus {i}?") for i in range(10)]
            assert wait(client, submit(client, jsonl(small)).id).request_counts.completed == 10
            taken.append(time.monotonic() - at)
    print(f"\n{LINES} lines: {time.monotonic() - began:.1f} s")
    for name, seconds in times.items():
        print(f"{len(seconds)} batches of 10 meanwhile, of {name}: {max(seconds):.1f} s at most")
    assert max(times["another key"]) < SOON_S
    assert max(times["the same key"]) < 2 * SOON_S
    assert wait(ours, large.id, timeout_s=300).request_counts.completed == LINES


@pytest.mark.usefixtures("api_pool")
def test_new_lines_after_many_stored_ones(serve: Serve, api: Any) -> None:
    """Batches that came out of the store in no time do not make the next wave of new lines a long one."""
    client = serve().client()
    lines = jsonl([chat(str(i), f"question {i}") for i in range(300)])
    for _ in range(4):
        wait(client, submit(client, lines).id)
    assert len(api.asked) == 300
    api.delay_s = 0.5
    submit(client, jsonl([chat(str(i), f"new {i}") for i in range(1500)]))
    while len(api.asked) < 301:
        time.sleep(0.05)
    began = time.monotonic()
    small = submit(client, jsonl([chat(str(i), f"small {i}") for i in range(5)]))
    assert wait(client, small.id).request_counts.completed == 5
    assert time.monotonic() - began < 2 * SOON_S


def test_a_line_that_the_gateway_refuses_costs_no_other(
    serve: Serve, api: Any, api_entry: Callable[..., str], tmp_path: Path
) -> None:
    """One prompt is answered 404 by a proxy for ever: all other lines have their answers."""
    (tmp_path / "pool.toml").write_text(api_entry("one", 1, 16))
    api.does = {"forbidden": "404_model"}
    client = serve().client()
    lines = [chat(str(i), "forbidden" if i == 150 else f"question {i}") for i in range(300)]
    batch = wait(client, submit(client, jsonl(lines)).id)
    assert (batch.request_counts.completed, batch.request_counts.failed) == (299, 1)
