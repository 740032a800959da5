"""MMLU as one batch: answers are read and scored, reported, and compared with other choices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import binomtest

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.jobs.mmlu.data import read_questions
from leeroo.engine.jobs.mmlu.mmlu import Results, run_mmlu
from leeroo.engine.pool import load_pool
from leeroo.engine.schema import EXPERTS, OUTCOMES, QUERIES
from leeroo.reports.mmlu import headline, mmlu_report
from leeroo.reports.page import page as as_page

SUBJECTS = {"anatomy": "other", "astronomy": "STEM"}
Run = Callable[..., Results]


def _recorded(folder: Path, responses: dict[str, list[str | None]], scores: dict[str, list[float]] | None) -> Path:
    """Return a data folder and a replay pool: four questions, the first two of anatomy, all with the gold answer B."""
    queries = [
        {
            "query_id": f"q{i}",
            "dataset": "toy",
            "split": "test",
            "subject": list(SUBJECTS)[i // 2],
            "category": list(SUBJECTS.values())[i // 2],
            "question": f"Number {i}?",
            "choices": ["w", "x", "y", "z"],
            "answer": "B",
            "prompt": f"Number {i}?\nA. w\nB. x\nC. y\nD. z",
        }
        for i in range(4)
    ]
    outcomes = [
        {
            "query_id": f"q{i}",
            "expert": name,
            "score": scores[name][i] if scores else float(said == "B"),
            "response": said,
            "prompt_tokens": 10,
            "completion_tokens": 1,
        }
        for name, own in responses.items()
        for i, said in enumerate(own)
    ]
    prices = {"usd_per_m_input": 1.0, "usd_per_m_output": 1.0}
    experts = [{"expert": name, "model": name, "license_open": True, **prices} for name in responses]
    for name, rows, schema in (
        ("queries", queries, QUERIES),
        ("outcomes", outcomes, OUTCOMES),
        ("experts", experts, EXPERTS),
    ):
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), folder / f"{name}.parquet")
    entry = '[[expert]]\nname = "{}"\nmodel = "."\nbackend = "replay"\nusd_per_m_input = {}\nusd_per_m_output = {}\n'
    pool = "".join(entry.format(name, i + 1, i + 1) for i, name in enumerate(responses))
    (folder / "pool.toml").write_text(pool)
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Answer the four questions with recorded responses."""

    def make(
        responses: dict[str, list[str | None]],
        criteria: Criteria | None = None,
        scores: dict[str, list[float]] | None = None,
        **how: Any,
    ) -> Results:
        folder = _recorded(tmp_path, responses, scores)
        with Engine(load_pool(folder / "pool.toml"), store=tmp_path / "store") as engine:
            return run_mmlu(engine, read_questions(str(folder)), criteria or Criteria(), **how)

    return make


@pytest.mark.parametrize(
    ("said", "letter"),
    [
        ("B", "B"),
        ("B. x", "B"),
        ("(B) x", "B"),
        ("Let's see: A or C? No.\nThe answer is (B).", "B"),
        ("the answer is: b", "B"),
        ("I think that it must be B", "B"),
        ("Because of that, B is right.", "B"),
        ("nothing of the kind", None),
        (None, None),
    ],
)
def test_the_letter_is_read_from_the_answer(run: Run, said: str | None, letter: str | None) -> None:
    """The words that models were taught decide, else the beginning, else the last single letter."""
    results = run({"one": [said] * 4}, scores={"one": [1.0] * 4}, mode="generate")
    assert results.answers.column("letter").to_pylist() == [letter] * 4


def test_accuracies_are_computed_for_all_and_by_part(run: Run) -> None:
    """Micro, macro, category and subject accuracies have Wilson's intervals."""
    results = run({"one": ["B", "A", "B", "B"]})
    assert results.accuracy.value == 0.75
    assert results.macro.value == 0.75
    assert {name: (part.n, part.accuracy.value) for name, part in results.subjects.items()} == {
        "anatomy": (2, 0.5),
        "astronomy": (2, 1.0),
    }
    assert {name: part.accuracy.value for name, part in results.categories.items()} == {"other": 0.5, "STEM": 1.0}
    exact = binomtest(3, 4).proportion_ci(method="wilson")
    assert (results.accuracy.low, results.accuracy.high) == pytest.approx((exact.low, exact.high))
    assert results.answers.column("score").to_pylist() == [1.0, 0.0, 1.0, 1.0]
    assert "recorded_score" not in results.answers.column_names


def test_recorded_scores_count_where_there_is_no_answer(run: Run) -> None:
    """Outcomes may be recorded without what was said."""
    results = run({"one": [None] * 4}, scores={"one": [1.0, 0.0, 0.5, 1.0]})
    assert results.accuracy.value == 0.625


def test_spend_is_reported_by_expert(run: Run) -> None:
    """Spend is that of the chosen experts; without a router the pool's default answers."""
    results = run({"one": ["B"] * 4, "two": ["A"] * 4})
    assert list(results.experts) == ["one"]
    assert results.experts["one"].list_cost_usd == pytest.approx(results.list_cost_usd) == 44e-6
    assert (results.experts["one"].prompt_tokens, results.experts["one"].completion_tokens) == (40, 4)


def test_recorded_answers_are_compared(run: Run) -> None:
    """The comparison has every expert, the best first, and the oracle; without a router there is no frontier."""
    compared = run({"one": ["B", "A", "A", "A"], "two": ["A", "B", "B", "A"]}).comparison
    assert compared is not None
    assert [(row.name, row.accuracy.value) for row in compared.experts] == [("two", 0.5), ("one", 0.25)]
    assert compared.oracle.accuracy.value == 0.75
    assert compared.oracle.cost_usd_per_1k == pytest.approx(1000 * (11 + 22 + 22 + 11) * 1e-6 / 4)  # the cheaper of two
    assert compared.experts[0].categories == {"other": 0.5, "STEM": 0.5}
    assert not compared.budgets
    assert not compared.frontier


def test_a_named_expert_is_not_compared(run: Run) -> None:
    """The comparison is left out where an expert is named, or where it is not wanted."""
    responses: dict[str, list[str | None]] = {"one": ["B"] * 4, "two": ["A"] * 4}
    assert run(responses, Criteria(expert="two")).comparison is None
    assert run(responses, compare=False).comparison is None


def test_a_failed_question_is_wrong(run: Run, tmp_path: Path) -> None:
    """A question that failed is counted, and scores 0."""
    _recorded(tmp_path, {"one": ["B"] * 4}, None)
    outcomes = tmp_path / "outcomes.parquet"
    pq.write_table(pq.read_table(outcomes).slice(0, 3), outcomes)
    with Engine(load_pool(tmp_path / "pool.toml"), store=tmp_path / "store") as engine:
        results = run_mmlu(engine, read_questions(str(tmp_path)), Criteria())
    assert (results.failed, results.accuracy.value) == (1, 0.75)
    assert "1 failed and count as wrong" in headline(results)


def test_the_page_holds_all_of_it(run: Run) -> None:
    """Every table, both pictures' text, nothing from elsewhere, and names as text."""
    responses: dict[str, list[str | None]] = {"one": ["B", "A", "A", "A"], "two": ["A", "B", "B", "A"]}
    results = run(responses)
    report = mmlu_report(results, "MMLU <b>", ["About & more."])
    page = as_page(report)
    assert "MMLU &lt;b&gt;" in page
    assert "About &amp; more." in page
    for table in report.tables:
        assert table.title in page
    assert page.count("<svg") == 1  # no frontier without a router
    assert "http" not in page.replace("http://www.w3.org", "").replace("http-equiv", "")


def test_scores_equal_those_of_real_outcomes(shared_data: Path, tmp_path: Path) -> None:
    """Accuracies of GPT-4, Mixtral and the oracle on the test split of `mmlu9` equal those in the data."""
    model = (shared_data / "mmlu9").resolve()
    entry = '[[expert]]\nname = "{}"\nmodel = "{}"\nbackend = "replay"\nusd_per_m_input = {}\nusd_per_m_output = {}\n'
    names = (("gpt-4-1106-preview", 10, 30), ("mixtral-8x7b-instruct", 0.6, 0.6))
    (tmp_path / "pool.toml").write_text("".join(entry.format(name, model, *prices) for name, *prices in names))
    with Engine(load_pool(tmp_path / "pool.toml"), store=tmp_path / "store") as engine:
        results = run_mmlu(engine, read_questions(str(model)), Criteria())
    assert results.comparison is not None
    accuracies = {row.name: round(row.accuracy.value, 4) for row in results.comparison.experts}
    assert accuracies == {"gpt-4-1106-preview": 0.8071, "mixtral-8x7b-instruct": 0.6769}
    assert round(results.comparison.oracle.accuracy.value, 4) == 0.8628
    assert len(results.subjects) == 57
