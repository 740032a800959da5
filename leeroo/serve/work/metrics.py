"""Metrics for Prometheus: answers, spend, waiting lines and HTTP requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily

from leeroo.serve.database import Database
from leeroo.serve.lines.results import LineAnswer
from leeroo.serve.work import batches

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Metrics:
    """Counters since the server's start, and gauges that are read from its database."""

    def __init__(self, db: Database) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_QueueGauges(db))
        self._rows = Counter("leeroo_rows", "Lines answered.", ("expert",), registry=self._registry)
        self._failed = Counter("leeroo_rows_failed", "Lines that got no answer.", registry=self._registry)
        self._spent = Counter(
            "leeroo_spend_usd", "Paid for answers, in US dollars.", ("expert",), registry=self._registry
        )
        self._tokens = Counter("leeroo_tokens", "Tokens read and written.", ("expert", "kind"), registry=self._registry)
        self._ended = Counter(
            "leeroo_batches_ended", "Batches that came to their end.", ("status",), registry=self._registry
        )
        self._requests = Histogram(
            "leeroo_http_request_seconds", "Requests by route.", ("method", "route", "status"), registry=self._registry
        )

    def count_answers(self, answers: Sequence[LineAnswer]) -> None:
        """Count answers of lines."""
        for answer in answers:
            expert = answer["expert"]
            if answer["error"] is not None or expert is None:
                self._failed.inc()
                continue
            self._rows.labels(expert).inc()
            self._spent.labels(expert).inc(answer["cost_usd"])
            for kind in ("prompt", "completion"):
                self._tokens.labels(expert, kind).inc(answer[f"{kind}_tokens"] or 0)

    def count_ended(self, status: str) -> None:
        """Count a batch that ended."""
        self._ended.labels(status).inc()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; invented methods make no series of their own."""
        self._requests.labels(method if method in _METHODS else "other", route, str(status)).observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' format."""
        return generate_latest(self._registry)


class _QueueGauges:
    """Gauges of the database: open batches by state, and lines that wait."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def collect(self) -> Iterator[GaugeMetricFamily]:
        states = GaugeMetricFamily("leeroo_batches_open", "Batches by state.", labels=["status"])
        found = batches.in_state(self._db, *batches.OPEN)
        for status in batches.OPEN:
            states.add_metric([status], sum(batch.status == status for batch in found))
        waiting = sum(batch.total - batch.completed - batch.failed for batch in found)
        yield states
        yield GaugeMetricFamily("leeroo_queue_rows", "Lines of open batches that wait for an answer.", value=waiting)
