"""The HTML report of an evaluation: what it says, that it is one sound page, and that it holds nothing foreign."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from leeroo.engine.money import plain_usd
from leeroo.engine.orchestrator.analysis.evaluate import Evaluation
from leeroo.reports.evaluation import evaluation_report
from leeroo.reports.page import page as as_page

if TYPE_CHECKING:
    from tests.reports.conftest import MakeEvaluation

VOID = {"meta"}


class Page(HTMLParser):
    """The elements that a browser would find; each must be closed where it should be."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.attributes: list[tuple[str, str | None]] = []
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that begins."""
        self.tags[tag] += 1
        self.attributes += attrs
        self.ids.update(value for name, value in attrs if name == "id" and value)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element of the pictures that holds nothing."""
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        """Check that the element that ends is the last that began."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text, of a cell or else."""
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data


@pytest.fixture
def page(evaluation: Evaluation) -> Page:
    """Return the report of three experts."""
    return Page(as_page(evaluation_report(evaluation, "my/router", ["data/one", "data/two"], "test")))


def test_the_report_says_what_was_measured(page: Page) -> None:
    """The page names the router, the folders, the split, and the numbers of questions and experts."""
    assert "Evaluation of the router my/router" in page.text
    assert "400 questions of the split 'test' of data/one, data/two" in page.text
    assert "3 experts" in page.text


def test_the_best_and_half_of_its_cost_come_first(page: Page, evaluation: Evaluation) -> None:
    """One sentence says what most people want to know."""
    best, half = evaluation.experts["large"], evaluation.shares[1 / 2]
    assert f"The best single expert, large, is right on {100 * best.accuracy:.1f} %" in page.text
    assert f"At half of that cost the router is right on {100 * half.value:.1f} %" in page.text


def test_our_choice_is_compared_with_the_baselines(page: Page, evaluation: Evaluation) -> None:
    """Each part of the best expert's cost has a row: money, our accuracy with its interval, and the others'."""
    head, *rows = page.tables[0]
    assert head == ["part", "budget", "spent", "this router", "interval", "random mix", "subject mean", "kNN"]
    assert [row[0] for row in rows] == ["1/4", "1/3", "1/2", "2/3", "3/4", "1"]
    half, found = rows[2], evaluation.shares[1 / 2]
    ours = evaluation.at(evaluation.frontier, 1 / 2)
    assert half[1:3] == [plain_usd(ours.budget_usd_per_1k), plain_usd(ours.cost_usd_per_1k)]
    assert half[3] == f"{100 * found.value:.1f}"
    assert half[4] == f"{100 * found.low:.1f} to {100 * found.high:.1f}"
    mix = evaluation.baselines["random"]
    assert mix is not None
    assert half[5] == f"{100 * evaluation.at(mix, 1 / 2).accuracy:.1f}"


def test_experts_are_listed_best_first_and_the_oracle_last(page: Page, evaluation: Evaluation) -> None:
    """Each expert is listed with its accuracy and its cost."""
    _, *rows = page.tables[1]
    assert [row[0] for row in rows] == ["large", "medium", "small", "oracle"]
    small = evaluation.experts["small"]
    assert rows[2][1:] == [f"{100 * small.accuracy:.1f}", plain_usd(small.cost_usd_per_1k)]


def test_the_measures_are_shown_with_what_they_mean(page: Page, evaluation: Evaluation) -> None:
    """The report explains APGR, CPT50, CPT80 of the pair, AIQ and ECE."""
    measures = {row[0]: row[1:] for row in page.tables[2][1:]}
    assert list(measures) == ["APGR", "CPT50", "CPT80", "AIQ", "ECE"]
    assert evaluation.pair.measures is not None
    assert measures["APGR"][0] == f"{evaluation.pair.measures.apgr:.3f}"
    assert measures["CPT50"][0] == f"{100 * evaluation.pair.measures.cpt50:.1f} %"
    assert measures["AIQ"][0] == f"{evaluation.aiq:.3f}"
    assert measures["ECE"][0] == f"{evaluation.ece:.3f}"
    assert "between small and large" in measures["APGR"][1]


def test_both_pictures_and_the_notes_are_there(page: Page) -> None:
    """Frontier and reliability are in the page itself, and every note is a point of a list."""
    assert page.tags["svg"] == 2
    assert page.tags["li"] == 1
    assert "a note" in page.text


def test_unknown_values_are_a_dash(evaluation_of: MakeEvaluation) -> None:
    """Without a gap the pair has no measures, and without training rows there are no columns for what learns."""
    page = Page(as_page(evaluation_report(evaluation_of("only", baselines=False), "r", ["d"], "all")))
    assert [row[1] for row in page.tables[2][1:4]] == ["-", "-", "-"]
    assert page.tables[0][0][-1] == "random mix"
    assert "of all splits of d" in page.text
    assert page.tags["li"] == 0


def test_it_is_one_page_without_anything_from_elsewhere(page: Page) -> None:
    """No script, no picture, style or font from another place, no name twice, and it fits a phone."""
    assert not {"script", "img", "link", "iframe", "object", "form"} & set(page.tags)
    names = dict(page.attributes)
    assert "src" not in names
    assert not [name for name in names if name.startswith("on")]
    assert all(value and value.startswith("#") for name, value in page.attributes if name.endswith("href"))
    assert max(page.ids.values()) == 1
    assert ("content", "width=device-width, initial-scale=1") in page.attributes


def test_names_are_text_and_nothing_else(evaluation_of: MakeEvaluation) -> None:
    """Markup in the names of experts, folders and in notes is shown, not obeyed."""
    evil = '<script>alert("x")</script>&amp;'
    page = Page(as_page(evaluation_report(evaluation_of(evil, "large", notes=(evil,)), evil, [evil], "test")))
    assert page.tags["script"] == 0
    assert [row[0] for row in page.tables[1][1:]] == ["large", evil, "oracle"]
    assert page.text.count(evil) >= 5
