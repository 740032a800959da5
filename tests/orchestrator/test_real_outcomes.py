"""On recorded outcomes of nine real models: what is learned from some MMLU questions holds on others."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pytest

from leeroo.engine.arrays import Float32s, Float64s
from leeroo.engine.orchestrator.choose import choose
from leeroo.engine.orchestrator.outcomes.read import read_outcomes
from leeroo.engine.orchestrator.router import Prediction
from leeroo.engine.orchestrator.statistics import calibration_error
from leeroo.engine.orchestrator.training.learn import train

QUESTIONS = 600


@dataclass
class HeldOut:
    """Questions not learned from: predictions, and what was recorded; [n, e]."""

    experts: tuple[str, ...]
    prediction: Prediction
    prices: Float64s  # USD per million tokens [2, e]: of the prompt, of the completion
    scores: Float64s
    recorded_costs: Float64s

    @property
    def expected_costs(self) -> Float64s:
        """USD by the predicted tokens."""
        return priced(self.prediction.prompt_tokens, self.prediction.completion_tokens, self.prices)


def priced(prompt: Float32s, completion: Float32s, prices: Float64s) -> Float64s:
    """Return USD of these tokens."""
    return np.asarray(prompt * prices[0] + completion * prices[1]) / 1e6


@pytest.fixture(scope="module")
def held(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> HeldOut:
    """Return 600 questions of each split of mmlu9: one to learn from, one to try it on."""
    source, folder = shared_data / "mmlu9", tmp_path_factory.mktemp("mmlu9")
    con = duckdb.connect()
    con.execute(
        f"CREATE TEMP TABLE taken AS FROM '{source}/queries.parquet' "
        f"QUALIFY row_number() OVER (PARTITION BY split ORDER BY hash(query_id)) <= {QUESTIONS}"
    )
    con.sql("FROM taken").write_parquet(str(folder / "queries.parquet"))
    outcomes = con.sql(f"FROM '{source}/outcomes.parquet' SEMI JOIN taken USING (query_id)")
    outcomes.write_parquet(str(folder / "outcomes.parquet"))
    router, test = train([folder]), read_outcomes([folder], split="test")
    listed = {
        name: prices
        for name, *prices in con.sql(
            f"SELECT expert, usd_per_m_input, usd_per_m_output FROM '{source}/experts.parquet'"
        ).fetchall()
    }
    prices = np.array([listed[name] for name in router.experts]).T
    assert router.experts == test.experts
    return HeldOut(
        experts=router.experts,
        prediction=router.predict(test.prompts),
        prices=prices,
        scores=test.scores.astype(np.float64),
        recorded_costs=priced(test.prompt_tokens, test.completion_tokens, prices),
    )


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_choosing_beats_a_random_mix_of_cheapest_and_most_expensive(held: HeldOut, share: float) -> None:
    """At a share of GPT-4's cost the choice is right on at least 1.5 points more than a mix that costs the same."""
    gpt4 = held.experts.index("gpt-4-1106-preview")
    total, accuracy = held.recorded_costs.sum(axis=0), held.scores.mean(axis=0)
    cheap = min(range(len(total)), key=lambda j: (total[j], -accuracy[j]))
    chosen = choose(held.prediction.scores, held.expected_costs, budget_usd=share * float(total[gpt4])).expert
    row = np.arange(len(chosen))
    assert (chosen >= 0).all()
    spent = held.recorded_costs[row, chosen].sum()
    assert spent <= 1.1 * share * total[gpt4]
    part = (spent - total[cheap]) / (total[gpt4] - total[cheap])
    mixed = accuracy[cheap] + part * (accuracy[gpt4] - accuracy[cheap])
    assert held.scores[row, chosen].mean() >= mixed + 0.015


def test_probabilities_are_right_on_average(held: HeldOut) -> None:
    """Predicted success is calibrated, and its mean is near the recorded accuracy."""
    weights = np.ones(len(held.scores))
    errors = [
        calibration_error(held.prediction.scores[:, j], held.scores[:, j], weights) for j in range(len(held.experts))
    ]
    assert np.mean(errors) <= 0.06
    assert held.prediction.scores.mean(axis=0) == pytest.approx(held.scores.mean(axis=0), abs=0.06)


def test_better_experts_are_expected_to_be_better(held: HeldOut) -> None:
    """Experts and questions that are right more often have higher predictions."""
    expected = held.prediction.scores
    assert np.corrcoef(expected.mean(axis=0), held.scores.mean(axis=0))[0, 1] > 0.9
    for j in range(len(held.experts)):
        right, wrong = expected[held.scores[:, j] == 1, j], expected[held.scores[:, j] == 0, j]
        assert right.mean() > wrong.mean() + 0.02


def test_expected_costs_are_right_on_average(held: HeldOut) -> None:
    """What the experts are expected to cost in all is within a tenth of what they did cost."""
    assert held.expected_costs.sum(axis=0) == pytest.approx(held.recorded_costs.sum(axis=0), rel=0.1)
