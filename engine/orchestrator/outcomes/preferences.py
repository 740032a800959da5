"""Scores in [0, 1] from comparisons of two experts' answers, by the model of Bradley and Terry (1952).

Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from leeroo.engine.arrays import Float64s, Int64s

# Each expert has one more comparison, tied, with an average one. So strengths are finite where one has won them all.
_PRIOR = 1.0
# A question's own comparisons count as much as this many of the expert's average.
_SHRINKAGE = 1.0
_ROUNDS, _CLOSE = 10_000, 1e-10


def fit_strengths(first: Int64s, second: Int64s, wins: Float64s, experts: int) -> Float64s:
    """Return the strength of each expert, [experts], by maximum likelihood with a weak prior.

    The chance that i is preferred to j is p_i / (p_i + p_j). The steps are those of the MM algorithm of Hunter, "MM
    algorithms for generalized Bradley-Terry models", Annals of Statistics 32 (2004). A tie is half a win of both.

    Args:
        first, second: The experts of each comparison, by number.
        wins: 1 where the first is preferred, 0 where the second is, 0.5 for a tie.
        experts: How many there are.
    """
    won = np.bincount(first, wins, experts) + np.bincount(second, 1 - wins, experts) + _PRIOR / 2
    met = np.zeros((experts, experts))
    np.add.at(met, (first, second), 1.0)
    met += met.T
    p: Float64s = np.ones(experts)
    for _ in range(_ROUNDS):
        new: Float64s = won / ((met / (p[:, None] + p)).sum(axis=1) + _PRIOR / (p + 1))
        if np.allclose(new, p, _CLOSE, 0):
            return new
        p = new
    return p


def score_experts(
    questions: Int64s, first: Int64s, second: Int64s, wins: Float64s, neither: Sequence[bool], experts: int
) -> tuple[Int64s, Int64s, Float64s]:
    """Return a score of each expert that was compared on a question: questions, experts, and scores in [0, 1].

    A score is the expected share of wins against the field, which is a random other expert. It starts from the
    expert's share by its strength. To it is added what came out on this question beyond what the two strengths predict:
    the mean over its comparisons and one without surprise. So a win over a strong expert counts more than one over a
    weak one, and the mean of an expert's scores is near its share of wins by strength.

    Args:
        questions: Number of the question of each comparison.
        first, second, wins, experts: As in `fit_strengths`.
        neither: True where both answers are bad: a tie between the two, but a loss against the field.
    """
    p = fit_strengths(first, second, wins, experts)
    chance = p[:, None] / (p[:, None] + p)
    field = (chance.sum(axis=1) - 0.5) / max(experts - 1, 1)
    bad = np.asarray(neither, bool)
    who = np.concatenate([first, second])
    where = np.concatenate([questions, questions])
    came = np.concatenate([np.where(bad, 0.0, wins), np.where(bad, 0.0, 1 - wins)])
    surprise = came - np.concatenate([chance[first, second], chance[second, first]])
    pairs, at = np.unique(np.stack([where, who]), axis=1, return_inverse=True)
    total, count = np.bincount(at.ravel(), surprise), np.bincount(at.ravel())
    found = field[pairs[1]] + total / (count + _SHRINKAGE)
    return pairs[0], pairs[1], np.clip(found, 0, 1)
