"""Strengths and scores from comparisons."""

from __future__ import annotations

import numpy as np
import pytest

from leeroo.engine.orchestrator.outcomes.preferences import fit_strengths, score_experts


def test_strengths_are_found_again() -> None:
    """Comparisons drawn by known strengths give these strengths back."""
    rng, true = np.random.default_rng(0), np.array([4.0, 2.0, 1.0, 0.5])
    first = rng.integers(0, 4, 40_000)
    second = (first + rng.integers(1, 4, 40_000)) % 4
    wins = (rng.random(40_000) < true[first] / (true[first] + true[second])).astype(float)
    found = fit_strengths(first, second, wins, 4)
    assert found / found[2] == pytest.approx(true / true[2], rel=0.06)


def test_one_that_won_all_has_a_finite_strength() -> None:
    """The prior keeps it finite, and more wins make it greater."""
    few, many = (fit_strengths(np.zeros(n, int), np.ones(n, int), np.ones(n), 2) for n in (2, 20))
    assert np.isfinite(many).all()
    assert many[0] / many[1] > few[0] / few[1] > 1


def test_scores_have_the_mean_of_the_share_of_wins() -> None:
    """Over all questions an expert's scores average to its expected share of wins."""
    rng, true = np.random.default_rng(1), np.array([0.8, 0.2])
    n = 4000
    wins = (rng.random(n) < 0.8).astype(float)
    _, who, found = score_experts(np.arange(n), np.zeros(n, int), np.ones(n, int), wins, [False] * n, 2)
    assert [found[who == i].mean() for i in (0, 1)] == pytest.approx(true, abs=0.03)


def test_a_win_over_a_strong_one_counts_more() -> None:
    """On its own question, beating the strongest is more of a surprise than beating the weakest."""
    first, second = np.array([0, 1, 0] * 20 + [1, 1]), np.array([1, 2, 2] * 20 + [0, 2])
    questions, wins = np.arange(len(first)), np.ones(len(first))
    q, who, found = score_experts(questions, first, second, wins, [False] * len(first), 3)
    beat_strong, beat_weak = (found[(q == at) & (who == 1)][0] for at in (60, 61))
    assert beat_strong > beat_weak


def test_two_bad_answers_are_worse_than_a_tie() -> None:
    """Both lose against the field, and stay in [0, 1]."""
    first, second = np.array([0, 0]), np.array([1, 1])
    q, _, found = score_experts(np.arange(2), first, second, np.array([0.5, 0.5]), [False, True], 2)
    assert found[q == 0] == pytest.approx([0.5, 0.5])
    assert found[q == 1] == pytest.approx([0.25, 0.25])
