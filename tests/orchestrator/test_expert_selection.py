"""A small pool chosen by recorded outcomes: near the best there is, and honest about luck and about what is missing."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leeroo.engine.errors import RouterError, UsageError
from leeroo.engine.orchestrator.analysis.expert_selection import ExpertSelection, select_experts

Scores = Mapping[str, Sequence[float | None]]
Folder = Callable[..., Path]

LEAST_OF_GREEDY = 1 - 1 / np.e


def write_folder(
    folder: Path,
    scores: Scores,
    usd_per_m: Mapping[str, float] | None = None,
    subjects: Sequence[str] | None = None,
    order: Sequence[int] | None = None,
) -> Path:
    """Return a data folder of scores by expert; an outcome is 1,000 tokens, so USD per M are USD per 1,000 questions."""
    folder.mkdir(parents=True, exist_ok=True)
    n = len(next(iter(scores.values())))
    rows = list(order or range(n))
    queries = {
        "query_id": [f"q{i}" for i in rows],
        "split": ["train"] * n,
        "question": [f"question {i:03}" for i in rows],
        "subject": [subjects[i] if subjects else None for i in rows],
    }
    pq.write_table(pa.table(queries, pa.schema([(c, pa.string()) for c in queries])), folder / "queries.parquet")
    outcomes = [
        {"query_id": f"q{i}", "expert": e, "score": of_one[i], "prompt_tokens": 1000, "completion_tokens": 0}
        for i in rows
        for e, of_one in scores.items()
        if of_one[i] is not None
    ]
    pq.write_table(pa.Table.from_pylist(outcomes), folder / "outcomes.parquet")
    if usd_per_m is not None:
        prices = [{"expert": e, "usd_per_m_input": p, "usd_per_m_output": p} for e, p in usd_per_m.items()]
        pq.write_table(pa.Table.from_pylist(prices), folder / "experts.parquet")
    return folder


def best_pool(scores: np.ndarray, k: int) -> float:
    """Return the best mean of the best score in a pool of k, by looking at all pools."""
    pools = itertools.combinations(range(scores.shape[1]), k)
    return max(float(scores[:, pool].max(axis=1).mean()) for pool in pools)


tables = st.integers(2, 5).flatmap(
    lambda e: st.lists(
        st.lists(st.sampled_from([0.0, 0.0, 0.5, 1.0]), min_size=e, max_size=e), min_size=10, max_size=14
    )
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables, st.data())
def test_greedy_is_near_the_best_and_never_falls(tmp_path: Path, rows: list[list[float]], data: st.DataObject) -> None:
    """Any pool is within 1 - 1/e of the best of its size, counts what it says, and one more expert never harms."""
    scores = np.array(rows)
    k = data.draw(st.integers(1, scores.shape[1]))
    folder = write_folder(tmp_path, {f"e{j}": scores[:, j].tolist() for j in range(scores.shape[1])})
    selection = select_experts([folder], k)
    for step in selection.curve:
        pool = [int(name[1:]) for name in selection.experts[: step.k]]
        assert step.oracle_accuracy == pytest.approx(scores[:, pool].max(axis=1).mean())
        assert step.worth == pytest.approx(step.oracle_accuracy)
        assert step.oracle_accuracy >= LEAST_OF_GREEDY * best_pool(scores, step.k) - 1e-9
    assert selection.all.oracle_accuracy == pytest.approx(best_pool(scores, scores.shape[1]))
    for curve in zip(*((s.oracle_accuracy, s.held_out_accuracy) for s in selection.curve), strict=True):
        assert (np.diff([*curve, selection.all.oracle_accuracy]) >= -1e-9).all()
    assert sum(step.adds for step in selection.curve) == pytest.approx(selection.curve[-1].oracle_accuracy)


def test_each_expert_adds_what_the_others_lack(tmp_path: Path) -> None:
    """After the best expert comes the one that knows what it does not, instead of the second best."""
    scores = {"best": [1.0] * 14 + [0.0] * 6, "second": [1.0] * 13 + [0.0] * 7, "other": [0.0] * 14 + [1.0] * 6}
    selection = select_experts([write_folder(tmp_path, scores)], 2)
    assert selection.experts == ["best", "other"]
    assert [step.oracle_accuracy for step in selection.curve] == pytest.approx([0.7, 1.0])
    assert selection.best_single.expert == "best"


def test_of_equal_experts_the_cheaper_is_selected(tmp_path: Path) -> None:
    """Where two experts know the same, it is the cheaper one, whatever their names."""
    right = [1.0] * 8 + [0.0] * 4
    folder = write_folder(tmp_path, {"a": right, "b": right}, {"a": 2.0, "b": 1.0})
    selection = select_experts([folder], 1)
    assert selection.experts == ["b"]
    assert selection.curve[0].cost_usd_per_1k == pytest.approx(1.0)


def test_a_cost_weight_prefers_a_cheap_expert_that_is_nearly_as_good(tmp_path: Path) -> None:
    """One right answer in twenty more is taken for nothing, and left where a dollar counts for more."""
    scores = {"dear": [1.0] * 16 + [0.0] * 4, "cheap": [1.0] * 15 + [0.0] * 5}
    folder = write_folder(tmp_path, scores, {"dear": 10.0, "cheap": 1.0})
    assert select_experts([folder], 1).experts == ["dear"]
    # 0.05 of score against 0.009 USD: they are worth the same at 5.6 points for a dollar.
    assert select_experts([folder], 1, cost_weight=5).experts == ["dear"]
    expensive_dollars = select_experts([folder], 2, cost_weight=6)
    assert expensive_dollars.experts == ["cheap", "dear"]
    assert expensive_dollars.curve[0].worth == pytest.approx(0.75 - 6 * 0.001)


def test_the_oracle_pays_the_cheapest_right_answers(tmp_path: Path) -> None:
    """The expensive expert is paid only where it alone is right; where none is, the cheap one answers."""
    scores = {"dear": [1.0] * 8 + [0.0] * 2, "cheap": [1.0] * 5 + [0.0] * 5}
    selection = select_experts([write_folder(tmp_path, scores, {"dear": 10.0, "cheap": 1.0})], 2)
    assert [step.cost_usd_per_1k for step in selection.curve] == pytest.approx([10.0, 0.3 * 10 + 0.7 * 1])


def test_the_order_of_rows_means_nothing(tmp_path: Path) -> None:
    """Queries and outcomes in another order give the same, to the last digit."""
    draw = np.random.default_rng(1).random((30, 4))
    scores: Scores = {f"e{j}": [None if x < 0.1 else float(x > 0.5) for x in draw[:, j]] for j in range(4)}
    prices = {f"e{j}": 1.0 + j for j in range(4)}
    shuffled = random.Random(0).sample(range(30), 30)
    one = select_experts([write_folder(tmp_path / "one", scores, prices)], 3)
    other = select_experts([write_folder(tmp_path / "other", scores, prices, order=shuffled)], 3)
    assert json.dumps(one.as_json()) == json.dumps(other.as_json())


def test_luck_is_separated_from_skill(tmp_path: Path) -> None:
    """Experts that guess make the oracle look good; on other questions less, and choosing by subject gains nothing."""
    guesses = np.random.default_rng(0).random((60, 30)) < 0.3
    subjects = ["a", "b"] * 30
    folder = write_folder(
        tmp_path, {f"g{j:02}": guesses[:, j].astype(float).tolist() for j in range(30)}, None, subjects
    )
    lucky = select_experts([folder], 4).curve[-1]
    assert lucky.oracle_accuracy > 0.85
    assert lucky.held_out_accuracy < lucky.oracle_accuracy - 0.05
    assert lucky.by_subject_accuracy is not None
    assert lucky.by_subject_accuracy < 0.45


def test_skill_by_subject_is_reached_by_choosing_by_subject(tmp_path: Path) -> None:
    """Where two experts know a subject each, knowing the subject is as good as hindsight."""
    scores = {"sums": [1.0, 0.0] * 20, "facts": [0.0, 1.0] * 20, "neither": [0.0, 0.0] * 20}
    selection = select_experts([write_folder(tmp_path, scores, None, ["sums", "facts"] * 20)], 2)
    assert set(selection.experts) == {"sums", "facts"}
    assert selection.curve[-1].by_subject_accuracy == 1
    assert selection.curve[-1].held_out_accuracy == 1
    assert selection.curve[0].by_subject_accuracy is not None
    assert selection.curve[0].by_subject_accuracy <= 0.5


def test_questions_that_others_did_not_get_are_no_merit(tmp_path: Path) -> None:
    """An expert with poor answers to questions that the good ones did not get is not taken for a complement."""
    random_right = np.random.default_rng(2).random(40) < 0.3
    scores: Scores = {
        "good": [1.0] * 30 + [0.0] * 10 + [None] * 40,
        "helper": [0.0] * 25 + [1.0] * 15 + [None] * 40,
        "stray": [None] * 40 + random_right.astype(float).tolist(),
        "all": ([1.0, 0.0] * 40),
    }
    selection = select_experts([write_folder(tmp_path, scores)], 2)
    assert selection.experts == ["good", "helper"]
    assert selection.judged_on == {"all": 80, "good": 40, "helper": 40, "stray": 40}
    [note] = [note for note in selection.notes if note.startswith("not asked all 80 questions")]
    assert "stray (40)" in note
    assert "all (" not in note


def test_an_expert_with_easy_questions_only_is_not_the_best(tmp_path: Path) -> None:
    """Ten right answers of ten to questions that everybody gets right count less than 45 of 50 on all."""
    scores: Scores = {
        "easy": [1.0] * 10 + [None] * 40,
        "able": [1.0] * 45 + [0.0] * 5,
        "weak": [1.0] * 12 + [0.0] * 38,
    }
    selection = select_experts([write_folder(tmp_path, scores)], 1)
    assert selection.experts == ["able"]
    assert selection.best_single.expert == "able"


def test_experts_that_share_no_question_are_named(tmp_path: Path) -> None:
    """Two groups without a question in common are hard to compare, and it is said which they are."""
    scores: Scores = {
        "a": [1.0, 0.0] * 6 + [None] * 12,
        "b": [0.0, 1.0] * 6 + [None] * 12,
        "c": [None] * 12 + [1.0, 0.0] * 6,
    }
    notes = select_experts([write_folder(tmp_path, scores)], 2).notes
    assert "these groups of experts share no question, so they are hard to compare: a, b; c" in notes


def test_unknown_numbers_are_none(tmp_path: Path) -> None:
    """There are no costs without prices and no choice by subject without subjects; a note says so."""
    folder = write_folder(tmp_path, {"a": [1.0, 0.0] * 6, "b": [0.0, 1.0] * 6})
    selection = select_experts([folder], 2)
    assert selection.curve[0].cost_usd_per_1k is None
    assert selection.curve[0].by_subject_accuracy is None
    assert any("what calls of a, b cost is not known" in note for note in selection.notes)
    with pytest.raises(RouterError, match="costs cannot count: what calls of a, b cost is not known"):
        select_experts([folder], 2, cost_weight=1)


@pytest.mark.parametrize("k", [0, -1, 3])
def test_a_size_that_cannot_be_is_refused(tmp_path: Path, k: int) -> None:
    """There must be at least one expert, and no more than there are."""
    folder = write_folder(tmp_path, {"a": [1.0, 0.0] * 6, "b": [0.0, 1.0] * 6})
    with pytest.raises(UsageError, match=f"k is {k}, but must be from 1 to 2, the number of experts in "):
        select_experts([folder], k)


@pytest.fixture(scope="module")
def of_nine(shared_data: Path) -> ExpertSelection:
    """Return three of the nine experts of mmlu9, by its test questions."""
    return select_experts([shared_data / "mmlu9"], 3, split="test")


def test_real_experts(of_nine: ExpertSelection) -> None:
    """The best single expert comes first; accuracies, costs and the oracle are those of the data's own description."""
    assert of_nine.experts[0] == of_nine.best_single.expert == "gpt-4-1106-preview"
    assert of_nine.curve[0].oracle_accuracy == pytest.approx(0.8071, abs=1e-4)
    assert of_nine.curve[0].cost_usd_per_1k == pytest.approx(1.1047, abs=2e-3)
    assert of_nine.all.oracle_accuracy == pytest.approx(0.9402, abs=1e-4)
    assert of_nine.notes == []


def test_subjects_separate_real_experts_less_than_hindsight(of_nine: ExpertSelection) -> None:
    """A few more experts add a tenth to the oracle, and next to nothing to a choice by subject."""
    first, last = of_nine.curve[0], of_nine.curve[-1]
    assert last.oracle_accuracy > first.oracle_accuracy + 0.08
    assert last.by_subject_accuracy == pytest.approx(first.by_subject_accuracy, abs=0.01)
