"""The pictures of an evaluation, as what a reader or another program finds in the SVG."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import pytest

from leeroo.engine.errors import UsageError
from leeroo.engine.orchestrator.analysis.evaluate import Evaluation
from leeroo.reports.plot import check_plotting, plot_evaluation, plot_reliability

if TYPE_CHECKING:
    from tests.reports.conftest import MakeEvaluation

ODD = ['<script>alert("1")</script>', "costs $5 or $6", "_begins & ends"]


def texts(svg: str) -> list[str]:
    """All that is written in a picture."""
    found = [element for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("}text")]
    return ["".join(element.itertext()) for element in found]


def test_every_expert_and_every_curve_is_named(evaluation: Evaluation) -> None:
    """Each expert is in the picture once, and curves, experts and oracle are in the legend."""
    said = Counter(texts(plot_evaluation(evaluation)))
    for name in ("small", "medium", "large"):
        assert said[name] == 1
    for name in ("this router", "random mix", "subject mean", "kNN", "single experts", "oracle"):
        assert said[name] == 1
    assert said["USD per 1,000 questions"] == said["accuracy"] == 1


def test_many_experts_stay_legible(evaluation_of: MakeEvaluation) -> None:
    """Each point has a number, and the key has all numbers with their names, the cheapest expert first."""
    names = [f"expert {i:02}" for i in range(28)]
    said = texts(plot_evaluation(evaluation_of(*names)))
    assert [text for text in said if text in names] == names
    assert [said.count(str(i)) for i in range(1, 29)] == [2] * 28


def test_a_baseline_that_is_not_known_is_not_drawn(evaluation_of: MakeEvaluation) -> None:
    """Without training rows the picture has no curve of what learns from them."""
    said = texts(plot_evaluation(evaluation_of("small", "large", baselines=False)))
    assert "random mix" in said
    assert "kNN" not in said
    assert "subject mean" not in said


def test_names_are_written_as_they_are(evaluation_of: MakeEvaluation) -> None:
    """Anything that looks like markup or a formula in an expert's name is text."""
    svg = plot_evaluation(evaluation_of(*ODD))
    assert set(ODD) <= set(texts(svg))
    assert "<script" not in svg


def test_nothing_comes_from_elsewhere(evaluation: Evaluation) -> None:
    """A picture refers to its own parts only, and to each of them by one name, also next to the other picture."""
    pictures = [plot_evaluation(evaluation), plot_reliability(evaluation.scores_pred, evaluation.scores)]
    elements = [element for svg in pictures for element in ElementTree.fromstring(svg).iter()]
    ids = Counter(element.attrib["id"] for element in elements if "id" in element.attrib)
    assert max(ids.values()) == 1
    referred = [value for element in elements for name, value in element.attrib.items() if name.endswith("href")]
    assert referred
    assert {value.removeprefix("#") for value in referred} <= set(ids)
    clipped = [element.attrib["clip-path"] for element in elements if "clip-path" in element.attrib]
    assert {value.removeprefix("url(#").removesuffix(")") for value in clipped} <= set(ids)


def test_the_same_evaluation_gives_the_same_picture(evaluation: Evaluation) -> None:
    """Neither date nor chance is in the file, so that it can be compared and kept."""
    assert plot_evaluation(evaluation) == plot_evaluation(evaluation)


def test_a_free_expert_is_drawn(evaluation_of: MakeEvaluation) -> None:
    """Where something costs nothing the costs are drawn on a plain axis, from $0."""
    assert "$0" in texts(plot_evaluation(evaluation_of("free", "small", "large", free=True)))


def test_one_expert_is_drawn(evaluation_of: MakeEvaluation) -> None:
    """A single expert makes a picture too."""
    assert "only" in texts(plot_evaluation(evaluation_of("only")))


def test_the_reliability_is_of_all_and_of_each(evaluation: Evaluation) -> None:
    """The legend names the line of all experts, each one's, and what would be right."""
    said = texts(plot_reliability(evaluation.scores_pred, evaluation.scores))
    for name in ("right on average", "each expert", "all experts", "predicted score", "recorded score"):
        assert said.count(name) == 1


def test_missing_predictions_are_not_drawn() -> None:
    """Predictions that are not there, as of an expert that is barred, leave the picture of the rest."""
    expected = np.column_stack([np.linspace(0, 1, 100), np.full(100, np.nan)])
    scores = np.ones((100, 2))
    assert "all experts" in texts(plot_reliability(expected, scores))


def test_without_matplotlib_it_is_said_how_to_get_it(evaluation: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing library is one line with the command that brings it, before anything is measured."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for draw in (check_plotting, lambda: plot_evaluation(evaluation)):
        with pytest.raises(UsageError, match=r"plots and reports need matplotlib: pip install matplotlib"):
            draw()
