"""Scores and costs that are imputed where none is recorded."""

from __future__ import annotations

import numpy as np
import pytest

from leeroo.engine.orchestrator.outcomes.impute import impute_costs, impute_scores

NAN = np.nan


def test_recorded_scores_stay() -> None:
    """Only empty cells are filled, with chances in (0, 1)."""
    scores = np.array([[1.0, 0.0, NAN], [0.0, NAN, 0.25], [NAN, 1.0, 1.0]])
    filled = impute_scores(scores)
    known = np.isfinite(scores)
    assert (filled[known] == scores[known]).all()
    assert ((filled[~known] > 0) & (filled[~known] < 1)).all()


def test_abler_experts_and_easier_questions_have_better_chances() -> None:
    """An expert's chance grows with its other answers, and with those of others to the question."""
    able, weak = [1.0] * 9 + [0.0], [1.0] * 2 + [0.0] * 8
    easy, hard = [1.0] * 3, [0.0] * 3
    block = np.column_stack([able, weak, *np.tile([1.0, 0.0], (3, 5)).reshape(3, 10)])
    recorded_cells = np.array([[NAN, NAN, *easy], [NAN, NAN, *hard]])
    filled = impute_scores(np.concatenate([block, recorded_cells]))[-2:, :2]
    assert filled[0, 0] > filled[0, 1] + 0.2
    assert filled[1, 0] > filled[1, 1] + 0.1
    assert (filled[0] > filled[1] + 0.2).all()


@pytest.mark.parametrize("score", [0.0, 1.0])
def test_where_all_scores_are_the_same_so_is_the_rest(score: float) -> None:
    """Nothing else can be expected where every answer was right, or every one wrong."""
    assert impute_scores(np.array([[score, NAN], [NAN, score]])).tolist() == [[score, score]] * 2


def test_costs_follow_the_expert_and_the_question() -> None:
    """A question twice as expensive for the others costs an expert twice its mean; one without any costs stays NaN."""
    costs = np.array([[1.0, 10.0, NAN], [1.0, 10.0, NAN], [4.0, NAN, NAN]])
    filled = impute_costs(costs)
    assert filled[:, 0].tolist() == [1.0, 1.0, 4.0]
    assert filled[2, 1] == pytest.approx(10.0 * 4.0 / 2.0)
    assert np.isnan(filled[:, 2]).all()


def test_free_experts_stay_free() -> None:
    """Costs of 0 are costs."""
    assert impute_costs(np.array([[0.0, NAN], [NAN, 0.0]])).tolist() == [[0.0, 0.0], [0.0, 0.0]]
