"""Metrics for Prometheus, and the log of a server that ends."""

from __future__ import annotations

import signal
import time
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.serve.talk import Serve, Server, chat, jsonl, submit, wait

pytestmark = pytest.mark.usefixtures("api_pool")


def _samples(server: Server, key: str = "none") -> dict[tuple[str, ...], float]:
    """Return samples by name and values of their labels."""
    reply = httpx.get(f"{server.url}/metrics", headers={"authorization": f"Bearer {key}"}).raise_for_status()
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(reply.text)
        for sample in family.samples
    }


def test_metrics_count_rows_tokens_spend_and_queue(serve: Serve, api: Any) -> None:
    """Numbers are by expert, and those of requests by route instead of path."""
    api.does = {"broken": "garbage"}
    server = serve()
    client = server.client()
    lines = [chat("a", "one"), chat("b", "two"), chat("c", "three", model="small"), chat("d", "broken")]
    batch = wait(client, submit(client, jsonl(lines)).id)
    samples = _samples(server)
    assert (samples["leeroo_rows_total", "large"], samples["leeroo_rows_total", "small"]) == (2, 1)
    assert samples[("leeroo_rows_failed_total",)] == 1
    assert samples["leeroo_spend_usd_total", "large"] == pytest.approx(2 * 150e-6)
    assert samples["leeroo_tokens_total", "small", "prompt"] == 12
    assert samples["leeroo_tokens_total", "small", "completion"] == 3
    assert samples["leeroo_batches_ended_total", "completed"] == 1
    assert samples[("leeroo_queue_rows",)] == 0
    assert samples["leeroo_batches_open", "in_progress"] == 0
    assert samples["leeroo_http_request_seconds_count", "GET", "/v1/batches/{batch_id}", "200"] >= 1
    assert not any(batch.id in part for sample in samples for part in sample)
    api.delay_s, answered = 0.5, len(api.asked)
    submit(client, jsonl([chat(str(i), f"slow {i}") for i in range(200)]))
    while len(api.asked) == answered:
        time.sleep(0.01)
    samples = _samples(server)
    assert samples[("leeroo_queue_rows",)] > 0
    assert samples["leeroo_batches_open", "in_progress"] == 1


def test_metrics_need_a_key(serve: Serve) -> None:
    """Metrics need a key where everything else does."""
    server = serve()
    key = server.key("prometheus")
    assert httpx.get(f"{server.url}/metrics").status_code == 401
    assert ("leeroo_queue_rows",) in _samples(server, key)


def test_a_server_that_gets_a_signal_ends_at_once(serve: Serve, api: Any) -> None:
    """It ends in the middle of a wave without an error in its log, and the next start resumes."""
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
