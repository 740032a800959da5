"""The report of labels says what a proxy did, or why there was none."""

from __future__ import annotations

import pyarrow as pa
import pytest

from leeroo.engine.jobs.proxy.findings import ProxyFindings, summarize
from leeroo.reports.labels import label_report
from leeroo.reports.page import page
from leeroo.reports.report import Report, cells

LABELLED = pa.table(
    {
        "label": ["a", "b"],
        "confidence": [0.9, 0.8],
        "expert": ["proxy", "only"],
        "cost_usd": [0.0, 0.1],
        "list_cost_usd": [0.0, 0.1],
        "error": pa.nulls(2, pa.string()),
    }
)


def _report(proxy: ProxyFindings) -> Report:
    return label_report(LABELLED, None, "Labels", proxy=proxy)


def test_the_error_of_a_proxy_is_shown_with_its_interval() -> None:
    """The table, the sentence and the JSON have the share that differs, and the exact interval of 95 %."""
    found = ProxyFindings(2000, None, 1500, 500, 300, 200, 4, promise=0.05, repeated=50, repeated_alike=49)
    report = _report(found)
    [table] = [each for each in report.tables if each.title == "Proxy"]
    assert cells(table) == [["1,500", "500", "200", "2.0", "0.5 to 5.0", "5.0"]]
    assert "of 200 that experts checked, 4 differ (0.5% to 5.0%)" in report.notes[0]
    assert "experts asked twice gave 49 of 50 texts the same label" in report.notes[1]
    assert report.data["proxy"]["difference"]["value"] == pytest.approx(0.02)
    assert "Proxy" in page(report)


def test_a_proxy_that_is_off_is_one_sentence() -> None:
    """There is no table of a proxy that labelled nothing, but the reason."""
    report = _report(ProxyFindings(20, "there are 20 different texts"))
    assert [table.title for table in report.tables] == ["Labels", "Experts"]
    assert list(report.notes) == ["no proxy: there are 20 different texts"]
    assert report.data["proxy"]["off"] == "there are 20 different texts"
    assert summarize(ProxyFindings(20, "it was turned off")) == "no proxy: it was turned off"
