"""The page of a run in a real browser: its pictures, its search, and texts that would be code elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from playwright.sync_api import Browser, Page

import leeroo
from leeroo.api.shown import ShownReport
from tests.reports.test_pictures import NAMES

HOSTILE = "</pre></script><script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
# The rows that are seen: what their first lines say.
_SEEN = ".rows details:visible summary"


@pytest.fixture(scope="module")
def report() -> ShownReport:
    """Return a report of 200 rows by experts of any name; every tenth failed, and one text is hostile."""
    n = 200
    rows = {
        "question": [HOSTILE if i == 7 else f"question {i} of many words" for i in range(n)],
        "answer": [None if i % 10 == 0 else f"answer {i}" for i in range(n)],
        "expert": [NAMES[i % 5] for i in range(n)],
        "predicted_score": [i % 97 / 97 for i in range(n)],
        "recorded_score": [float(i % 3 > 0) for i in range(n)],
        "cost_usd": [1e-6 * (i + 1) for i in range(n)],
        "list_cost_usd": [1e-6 * (i + 1) for i in range(n)],
        "latency_ms": [float(i) for i in range(n)],
        "error": [HOSTILE if i % 10 == 0 else None for i in range(n)],
    }
    return leeroo.report(pa.table(rows))


@pytest.fixture
def tab(browser: Browser) -> Iterator[tuple[Page, list[str]]]:
    """Return a tab, and what goes wrong in it."""
    tab, wrong = browser.new_page(), list[str]()
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda message: wrong.append(message.text))
    tab.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
    yield tab, wrong
    tab.close()


def test_answers_are_searched_chosen_and_paged(
    report: ShownReport, tab: tuple[Page, list[str]], tmp_path: Path
) -> None:
    """Twenty rows at once; a search and a choice narrow them, and a row opens to show its texts."""
    page, wrong = tab
    report.save(tmp_path / "page.html")
    page.goto((tmp_path / "page.html").as_uri())
    assert page.locator(_SEEN).count() == 20
    page.get_by_label("Later rows").click()
    assert "question 20 " in page.locator(_SEEN).first.inner_text()
    page.get_by_label("Search").fill("ANSWER 19")
    assert page.locator(_SEEN).count() == 10  # 19 and 191 to 199; row 190 failed
    page.locator(_SEEN).first.click()
    assert page.get_by_text("answer 19", exact=True).is_visible()
    page.get_by_label("Search").fill("")
    page.get_by_label("Which rows").select_option("failed")
    assert page.get_by_label("Rows shown").inner_text() == "1 to 20 of 20"
    page.get_by_label("Which rows").select_option(NAMES[1])
    assert page.get_by_label("Rows shown").inner_text() == "1 to 20 of 40"
    page.get_by_label("Search").fill("no row has this")
    assert page.get_by_label("Rows shown").inner_text() == "none"
    assert (page.title(), wrong) == ("Answers", [])


def test_pictures_name_experts_as_they_are_called(report: ShownReport, tab: tuple[Page, list[str]]) -> None:
    """Shares, calibration and costs; every text is within its picture."""
    page, wrong = tab
    page.set_content(report._repr_html_())
    frame = page.frame_locator("iframe")
    frame.locator("svg").nth(2).wait_for()
    assert frame.locator("svg").count() == 3
    shares = frame.locator("svg").first.locator("text").all_text_contents()
    assert {name[:10] for name in NAMES} <= {text[:10] for text in shares}
    assert wrong == []


def test_a_hostile_text_is_text(report: ShownReport, tab: tuple[Page, list[str]]) -> None:
    """In a notebook's frame, too, where the page and the notebook cannot reach each other."""
    page, wrong = tab
    page.set_content(f"<title>Notebook</title>{report._repr_html_()}")
    frame = page.frame_locator("iframe")
    frame.get_by_label("Search").fill("taken")
    assert frame.get_by_label("Rows shown").inner_text() == "1 to 20 of 21"
    assert frame.locator("img").count() == 0
    assert page.frames[1].evaluate("document.title") == "Answers"
    assert (page.title(), wrong) == ("Notebook", [])


def test_on_a_phone_only_tables_and_pictures_scroll_sideways(
    report: ShownReport, tab: tuple[Page, list[str]], tmp_path: Path
) -> None:
    """The page itself is as wide as the screen."""
    page, _ = tab
    page.set_viewport_size({"width": 360, "height": 700})
    report.save(tmp_path / "page.html")
    page.goto((tmp_path / "page.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 360
