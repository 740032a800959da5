"""Learn how long each expert's answers are, how many tokens a question has, and how long an answer takes.

Knows nothing of quality.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from leeroo.engine.arrays import Bools, Float32s, Floats, Int64s
from leeroo.engine.orchestrator.heads import TOKENS_PER_BYTE
from leeroo.engine.orchestrator.ridge import PENALTIES, Spectrum, spectrum

# The part of the questions, those with the shortest predictions, whose mean is the least that is ever predicted. A
# straight line is too low at its end, and a choice that prefers what is cheap finds just those questions.
_TAIL = 0.1
# Below this many points a line gets no offset of its own.
_FEW = 20


@dataclass(frozen=True)
class LengthHeads:
    """Heads of the completion tokens, in the form of `heads.Heads`; [d, e] and [e], NaN where nothing is known."""

    weight: Float32s
    bias: Float32s
    log: Float32s
    scale: Float32s
    low: Float32s
    high: Float32s


def learn_lengths(features: Float32s, tokens: Float32s, groups: Int64s) -> LengthHeads:
    """Fit a ridge regression of the completion tokens, or of their logarithm, for each expert.

    The form and the penalty are those of least squared error in tokens, with each question held out in turn. A factor
    makes the predictions right on average; for the logarithm it removes the bias of exponentiation (Duan, "Smearing
    estimate", 1983). No prediction is longer than any recorded length. None is shorter than the mean length of the
    tenth of the questions with the shortest held-out predictions. An expert without recorded tokens is expected to
    write as much as the others do on average.

    Args:
        features: [n, k].
        tokens: [n, e], NaN where not recorded.
        groups: [n], rows of the same question have the same number.
    """
    tokens = fill_unrecorded(tokens)
    known = np.isfinite(tokens)
    k, e = features.shape[1], tokens.shape[1]
    weight, log = np.zeros((k, e), np.float32), np.zeros(e, np.float32)
    lengths = LengthHeads(weight, np.full(e, np.nan, np.float32), log, *np.full((3, e), np.nan, np.float32))
    for columns in _alike(known):
        rows = known[:, columns[0]]
        if rows.any():
            _learn(lengths, columns, spectrum(features[rows], groups[rows]), tokens[rows][:, columns])
    return lengths


def learn_prompt_lines(measures: Float32s, tokens: Float32s) -> Float32s:
    """Fit prompt tokens of an empty question, for each byte and for each sign, [3, e], none negative.

    Args:
        measures: [n, 2], by `heads.measure`.
        tokens: [n, e], NaN where not recorded.
    """
    return np.array([_plane(measures, column) for column in fill_unrecorded(tokens).T], np.float32).T


def learn_latency_lines(tokens: Float32s, latency_ms: Float32s) -> Float32s:
    """Fit milliseconds [2, e], for no completion token and for each; both [n, e], NaN where unknown."""
    lines = [_line(x, y) for x, y in zip(fill_unrecorded(tokens).T, latency_ms.T, strict=True)]
    return np.array([line or (np.nan, np.nan) for line in lines], np.float32).T


def fill_unrecorded(tokens: Float32s) -> Float32s:
    """Return the table with each question's mean in the columns [n] of experts without any record."""
    known = np.isfinite(tokens)
    counts = known.sum(axis=1)
    means = np.where(counts > 0, np.where(known, tokens, 0).sum(axis=1) / np.maximum(counts, 1), np.nan)
    return np.where(known.any(axis=0), tokens, means[:, None]).astype(np.float32)


def _alike(known: Bools) -> list[list[int]]:
    """Group columns [n, e] with the same rows known: one regression fits them all."""
    groups: dict[bytes, list[int]] = {}
    for column in range(known.shape[1]):
        groups.setdefault(known[:, column].tobytes(), []).append(column)
    return list(groups.values())


def _learn(into: LengthHeads, columns: list[int], of: Spectrum, tokens: Float32s) -> None:
    """Fit the heads of `columns`, all tokens [n, columns] known."""
    logs = np.log(np.maximum(tokens, 1))
    both = np.concatenate([tokens, logs], axis=1)
    means, low, high = both.mean(axis=0), tokens.min(axis=0), tokens.max(axis=0)
    least = np.full(len(columns), np.inf)
    for penalty in PENALTIES:
        fit = of.fit(both - means, penalty)
        linear, log = np.split(fit.held_out + means, 2, axis=1)
        for form, guess in enumerate((linear, np.exp(np.minimum(log, 30)))):
            guess = np.clip(guess, low, high)
            scale = _ratio(tokens.sum(axis=0), guess.sum(axis=0))
            error = np.square(guess * scale - tokens).mean(axis=0)
            for i in np.flatnonzero(error < least):
                j, source = columns[i], i + form * len(columns)
                least[i] = error[i]
                into.weight[:, j], into.bias[j] = fit.coefficients[:, source], means[source]
                shortest = np.argsort(guess[:, i], kind="stable")[: math.ceil(_TAIL * len(guess))]
                into.log[j], into.scale[j] = form, scale[i]
                into.low[j], into.high[j] = tokens[shortest, i].mean(), high[i]


def _ratio(whole: Floats, guessed: Floats) -> Floats:
    return np.where(guessed > 0, whole / np.where(guessed > 0, guessed, 1), 1)


def _plane(measures: Float32s, tokens: Float32s) -> tuple[float, ...]:
    from scipy.optimize import nnls

    known = np.isfinite(tokens)
    if not known.any():
        return 0.0, TOKENS_PER_BYTE, 0.0
    terms = np.concatenate([np.ones((known.sum(), 1)), measures[known]], axis=1, dtype=np.float64)
    if len(terms) < _FEW:
        return 0.0, float(tokens[known].sum() / max(terms[:, 1].sum(), 1)), 0.0
    return tuple(nnls(terms, tokens[known].astype(np.float64))[0])


def _line(x: Floats, y: Floats) -> tuple[float, float] | None:
    """Fit offset and slope of y by x, neither negative, to the points where both are known; None without any."""
    known = np.isfinite(y) & np.isfinite(x)
    if not known.any():
        return (float(np.nanmean(y)), 0.0) if np.isfinite(y).any() else None
    x, y = x[known].astype(np.float64), y[known].astype(np.float64)
    if len(x) >= _FEW and np.ptp(x) > 0:
        slope, offset = np.polyfit(x, y, 1)
        if slope < 0:
            return float(y.mean()), 0.0
        if offset >= 0:
            return float(offset), float(slope)
    return (0.0, float(y.sum() / x.sum())) if x.sum() > 0 else (float(y.mean()), 0.0)
