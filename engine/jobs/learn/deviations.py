"""Deviations: on which questions an expert is better than usual, learned from their texts while truth is inferred.

Experts' skills that differ by kinds of questions and the inferred truth depend on each other, and are learned in turns
(Raykar et al., "Learning From Crowds", JMLR 2010). What a skill leaves unexplained is smoothed over the texts' vectors
by kernel ridge regression, and each question of the pilot is predicted from the others alone, so that nothing confirms
itself. How far the prediction is believed is measured there too: where it explains nothing, nothing deviates.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from leeroo.engine.arrays import Bools, Float64s, Floats, Int64s
from leeroo.engine.jobs.learn.truth import LOG_U, Evidence, Prior, U, expit, fit, posterior, right

# Turns of truth and deviations, and penalties that are tried.
_TURNS, _PENALTIES = 5, (0.3, 1.0, 3.0, 10.0)
# Fewest questions that an expert answered, and the furthest from its mean in logits.
_LEAST, _FURTHEST = 30, 3.0
# The least that a probability is taken to rise with a logit: where all are right, nothing can be learned.
_FLATTEST = 0.05
# Predictions are believed from this number of standard errors on.
_DOUBT = 2.0


def deviate(evidence: Evidence, prior: Prior, vectors: Floats, pilot: Int64s, theta: Float64s) -> Float64s:
    """Return the offsets of all questions [n, e], those of the prior included.

    Args:
        evidence: Answers [n, e]; those of the pilot are learned from.
        prior: What was known beforehand.
        vectors: [n, d], of the questions, of unit length.
        pilot: Questions that several experts answered.
        theta: Skills to begin with [e].

    """
    centred = np.asarray(vectors - vectors[pilot].mean(axis=0), np.float64)
    asked = replace(evidence, offset=prior.offset).take(pilot)
    offset = prior.offset
    for _ in range(_TURNS):
        own, everywhere = _smooth(asked, theta, prior.offset[pilot], centred, pilot)
        asked = replace(asked, offset=prior.offset[pilot] + own)
        offset = prior.offset + everywhere
        theta = fit(asked, prior, theta)
    offset[pilot] = asked.offset
    return offset


def _smooth(
    asked: Evidence, theta: Float64s, known: Float64s, vectors: Float64s, pilot: Int64s
) -> tuple[Float64s, Float64s]:
    """Return deviations in logits: of the pilot's questions from the others [p, e], and of all questions [n, e]."""
    of_u = expit((theta + known)[:, :, None] + U)  # [p, e, g]
    p, curve = of_u @ np.exp(LOG_U), (of_u * (1 - of_u)) @ np.exp(LOG_U)
    unexplained = np.where(asked.bought, right(asked, posterior(asked, theta)) - p, 0.0)
    unexplained = np.where(asked.bought.sum(axis=0) >= _LEAST, unexplained, 0.0)
    unexplained -= np.where(asked.bought, _mean(unexplained, asked.bought, 0), 0.0)
    # What all experts share, the question's difficulty, is far easier to predict than what is an expert's own.
    shared = np.where(asked.bought, _mean(unexplained, asked.bought, 1), 0.0)
    own, everywhere = np.zeros(p.shape), np.zeros((len(vectors), p.shape[1]))
    for part in (shared, unexplained - shared):
        tried = [_ridge(vectors[pilot], asked.bought, part, vectors, penalty) for penalty in _PENALTIES]
        left_out, of_all = min(tried, key=lambda found: float(((part - found[0]) ** 2).sum()))
        believed = _believed(left_out, part)
        own += believed * left_out
        everywhere += believed * of_all
    slope = 1 / np.maximum(curve.mean(axis=0), _FLATTEST)  # from probability to logits
    return (slope * own).clip(-_FURTHEST, _FURTHEST), (slope * everywhere).clip(-_FURTHEST, _FURTHEST)


def _mean(values: Float64s, there: Bools, axis: int) -> Float64s:
    """Return the means of the values that are there, along an axis that stays."""
    counted = np.maximum(there.sum(axis=axis, keepdims=True), 1)
    return np.asarray(np.where(there, values, 0.0).sum(axis=axis, keepdims=True) / counted)


def _ridge(
    known: Float64s, there: Bools, values: Float64s, others: Float64s, penalty: float
) -> tuple[Float64s, Float64s]:
    """Return each value as the others predict it [p, e], and the values of all questions [n, e]."""
    left_out, everywhere = np.zeros(values.shape), np.zeros((len(others), values.shape[1]))
    kernel = known @ known.T
    inverse: dict[bytes, Float64s] = {}  # experts that answered the same questions share it
    for j in np.flatnonzero(values.any(axis=0)).tolist():
        rows = np.flatnonzero(there[:, j])
        key = rows.tobytes()
        if key not in inverse:
            inverse[key] = np.asarray(
                np.linalg.inv(kernel[np.ix_(rows, rows)] + penalty * np.eye(len(rows))), np.float64
            )
        of_rows = inverse[key]
        weights = of_rows @ values[rows, j]
        left_out[rows, j] = values[rows, j] - weights / np.diag(of_rows)  # leave-one-out, in closed form
        everywhere[:, j] = others @ (known[rows].T @ weights)
    return left_out, everywhere


def _believed(predicted: Float64s, values: Float64s) -> float:
    """Return the factor by which left-out predictions [p, e] are believed: their slope, less the doubt about it."""
    of_question = (predicted * values).sum(axis=1)
    slope = float(of_question.sum() / max(float((predicted**2).sum()), 1e-12))
    sureness = float(of_question.sum() / max(float(np.sqrt((of_question**2).sum())), 1e-12))
    return float(np.clip(slope, 0.0, 1.0)) * max(0.0, 1 - (_DOUBT / max(sureness, 1e-12)) ** 2)
