"""Deviations: on which questions an expert is better than usual, learned from their texts while truth is inferred.

Experts' skills that differ by kinds of questions and the inferred truth depend on each other, and are learned in turns
(Raykar et al., "Learning From Crowds", JMLR 2010). What a skill leaves unexplained is smoothed over the texts' vectors
by kernel ridge regression, and each question of the pilot is predicted from the others alone, so that nothing confirms
itself. How far the prediction is believed is measured there too: where it explains nothing, nothing deviates.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import expit

from leeroo.engine.arrays import Float64s, Floats, Int64s
from leeroo.engine.jobs.learn.skills import Prior
from leeroo.engine.jobs.learn.truth import LOG_U, Evidence, U, fit, posterior, right

# Turns of truth and deviations, and penalties that are tried.
_TURNS, _PENALTIES = 5, (0.3, 1.0, 3.0, 10.0)
# Fewest questions that an expert answered, and the furthest from its mean in logits.
_LEAST, _FURTHEST = 30, 3.0


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
        theta = fit(asked, prior.mean, prior.sd, theta)
    offset[pilot] = asked.offset
    return offset


def _smooth(
    asked: Evidence, theta: Float64s, known: Float64s, vectors: Float64s, pilot: Int64s
) -> tuple[Float64s, Float64s]:
    """Return deviations in logits: of the pilot's questions from the others [p, e], and of all questions [n, e]."""
    p = expit((theta + known)[:, :, None] + U) @ np.exp(LOG_U)  # [p, e]
    unexplained = right(asked, posterior(asked, theta)) - p
    own, everywhere = np.zeros(p.shape), np.zeros((len(vectors), p.shape[1]))
    for j in range(p.shape[1]):
        rows = np.flatnonzero(asked.bought[:, j])
        if len(rows) < _LEAST:
            continue
        of_pilot, of_all = _ridge(vectors[pilot[rows]], unexplained[rows, j], vectors)
        slope = 1 / np.maximum(p * (1 - p), 0.05).mean(axis=0)[j]  # from probability to logits
        own[rows, j] = of_pilot * slope
        everywhere[:, j] = of_all * slope
    return own.clip(-_FURTHEST, _FURTHEST), everywhere.clip(-_FURTHEST, _FURTHEST)


def _ridge(known: Float64s, values: Float64s, others: Float64s) -> tuple[Float64s, Float64s]:
    """Return each value as the others predict it [p], and the values of all questions [n]."""
    mean = values.mean()
    centred = values - mean
    kernel = known @ known.T
    best: tuple[float, Float64s, Float64s] | None = None
    for penalty in _PENALTIES:
        inverse = np.linalg.inv(kernel + penalty * np.eye(len(known)))
        weights = inverse @ centred
        left_out = centred - weights / np.diag(inverse)  # leave-one-out, in closed form
        error = float(((centred - left_out) ** 2).mean())
        if best is None or error < best[0]:
            best = error, left_out, weights
    assert best is not None
    _, left_out, weights = best
    believed = float(np.clip(left_out @ centred / max(left_out @ left_out, 1e-12), 0.0, 1.0))
    return believed * left_out, believed * (others @ (known.T @ weights))
