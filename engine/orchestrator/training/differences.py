"""Shrink the predicted differences between experts to what held-out outcomes confirm.

A choice takes the best of many predictions, so it finds their errors: among near-equal experts, differences that are
mostly noise cost more than they bring. So the differences are split into their principal directions, and each counts as
far as outcomes surely confirm it. Where nothing is sure, each expert keeps its rate, and a choice is as good as the
best mix of single experts. What all experts have in common stays. This is in the spirit of the shrinkage of Breiman &
Friedman, "Predicting multivariate responses in multiple linear regression", 1997, in the directions that a choice uses.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from leeroo.engine.arrays import Float32s, Float64s
from leeroo.engine.orchestrator.statistics import sigmoid

# Newton steps towards the offsets that keep the rates; the error is squared in each.
_STEPS = 6
# Directions in which log-odds vary less than that are rounding errors.
_FLAT = 1e-3


@dataclass(frozen=True)
class Shrinkage:
    """A linear map of log-odds [n, e]: `log_odds @ turn + shift`.

    Attributes:
        turn: [e, e].
        shift: [e].
        slopes: [e - 1], how much of each direction is kept, from 0 to 1; the direction of most variation first.
    """

    turn: Float32s
    shift: Float32s
    slopes: Float64s


def fit_shrinkage(log_odds: Float32s, scores: Float32s, doubt: float) -> Shrinkage:
    """Return the map that shrinks differences between experts and keeps the mean prediction for each.

    Args:
        log_odds: [n, e], of success, by fits that have not seen the outcomes of their question.
        scores: [n, e], NaN where not recorded.
        doubt: Standard errors by which each direction counts less than outcomes say.
    """
    wide = log_odds.astype(np.float64)
    mean = wide.mean(axis=0)
    directions, along = _directions(wide - mean)
    slopes = _slopes(wide, scores, directions, along, doubt)
    turn = np.eye(len(mean)) - (directions * (1 - slopes)) @ directions.T
    turned = (wide - mean) @ turn + mean
    shift = mean - mean @ turn + _offsets(turned, wide)
    return Shrinkage(turn.astype(np.float32), shift.astype(np.float32), slopes)


def _directions(centred: Float64s) -> tuple[Float64s, Float64s]:
    """Return the principal directions [e, e - 1] of the experts' differences, and log-odds [n, e - 1] along them."""
    e = centred.shape[1]
    # The first column of Q is what all have in common; the others span the differences.
    span = np.linalg.qr(np.concatenate([np.ones((e, 1)), np.eye(e)[:, 1:]], axis=1))[0][:, 1:]
    differences = centred @ span
    directions = span @ np.linalg.eigh(differences.T @ differences)[1][:, ::-1]
    return directions, centred @ directions


def _slopes(log_odds: Float64s, scores: Float32s, directions: Float64s, along: Float64s, doubt: float) -> Float64s:
    """Return the part of each direction that outcomes confirm, less standard errors, from 0 to 1.

    A slope is found by one step of logistic regression, starting from 1. The errors of a question's outcomes are taken
    together, because the same luck is in all of them.
    """
    known = np.isfinite(scores)
    expected = sigmoid(log_odds.astype(np.float32)).astype(np.float64)
    surprise = np.where(known, scores - expected, 0)
    gains = (surprise @ directions) * along
    information = (np.where(known, expected * (1 - expected), 0) @ np.square(directions) * np.square(along)).sum(axis=0)
    varies = along.std(axis=0) > _FLAT
    per_unit = 1 / np.where(varies, np.maximum(information, 1e-9), np.inf)
    sure = 1 + (gains.sum(axis=0) - doubt * np.sqrt(np.square(gains).sum(axis=0))) * per_unit
    return np.where(varies, np.clip(sure, 0, 1), 0.0)


def _offsets(turned: Float64s, log_odds: Float64s) -> Float64s:
    """Return offsets [e] with which the mean probability of each expert is what it was."""
    wanted, offsets = sigmoid(log_odds.astype(np.float32)).mean(axis=0), np.zeros(turned.shape[1])
    for _ in range(_STEPS):
        expected = sigmoid((turned + offsets).astype(np.float32)).astype(np.float64)
        offsets += (wanted - expected.mean(axis=0)) / np.maximum((expected * (1 - expected)).mean(axis=0), 1e-6)
    return offsets
