"""Budgets: planned on predictions, kept on what answers really cost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.money import usd

Ask = Callable[..., pa.RecordBatchReader]
ALL = tuple(f"What is {i} plus {i}?" for i in range(40))
LARGE = 15 * 100 / 1e6
SMALL = 15 * 10 / 1e6


def _spent(out: pa.Table) -> float:
    return float(sum(out.column("cost_usd").to_pylist()))


@pytest.mark.parametrize("budget", [0.0, 0.002, 0.004, 0.01, 0.02, 0.04, 0.06, 0.1])
def test_the_spend_never_passes_the_budget(engine: Engine, questions: Ask, budget: float) -> None:
    """The sum of costs is within any budget, and rows that it does not reach say so."""
    out = engine.answer_table(questions(*ALL), Criteria(max_cost_usd=budget))
    assert _spent(out) <= budget
    for row in out.to_pylist():
        assert (row["answer"] is None) == (row["error"] is not None)
        if row["error"]:
            assert f"the budget of {usd(budget)} does not reach this row: $" in row["error"]


def test_a_middling_budget_mixes_experts(engine: Engine, questions: Ask) -> None:
    """A budget too small for the large expert on all rows gives some to the small one, and leaves none out."""
    out = engine.answer_table(questions(*ALL), Criteria(max_cost_usd=0.64))
    experts = out.column("expert").to_pylist()
    assert {"large", "small"} == set(experts)
    assert out.column("error").null_count == 40


def test_expensive_surprises_move_rows_to_the_cheaper(engine: Engine, questions: Ask, data_folder: Path) -> None:
    """When an expert writes far more than its limit, the rest goes to others, within the budget."""
    outcomes = pq.read_table(data_folder / "outcomes.parquet")
    long = pa.array([900 if e == "large" else 5 for e in outcomes.column("expert").to_pylist()], pa.int32())
    at = outcomes.schema.get_field_index("completion_tokens")
    pq.write_table(outcomes.set_column(at, outcomes.schema.field(at), long), data_folder / "outcomes.parquet")
    budget = 40 * (10 + 256) * 100 / 1e6  # what 40 answers of 256 tokens would cost
    out = engine.answer_table(questions(*ALL), Criteria(max_cost_usd=budget))
    experts = out.column("expert").to_pylist()
    assert _spent(out) <= budget
    assert 0 < experts.count("large") <= 11
    assert experts.count("small") >= 29
    assert out.column("error").null_count == 40


def test_a_stored_answer_spends_nothing(engine: Engine, questions: Ask) -> None:
    """The second run of a job reads the store: no cost, the same list cost."""
    first = engine.answer_table(questions(*ALL), Criteria())
    second = engine.answer_table(questions(*ALL), Criteria())
    assert _spent(first) == pytest.approx(40 * LARGE)
    assert _spent(second) == 0
    assert second.column("list_cost_usd").equals(first.column("list_cost_usd"))


def test_an_undelivered_run_still_counts_as_its_own(engine: Engine, questions: Ask) -> None:
    """The next run of the job resumes with answers that never arrived, cost included."""
    first: list[pa.Table] = []

    def lose() -> None:
        with engine.answer(questions(*ALL), Criteria()) as rows:
            first.append(rows.read_all())
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        lose()
    with Engine(engine.pool, store=engine.store.folder) as again:
        second = again.answer_table(questions(*ALL), Criteria())
    assert second.equals(first[0])
