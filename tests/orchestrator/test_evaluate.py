"""Evaluating a router on recorded outcomes, with a real router learned from questions on two topics."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.errors import RouterError, UsageError
from leeroo.engine.orchestrator.analysis.evaluate import Evaluation, evaluate
from leeroo.engine.orchestrator.router import Router

if TYPE_CHECKING:
    from tests.orchestrator.conftest import Rows, Topics

pytestmark = pytest.mark.usefixtures("kept_vectors")

EXPERTS = {"counter": 1.0, "reader": 1.0, "oracle": 20.0}
Change = Callable[["Rows", "Rows"], object]


class Recorder:
    """Writes data folders of the two topics; 'oracle' is 20 times as expensive as the others."""

    def __init__(self, topics: Topics, place: Path) -> None:
        self.topics, self.place = topics, place

    def write(self, name: str, change: Change | None = None, prices: dict[str, float] | None = None) -> Path:
        """Return 160 training and 60 test questions, changed, with prices in USD per million tokens."""
        queries, outcomes = self.topics.recorded(self.topics.sums(80) + self.topics.facts(80))
        held_out = self.topics.recorded(self.topics.sums(110)[80:] + self.topics.facts(110)[80:], split="test")
        queries, outcomes = queries + held_out[0], outcomes + held_out[1]
        if change is not None:
            change(queries, outcomes)
        folder = self.topics.write(self.place / name, queries, outcomes)
        listed = EXPERTS if prices is None else prices
        columns = {f"usd_per_m_{side}": list(listed.values()) for side in ("input", "output")}
        pq.write_table(pa.table({"expert": list(listed), **columns}), folder / "experts.parquet")
        return folder


@pytest.fixture(scope="module")
def recorder(topics: Topics, tmp_path_factory: pytest.TempPathFactory) -> Recorder:
    """Return a writer of data folders."""
    return Recorder(topics, tmp_path_factory.mktemp("recorded"))


@pytest.fixture(scope="module")
def data(recorder: Recorder) -> Path:
    """Return the folder as it is."""
    return recorder.write("whole")


@pytest.fixture(scope="module")
def found(router: Router, data: Path) -> Evaluation:
    """Evaluate the router on it."""
    return evaluate(router, [data])


def test_knowing_topics_beats_a_coin(found: Evaluation) -> None:
    """Each cheap expert, on what it knows, is right on nine of ten at a quarter of the expensive one's cost."""
    assert found.n == 60
    assert found.experts["counter"].accuracy == found.experts["reader"].accuracy == 0.5
    assert found.best == "oracle"
    assert found.at(found.frontier, 1 / 4).accuracy >= 0.85
    mix = found.baselines["random"]
    assert mix is not None
    assert found.at(mix, 1 / 4).accuracy < 0.7
    assert found.aiq > 0.85


def test_neighbours_know_topics_and_means_do_not(found: Evaluation) -> None:
    """kNN on the router's encoder knows topics; questions of no subject have nothing but their experts' means."""
    knn, means = found.baselines["knn"], found.baselines["subject_mean"]
    assert knn is not None
    assert means is not None
    assert found.at(knn, 1 / 4).accuracy >= 0.85
    # Half of what the cheap ones answer, and what the rest of the money buys of the dear one: a fifth at most.
    assert found.at(means, 1 / 4).accuracy < 0.7


def test_the_shares_are_points_of_the_frontier(found: Evaluation) -> None:
    """Each part of the best expert's cost has the accuracy of the frontier there, within its interval."""
    assert list(found.shares) == [1 / 4, 1 / 3, 1 / 2, 2 / 3, 3 / 4, 1.0]
    for share, accuracy in found.shares.items():
        point = found.at(found.frontier, share)
        assert point.budget_usd_per_1k == pytest.approx(share * found.experts["oracle"].cost_usd_per_1k)
        assert accuracy.value == pytest.approx(point.accuracy)
        assert accuracy.low <= accuracy.value <= accuracy.high


def test_the_pair_is_the_cheapest_and_the_best(found: Evaluation) -> None:
    """Without a pair the gap between these two is measured, and a router that knows topics recovers it early."""
    assert found.pair.strong == "oracle"
    assert found.pair.weak == min(found.experts, key=lambda name: found.experts[name].cost_usd_per_1k)
    assert found.pair.measures is not None
    assert found.pair.measures.apgr > 0.7
    assert found.pair.measures.cpt50 < 0.35


def test_the_json_is_the_contract(found: Evaluation) -> None:
    """All keys are there, at least 50 budgets, every curve at the same ones, and nothing that is no number."""
    printed = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert set(printed) == {"n", "experts", "oracle", "frontier", "baselines", "pair", "aiq", "ece"}
    assert set(printed["experts"]) == set(EXPERTS)
    assert set(printed["oracle"]) == {"accuracy", "cost_usd_per_1k"}
    assert set(printed["baselines"]) == {"random", "best_single", "subject_mean", "knn"}
    assert printed["baselines"]["best_single"]["expert"] == "oracle"
    assert set(printed["pair"]) == {"weak", "strong", "apgr", "cpt50", "cpt80"}
    budgets = [point["budget_usd_per_1k"] for point in printed["frontier"]]
    assert len(budgets) >= 50
    for name in ("random", "subject_mean", "knn"):
        assert [point["budget_usd_per_1k"] for point in printed["baselines"][name]] == budgets
    assert set(printed["frontier"][0]) == {"budget_usd_per_1k", "cost_usd_per_1k", "accuracy"}
    costs = [expert["cost_usd_per_1k"] for expert in printed["experts"].values()]
    for budget in [min(costs), 1.2 * max(costs), *(part * cost for part in found.shares for cost in costs)]:
        assert np.isclose(budgets, budget).any()


def test_imputed_tokens_are_noted(found: Evaluation) -> None:
    """The tokens of 'reader' were never counted: its costs are estimated, and a note says so."""
    assert any("60 outcomes have no recorded tokens" in note and "(for reader)" in note for note in found.notes)


def test_only_some_experts(router: Router, data: Path) -> None:
    """Named experts are measured, and the pair may be chosen among them."""
    found = evaluate(router, [data], experts=["oracle", "counter"], pair=("counter", "oracle"))
    assert list(found.experts) == ["counter", "oracle"]
    assert (found.pair.weak, found.pair.strong) == ("counter", "oracle")
    assert found.scores.shape == (60, 2)


def test_a_pair_without_a_gap_has_no_measures(router: Router, data: Path) -> None:
    """Where the strong one is no better the pair has no measures, null in JSON, and a note says why."""
    found = evaluate(router, [data], pair=("oracle", "counter"))
    assert found.pair.measures is None
    assert found.as_json()["pair"] == {
        "weak": "oracle",
        "strong": "counter",
        "apgr": None,
        "cpt50": None,
        "cpt80": None,
    }
    assert "no APGR and CPT: on these questions counter is no better than oracle" in found.notes
    alone = evaluate(router, [data], experts=["counter"])
    assert "no APGR and CPT: they are of two experts, a weak one and a strong one" in alone.notes


def test_questions_learned_from_are_no_fair_test(router: Router, data: Path) -> None:
    """The training split, and all of it, can be measured, with a note that says how far to trust it."""
    train, everything = (evaluate(router, [data], split=split) for split in ("train", "all"))
    assert (train.n, everything.n) == (160, 220)
    for found in (train, everything):
        assert any("no fair test" in note for note in found.notes)


def test_experts_that_the_router_does_not_know_are_left_out(router: Router, recorder: Recorder) -> None:
    """They are named in a note; the others are measured."""

    def add(_: Rows, outcomes: Rows) -> None:
        outcomes += [{**o, "expert": "newcomer"} for o in outcomes if o["expert"] == "oracle"]

    found = evaluate(router, [recorder.write("newcomer", add)])
    assert set(found.experts) == set(EXPERTS)
    assert "left out, as the router does not know them: newcomer" in found.notes


def test_questions_with_holes_are_left_out(router: Router, recorder: Recorder) -> None:
    """Only questions with outcomes of all experts are measured, and a note says how many are not."""

    def forget(_: Rows, outcomes: Rows) -> None:
        outcomes[:] = [
            o
            for o in outcomes
            if (o["query_id"], o["expert"]) not in {("test-0003", "reader"), ("test-0004", "oracle")}
        ]

    found = evaluate(router, [recorder.write("holes", forget)])
    assert found.n == 58
    assert "2 questions left out, on which not all 3 experts have outcomes" in found.notes


def test_without_training_rows_there_are_no_learned_baselines(router: Router, recorder: Recorder) -> None:
    """The rest is measured all the same; a note says why, and JSON has null."""

    def only_test(queries: Rows, outcomes: Rows) -> None:
        queries[:] = [q for q in queries if q["split"] == "test"]
        outcomes[:] = [o for o in outcomes if o["query_id"].startswith("test")]

    found = evaluate(router, [recorder.write("no-train", only_test)])
    assert found.baselines["knn"] is found.baselines["subject_mean"] is None
    assert found.as_json()["baselines"]["knn"] is None
    assert found.baselines["random"]
    assert any(note.startswith("no baselines subject_mean and knn: ") for note in found.notes)


def test_costs_are_the_folders_and_not_the_routers(router: Router, recorder: Recorder) -> None:
    """With another price list other experts are chosen: where the expensive one is cheapest, it answers everything."""
    found = evaluate(router, [recorder.write("sale", prices={"counter": 50.0, "reader": 50.0, "oracle": 1.0})])
    assert found.frontier[-1].accuracy == 1
    assert found.frontier[-1].cost_usd_per_1k == pytest.approx(found.experts["oracle"].cost_usd_per_1k)
    assert found.pair.weak == "oracle"


def test_progress_is_reported(router: Router, data: Path) -> None:
    """Progress comes in lines: reading, predicting, choosing, learning the baselines."""
    lines: list[str] = []
    evaluate(router, [data], on_progress=lines.append)
    story = "\n".join(lines)
    for part in ("reading", "predicting 3 experts on 60 questions", "choosing under", "from 160 questions"):
        assert part in story


def test_unknown_experts_are_named(router: Router, data: Path) -> None:
    """An expert that router or data do not know is refused by its name, also in a pair."""
    with pytest.raises(
        UsageError, match=r"the data has no outcomes of the expert 'gpt-5', only of counter, oracle, reader"
    ):
        evaluate(router, [data], experts=["gpt-5"])
    with pytest.raises(UsageError, match="the pair's 'gpt-5' is not among the experts measured"):
        evaluate(router, [data], pair=("counter", "gpt-5"))
    other = replace(router, experts=("x", "y", "z"))
    with pytest.raises(UsageError, match="router and data have no expert in common: the router knows x, y, z"):
        evaluate(other, [data])
    with pytest.raises(UsageError, match="the router does not know the expert 'counter', only of x, y, z"):
        evaluate(other, [data], experts=["counter"])


def no_tokens(_: Rows, outcomes: Rows) -> None:
    """Remove all counts of tokens."""
    for outcome in outcomes:
        outcome["prompt_tokens"] = outcome["completion_tokens"] = None


def nothing_shared(_: Rows, outcomes: Rows) -> None:
    """Remove outcomes until no question has those of all experts."""
    outcomes[:] = [o for i, o in enumerate(outcomes) if i % 3 == i // 3 % 3]


@pytest.mark.parametrize(
    ("change", "prices", "message"),
    [
        (no_tokens, EXPERTS, "what the outcomes cost cannot be told: record prompt_tokens and completion_tokens"),
        (nothing_shared, EXPERTS, "no question has outcomes of all of counter, oracle, reader"),
        (None, {"counter": 1.0}, "gives no price for oracle, reader"),
    ],
)
def test_outcomes_that_cannot_be_measured_are_refused(
    router: Router, recorder: Recorder, change: Change | None, prices: dict[str, float], message: str
) -> None:
    """Outcomes without costs, without shared questions, and experts without prices are one clear line each."""
    with pytest.raises(RouterError, match=message) as error:
        evaluate(router, [recorder.write(f"wrong-{message[:8]}", change, prices)])
    assert "\n" not in str(error.value)
