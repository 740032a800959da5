"""Every picture of every report, looked at in a real browser with names that are no pleasant ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from playwright.sync_api import Browser

from leeroo.engine.jobs.agreement import measure_agreement
from leeroo.engine.jobs.mmlu.mmlu import Comparison, Results, Spent, Strategy, _parts, interval
from leeroo.engine.jobs.selfplay.played import Played
from leeroo.engine.orchestrator.analysis.evaluate import Evaluation
from leeroo.engine.orchestrator.analysis.expert_selection import (
    ExpertSelection,
    SelectedPool,
    SelectionStep,
    SingleExpert,
)
from leeroo.engine.orchestrator.analysis.frontier import Budgeted, Interval
from leeroo.engine.orchestrator.analysis.gaps import Gaps, Standing, Topic
from leeroo.reports.analysis import plot_gaps, plot_selection
from leeroo.reports.evaluation import evaluation_report
from leeroo.reports.labels import label_report
from leeroo.reports.learn import learn_report
from leeroo.reports.mmlu import mmlu_report
from leeroo.reports.page import page
from leeroo.reports.plot import in_percent, new_axes, shorten, use_style
from leeroo.reports.report import Figure, Report
from leeroo.reports.selfplay import selfplay_report
from tests.reports.test_learn_report import findings_of

# No formulas, no markup, no font that has them all.
NAMES = ("a\\$b$\\frac{1}{$", "$x_1$ & <b>bold</b>", "$$", "数学 😀", "x" * 60)
# The size of each picture, and what in it is broken or empty.
_LOOK = """() => [...document.querySelectorAll('svg')].map(svg => {
    const box = svg.getBoundingClientRect(), shapes = [...svg.querySelectorAll('path, use, text, rect')];
    return {
        width: box.width, height: box.height, pixels: svg.querySelectorAll('image').length,
        drawn: shapes.filter(each => each.getBoundingClientRect().width > 0).length,
        texts: [...svg.querySelectorAll('text')].map(each => each.textContent),
        lost: [...svg.querySelectorAll('use')].filter(each => !svg.querySelector(each.getAttribute('xlink:href'))).length,
        outside: [...svg.querySelectorAll('text')].filter(each => {
            const own = each.getBoundingClientRect();
            return own.right < box.left || own.left > box.right || own.bottom < box.top || own.top > box.bottom;
        }).map(each => each.textContent),
    };
})"""


@pytest.fixture
def look(browser: Browser, tmp_path: Path) -> Callable[[str, int], list[dict[str, Any]]]:
    """Open a page; return what is seen of its pictures, all of which must be whole and let in by the page's policy."""

    def open_page(html: str, pictures: int) -> list[dict[str, Any]]:
        (tmp_path / "page.html").write_text(html, encoding="utf-8")
        tab, wrong = browser.new_page(), list[str]()
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("console", lambda message: wrong.append(message.text))
        tab.on("requestfailed", lambda request: wrong.append(request.url))
        tab.goto((tmp_path / "page.html").as_uri())
        seen: list[dict[str, Any]] = tab.evaluate(_LOOK)
        tab.screenshot(path=tmp_path / "page.png", full_page=True)
        tab.close()
        assert wrong == []
        assert len(seen) == pictures
        for each in seen:
            assert min(each["width"], each["height"]) > 100
            assert each["drawn"] > 10
            assert (each["pixels"], each["lost"], each["outside"]) == (0, 0, [])
        return seen

    return open_page


Look = Callable[[str, int], list[dict[str, Any]]]


def test_an_evaluation(look: Look, evaluation_of: Callable[..., Evaluation]) -> None:
    """The frontier names every expert as it is called, and the reliability is there."""
    frontier, _ = look(page(evaluation_report(evaluation_of(*NAMES), "router", ["data"], "test")), 2)
    assert set(NAMES) <= set(frontier["texts"])


def test_what_was_learned(look: Look) -> None:
    """The picture of a batch that learned names every expert as it is called, and this run."""
    [seen] = look(page(learn_report(findings_of(NAMES), "learned")), 1)
    assert {*NAMES, "this run"} <= set(seen["texts"])


def test_labels(look: Look) -> None:
    """The confusion matrix is drawn, with every label, and a count in each cell that has rows."""
    gold = [NAMES[i % 5] for i in range(100)]
    label = [NAMES[i * i % 5] for i in range(100)]
    labelled = pa.table(
        {"gold": gold, "label": label, "confidence": np.linspace(0.2, 1, 100)}
        | {"expert": ["one"] * 100, "cost_usd": [0.0] * 100, "list_cost_usd": [0.0] * 100}
        | {"error": pa.nulls(100, pa.string())}
    )
    found = measure_agreement(labelled, "gold", NAMES)
    assert found is not None
    confusion, _ = look(page(label_report(labelled, found, "Labels")), 2)
    assert {shorten(name, 20) for name in NAMES} <= set(confusion["texts"])
    assert confusion["texts"].count("20") == np.sum(found.confusion == 20) > 0


def test_mmlu(look: Look) -> None:
    """Subjects and experts of any name, more categories than colours, and none at all."""
    subjects = [*NAMES, *map(str, range(8))]
    rows = [(subject, f"of {subject}") for subject in subjects * 4] + [("no category", None)] * 4
    scores = np.arange(len(rows)) % 3 / 2 > 0
    answers = pa.table(
        {"subject": [s for s, _ in rows], "category": pa.array([c for _, c in rows], pa.string())}
        | {"error": pa.nulls(len(rows), pa.string())}
    )
    accuracy = interval(scores.astype(float))
    parts = {name: _parts(scores.astype(float), answers[name]) for name in ("subject", "category")}
    points = [Strategy(name, 10.0**-i, Interval(0.5, 0.4, 0.6), {}) for i, name in enumerate(NAMES)]
    frontier = [Budgeted(c, 0.4 + c, c) for c in (0.01, 0.1, 0.3)]
    compared = Comparison(points, points[:1], points[0], frontier, frontier, 0.0)
    spent = {"one": Spent(len(rows), accuracy, 0.0, 1, 1)}
    results = Results(answers, accuracy, accuracy, parts["category"], parts["subject"], spent, 0.0, 0.0, 0, compared)
    frontier_seen, by_subject = look(page(mmlu_report(results, "MMLU", [])), 2)
    assert set(NAMES) <= set(frontier_seen["texts"])
    assert {shorten(name.replace("_", " "), 48) for name in (*subjects, "no category")} <= set(by_subject["texts"])


def test_self_play(look: Look) -> None:
    """The learning curve, with an expert of any name."""
    rows = [
        {"round": i, "outcomes": 9, "outcomes_total": 9 * i + 9, "cost_usd_total": 0.1, "score": 0.5 + i / 100}
        | {"accuracy_at_quarter": 0.5, "accuracy_at_half": 0.51 + i / 90, "accuracy_at_full": 0.6, "log_loss": 0.5}
        | {
            "best_expert": NAMES[0],
            "best_accuracy": 0.55,
            "oracle_accuracy": 0.6,
            "seconds": 1.0,
            "judge_n": 0,
            "notes": [],
        }
        for i in range(3)
    ]
    expert = {"outcomes": 9, "mean_score": 0.5, "accuracy": 0.5, "cost_usd_per_1k": 1.0, "traffic": 1.0}
    experts = [{**expert, "expert": name, "cost_usd_per_1k": 1.0 + i} for i, name in enumerate(NAMES)]
    topics = [{"topic": name, "questions": 9, "accuracy": {}} for name in NAMES]
    [curve] = look(page(selfplay_report(Played(rows, experts, topics, {"exact": 27}), "play")), 1)
    assert f"{NAMES[0]} alone" in curve["texts"]


def test_pools_and_gaps(look: Look) -> None:
    """The pictures of select-experts and gaps, with names and terms of any kind."""
    pool = {"oracle_accuracy": 0.6, "cost_usd_per_1k": 0.5, "held_out_accuracy": 0.58, "by_subject_accuracy": 0.5}
    steps = [
        SelectionStep(i, **pool, by_subject_cost_usd_per_1k=1.0, expert=name, adds=0.1, worth=0.5)
        for i, name in enumerate(NAMES, 1)
    ]
    selection = ExpertSelection(
        9, 0.0, steps, SingleExpert(NAMES[0], 0.5, 1.0), SelectedPool(9, **pool, by_subject_cost_usd_per_1k=1.0), {}, []
    )
    standing = Standing(NAMES[1], 30, 0.3, 0.2, 0.4)
    rest: dict[str, Any] = {"mean_accuracy": 0.2, "oracle_accuracy": 0.5, "nobody_right": 0.5, "routed_accuracy": None}
    kinds: list[Any] = ["nobody", "only the most expensive", None, None, None]
    topics = [
        Topic(name, 30, kind, 9.0, standing, standing, standing, None, **rest, terms=[name], subjects={}, examples=[])
        for name, kind in zip(NAMES, kinds, strict=True)
    ]
    figures = [
        Figure("pool", lambda: plot_selection(selection)),
        Figure("gaps", lambda: plot_gaps(Gaps(150, 0.5, NAMES[0], topics, []))),
    ]
    pools, gaps = look(page(Report("Pictures", figures)), 2)
    assert f"{NAMES[0]} alone" in pools["texts"]
    assert set(NAMES) <= set(gaps["texts"])


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.62), (0.5, 0.53), (0, 1), (0.111, 0.1112)])
def test_ticks_are_true(low: float, high: float) -> None:
    """The text of a tick is its place, however narrow the axis; no two are alike."""
    with use_style():
        figure, axes = new_axes(6, 4)
        axes.set_ylim(low, high)
        in_percent(axes.yaxis)
        figure.draw_without_rendering()
        ticks = [(label.get_position()[1], label.get_text()) for label in axes.get_yticklabels()]
    assert len({text for _, text in ticks}) == len(ticks) > 2
    for at, text in ticks:
        assert float(text.rstrip("%")) / 100 == pytest.approx(at, abs=1e-12)
