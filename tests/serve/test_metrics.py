"""What Prometheus is told."""

from __future__ import annotations

import signal
import time
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.serve.talk import Serve, Server, chat, jsonl, submit, wait

pytestmark = pytest.mark.usefixtures("api_pool")


def _told(server: Server, key: str = "none") -> dict[tuple[str, ...], float]:
    """Samples by name and values of their labels."""
    reply = httpx.get(f"{server.url}/metrics", headers={"authorization": f"Bearer {key}"}).raise_for_status()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


def test_rows_tokens_spend_and_queue(serve: Serve, api: Any) -> None:
    """By expert, and what waits; requests by route, not by what is asked for."""
    api.does = {"broken": "garbage"}
    server = serve()
    client = server.client()
    lines = [chat("a", "one"), chat("b", "two"), chat("c", "three", model="small"), chat("d", "broken")]
    batch = wait(client, submit(client, jsonl(lines)).id)
    told = _told(server)
    assert (told["leeroo_rows_total", "large"], told["leeroo_rows_total", "small"]) == (2, 1)
    assert told[("leeroo_rows_failed_total",)] == 1
    assert told["leeroo_spend_usd_total", "large"] == pytest.approx(2 * 150e-6)
    assert told["leeroo_tokens_total", "small", "prompt"] == 12
    assert told["leeroo_tokens_total", "small", "completion"] == 3
    assert told["leeroo_batches_ended_total", "completed"] == 1
    assert told[("leeroo_queue_rows",)] == 0
    assert told["leeroo_batches_open", "in_progress"] == 0
    assert told["leeroo_http_request_seconds_count", "GET", "/v1/batches/{batch_id}", "200"] >= 1
    assert not any(batch.id in part for sample in told for part in sample)
    api.delay_s = 0.5
    submit(client, jsonl([chat(str(i), f"slow {i}") for i in range(200)]))
    time.sleep(1)
    told = _told(server)
    assert told[("leeroo_queue_rows",)] > 0
    assert told["leeroo_batches_open", "in_progress"] == 1


def test_with_keys_it_wants_one(serve: Serve) -> None:
    """As everything else does."""
    server = serve()
    key = server.key("prometheus")
    assert httpx.get(f"{server.url}/metrics").status_code == 401
    assert ("leeroo_queue_rows",) in _told(server, key)


def test_a_server_that_is_told_to_end_does_so_at_once(serve: Serve, api: Any) -> None:
    """In the middle of a wave, without a mishap in its log; the next start goes on."""
    api.delay_s = 0.2
    server = serve()
    client = server.client()
    batch = submit(client, jsonl([chat(str(i), f"question {i}") for i in range(400)]))
    while not api.asked:
        time.sleep(0.01)
    began = time.monotonic()
    server.stop(signal.SIGTERM)
    assert time.monotonic() - began < 10
    assert "Traceback" not in server.log()
    api.delay_s = 0.0
    server.start()
    assert wait(client, batch.id).request_counts.completed == 400
