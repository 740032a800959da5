"""Topics that the experts lack: planted ones are found and named, and differences by chance are no gap."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import binomtest

from leeroo.engine.errors import UsageError
from leeroo.engine.orchestrator.analysis.gaps import Gaps, find_gaps
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.statistics import wilson_interval

Rows = list[dict[str, Any]]
# Of a topic and a question's number: the scores of the experts, None where one was not asked.
Answers = Callable[[str, int], dict[str, float | None]]

N = 40
_METALS = ["copper", "zinc", "iron", "silver", "nickel", "lead", "tin", "cobalt"]
_PARTIES = ["tenant", "landlord", "buyer", "seller", "heir", "broker", "builder", "lender"]
_TEAMS = ["Madrid", "Lima", "Nairobi", "Osaka", "Oslo", "Cairo", "Quito", "Delhi"]
TOPICS: dict[str, Callable[[int], str]] = {
    "chemistry": lambda i: f"How many moles of {_METALS[i % 8]} react with {i + 2} moles of acid in the titration?",
    "law": lambda i: f"Does the contract bind the {_PARTIES[i % 8]} when the court voids clause {i + 2} of it?",
    "sport": lambda i: f"Which football player scored {i + 2} goals for the team of {_TEAMS[i % 8]} in that season?",
}
USD_PER_M = {"dear": 10.0, "cheap": 1.0, "cheaper": 0.5}


def write_folder(folder: Path, answers: Answers, counts: dict[str, int] | None = None, *, prices: bool = True) -> Path:
    """Write a data folder with these numbers of questions of each topic, answered by the rule."""
    queries: Rows = []
    outcomes: Rows = []
    for topic, count in (counts or dict.fromkeys(TOPICS, N)).items():
        for i in range(count):
            name, text = f"{topic}-{i}", TOPICS[topic](i)
            queries.append({"query_id": name, "split": "train", "question": text, "subject": f"some_{topic}"})
            outcomes += [
                {"query_id": name, "expert": e, "score": score, "prompt_tokens": 100, "completion_tokens": 10}
                for e, score in answers(topic, i).items()
                if score is not None
            ]
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(queries), folder / "queries.parquet")
    pq.write_table(pa.Table.from_pylist(outcomes), folder / "outcomes.parquet")
    if prices:
        listed = [{"expert": e, "usd_per_m_input": p, "usd_per_m_output": p} for e, p in USD_PER_M.items()]
        pq.write_table(pa.Table.from_pylist(listed), folder / "experts.parquet")
    return folder


def planted(topic: str, i: int) -> dict[str, float | None]:
    """Return scores of a question: no expert knows chemistry, one knows law, all know sport; one in ten differs."""
    slip = i % 10 == 0
    expensive = float((topic != "chemistry") != slip)
    return {"dear": expensive, "cheap": float((topic == "sport") != slip), "cheaper": float(topic == "sport")}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Gaps:
    """Return the gaps of the planted topics."""
    return find_gaps([write_folder(tmp_path_factory.mktemp("planted"), planted)], clusters=3)


def test_a_topic_that_no_expert_knows_is_found(found: Gaps) -> None:
    """It is named by its own words and its subject, and its numbers are those recorded."""
    [topic] = found.of("nobody")
    assert {"moles", "acid", "titration", "react"} >= set(topic.terms[:3])
    assert topic.name == f"{', '.join(topic.terms[:3])} (some chemistry)"
    assert topic.subjects == {"some_chemistry": N}
    assert (topic.n, topic.best.accuracy, topic.to_gain) == (N, 0.1, 36)
    assert topic.best.high < 0.5
    assert (topic.oracle_accuracy, topic.nobody_right) == (0.1, 0.9)
    assert topic.mean_accuracy == pytest.approx((0.1 + 0.1 + 0) / 3)
    assert len(topic.examples) == 3
    assert all("titration" in example for example in topic.examples)


def test_a_topic_that_only_the_most_expensive_knows_is_found(found: Gaps) -> None:
    """It names the most expensive expert, the best of the others, and the lead."""
    [topic] = found.of("only the most expensive")
    assert {"contract", "bind", "court", "voids", "clause", "does"} >= set(topic.terms[:3])
    assert found.most_expensive == "dear"
    assert topic.most_expensive is not None
    assert topic.best_other is not None
    assert topic.lead is not None
    assert topic.best == topic.most_expensive
    assert (topic.most_expensive.accuracy, topic.best_other.expert, topic.best_other.accuracy) == (0.9, "cheap", 0.1)
    assert topic.lead.value == pytest.approx(0.8)
    assert 0.05 < topic.lead.low < topic.lead.value < topic.lead.high


def test_a_topic_with_several_good_experts_is_no_gap(found: Gaps) -> None:
    """A topic with several good experts is listed, last, as none."""
    assert [topic.kind for topic in found.topics] == ["nobody", "only the most expensive", None]
    assert found.topics[-1].subjects == {"some_sport": N}
    assert sum(topic.n for topic in found.topics) == found.n == 3 * N


def test_the_threshold_for_good_decides(tmp_path: Path) -> None:
    """Where experts need not be right often, even the worst topic is no gap."""
    folder = write_folder(tmp_path, planted)
    assert [topic.kind for topic in find_gaps([folder], good=0.02, clusters=3).topics] == [None, None, None]


def test_few_questions_make_no_topic_of_their_own(tmp_path: Path) -> None:
    """Seven questions that no expert can answer go to another topic, and are not the first gap."""
    folder = write_folder(tmp_path, planted, {"chemistry": 7, "law": N, "sport": N})
    gaps = find_gaps([folder], clusters=3)
    assert sum(topic.n for topic in gaps.topics) == 2 * N + 7
    assert all(topic.n >= 20 for topic in gaps.topics)
    assert gaps.of("nobody") == []


def test_differences_by_chance_are_no_gap(tmp_path: Path) -> None:
    """Four right of ten could be one half by chance on 40 questions, and cannot on 400."""

    def unsure(topic: str, i: int) -> dict[str, float | None]:
        return {"cheap": float(i % 5 < 2), "cheaper": float(i % 5 == 4)}

    few = find_gaps([write_folder(tmp_path / "few", unsure, {"law": 40})], clusters=1)
    assert few.topics[0].best.accuracy == 0.4
    assert few.of("nobody") == []
    many = find_gaps([write_folder(tmp_path / "many", unsure, {"law": 400})], clusters=1)
    assert [topic.best.accuracy for topic in many.of("nobody")] == [0.4]


@pytest.mark.parametrize(("right", "n"), [(0, 20), (3, 20), (20, 20), (190, 400)])
def test_intervals_are_wilsons(right: int, n: int) -> None:
    """The intervals are SciPy's."""
    known = binomtest(right, n).proportion_ci(method="wilson")
    assert wilson_interval(right / n, n) == pytest.approx((known.low, known.high), abs=1e-4)


def test_an_expert_is_judged_where_it_has_enough_outcomes(tmp_path: Path) -> None:
    """An expert with ten questions of a topic, all right, is not its best expert."""

    def newcomer(topic: str, i: int) -> dict[str, float | None]:
        return {"dear": float(i % 2), "cheap": 1.0 if i < (10 if topic == "law" else 30) else None}

    gaps = find_gaps([write_folder(tmp_path, newcomer, {"law": N, "sport": N})], clusters=2)
    of = {next(iter(topic.subjects)): topic for topic in gaps.topics}
    assert (of["some_law"].best.expert, of["some_law"].best_other) == ("dear", None)
    assert (of["some_sport"].best.expert, of["some_sport"].best.n) == ("cheap", 30)
    assert of["some_sport"].lead is not None
    assert of["some_sport"].lead.value == pytest.approx(-0.5)


def test_without_prices_there_is_no_most_expensive_expert(tmp_path: Path) -> None:
    """Topics that no expert knows are still found, and a note says why the other kind is not."""
    gaps = find_gaps([write_folder(tmp_path, planted, prices=False)], clusters=3)
    assert (len(gaps.of("nobody")), len(gaps.of("only the most expensive")), gaps.most_expensive) == (1, 0, None)
    assert any("only the most expensive" in note for note in gaps.notes)


def test_one_expert_has_gaps_too(tmp_path: Path) -> None:
    """Topics that the only expert does not know are found."""
    gaps = find_gaps([write_folder(tmp_path, lambda t, i: {"cheap": planted(t, i)["cheap"]})], clusters=3)
    assert {next(iter(topic.subjects)) for topic in gaps.of("nobody")} == {"some_chemistry", "some_law"}
    assert all(topic.lead is None and topic.best_other is None for topic in gaps.topics)


def test_the_same_is_found_again(found: Gaps, tmp_path: Path) -> None:
    """Rows in another order, and another run, give the same gaps."""
    folder = write_folder(tmp_path, planted, {"sport": N, "chemistry": N, "law": N})
    assert json.dumps(find_gaps([folder], clusters=3).as_json()) == json.dumps(found.as_json())


def test_a_router_predicts_unrecorded_scores(router: Router, topics: Any, tmp_path: Path) -> None:
    """An expert without outcomes is judged by the router's predictions, and the accuracy of its choices is reported."""
    queries, outcomes = topics.recorded(topics.sums(60)[:30] + topics.facts(60)[:30])
    counted = [outcome for outcome in outcomes if outcome["expert"] == "counter"]
    folder = topics.write(tmp_path, queries, [*counted, outcomes[1]])
    alone, helped = (find_gaps([folder], r, clusters=2) for r in (None, router))
    assert {topic.best.expert for topic in alone.topics} == {"counter"}
    assert all(topic.routed_accuracy is None for topic in alone.topics)
    assert {topic.best.expert for topic in helped.topics} == {"counter", "reader"}
    of_sums = next(topic for topic in helped.topics if topic.best.expert == "counter")
    assert of_sums.routed_accuracy == pytest.approx(0.9, abs=0.04)
    assert "59 outcomes are not recorded; what the router expects stands in for them" in helped.notes


def test_a_router_for_other_experts_is_refused(router: Router, tmp_path: Path) -> None:
    """A router without an expert of the data cannot predict anything there."""
    with pytest.raises(UsageError, match="router and data have no expert in common: the router knows counter, oracle"):
        find_gaps([write_folder(tmp_path, planted)], router)


@pytest.mark.parametrize("clusters", [0, 7])
def test_more_topics_than_questions_allow_are_refused(tmp_path: Path, clusters: int) -> None:
    """A topic needs twenty questions or more."""
    with pytest.raises(
        UsageError, match=f"clusters is {clusters}, but must be from 1 to 6, as there are 120 questions"
    ):
        find_gaps([write_folder(tmp_path, planted)], clusters=clusters)


@pytest.mark.parametrize("good", [0.0, 1.5, float("nan")])
def test_the_threshold_must_be_an_accuracy(tmp_path: Path, good: float) -> None:
    """Only thresholds above 0 and up to 1 are taken."""
    with pytest.raises(UsageError, match="good must be an accuracy above 0 and up to 1"):
        find_gaps([tmp_path], good=good)


def test_gaps_of_real_experts_are_the_known_ones(shared_data: Path, tmp_path: Path) -> None:
    """On 700 questions of MMLU, of nine experts only GPT-4 can answer moral scenarios, and mathematics has much to gain."""
    source = shared_data / "mmlu9"
    taken = f"(FROM '{source}/queries.parquet' WHERE split = 'test' ORDER BY hash(query_id) LIMIT 700)"
    con = duckdb.connect()
    con.sql(f"FROM {taken}").write_parquet(str(tmp_path / "queries.parquet"))
    outcomes = con.sql(f"FROM '{source}/outcomes.parquet' SEMI JOIN {taken} USING (query_id)")
    outcomes.write_parquet(str(tmp_path / "outcomes.parquet"))
    shutil.copy(source / "experts.parquet", tmp_path)
    gaps = find_gaps([tmp_path], split="test")
    assert gaps.most_expensive == "gpt-4-1106-preview"
    assert "moral_scenarios" in {next(iter(topic.subjects)) for topic in gaps.of("only the most expensive")}
    assert any("mathematics" in topic.name for topic in gaps.topics[:3])
