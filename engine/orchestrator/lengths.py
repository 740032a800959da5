"""Lengths: learning how long each expert's answers are, how many tokens a question has, and how long it all takes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leeroo.engine.orchestrator.heads import Float32s

Floats = npt.NDArray[np.floating]
Ints = npt.NDArray[np.int64]

# Ridge penalties on vectors of unit length; the last is as good as predicting the mean.
_PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0, 1e6)
# English text has about four bytes to a token; said of questions when no tokens were recorded.
_TOKENS_PER_BYTE = 0.25
# Below this many points a line gets no offset of its own.
_FEW = 20


@dataclass(frozen=True)
class Lengths:
    """Heads of the completion tokens, as `heads.Heads` has them; [d, e] and [e], NaN where nothing is known."""

    weight: Float32s
    bias: Float32s
    log: Float32s
    scale: Float32s
    low: Float32s
    high: Float32s


def learn_lengths(vectors: Float32s, tokens: Float32s, weights: Float32s, folds: Ints) -> Lengths:
    """Fit a ridge regression of the completion tokens, or of their logarithm, for each expert.

    Of the two, and of the penalties, those of least squared error in tokens on held-out folds are taken. A
    factor makes the predictions right on average; for the logarithm it undoes the bias of going back
    (Duan, "Smearing estimate", 1983). Predictions stay within the lengths that were seen. An expert without
    recorded tokens is taken to write as much as the others do on average.

    Args:
        vectors: [n, d].
        tokens: [n, e], NaN where not recorded.
        weights: [n], how much each text counts.
        folds: [n], texts of one question in the same.
    """
    tokens = borrowed(tokens)
    known = np.isfinite(tokens)
    d, e = vectors.shape[1], tokens.shape[1]
    weight, log = np.zeros((d, e), np.float32), np.zeros(e, np.float32)
    lengths = Lengths(weight, np.full(e, np.nan, np.float32), log, *np.full((3, e), np.nan, np.float32))
    for columns in _alike(known):
        rows = known[:, columns[0]]
        if rows.any():
            _learn(lengths, columns, vectors[rows], tokens[rows][:, columns], weights[rows], folds[rows])
    return lengths


def learn_prompt_lines(measures: Float32s, tokens: Float32s) -> Float32s:
    """Prompt tokens of an empty question, for each byte and for each sign, [3, e], none negative.

    Args:
        measures: [n, 2], by `heads.measure`.
        tokens: [n, e], NaN where not recorded.
    """
    return np.array([_plane(measures, column) for column in borrowed(tokens).T], np.float32).T


def learn_latency_lines(tokens: Float32s, latency_ms: Float32s) -> Float32s:
    """Milliseconds by completion tokens, [2, e]: for none, and for each; both [n, e], NaN where unknown."""
    lines = [_line(x, y) for x, y in zip(borrowed(tokens).T, latency_ms.T, strict=True)]
    return np.array([line or (np.nan, np.nan) for line in lines], np.float32).T


def borrowed(tokens: Float32s) -> Float32s:
    """The same table, with each question's mean in the columns [n] of experts of which nothing is recorded."""
    known = np.isfinite(tokens)
    counts = known.sum(axis=1)
    means = np.where(counts > 0, np.where(known, tokens, 0).sum(axis=1) / np.maximum(counts, 1), np.nan)
    return np.where(known.any(axis=0), tokens, means[:, None]).astype(np.float32)


def _alike(known: npt.NDArray[np.bool_]) -> list[list[int]]:
    """Columns [n, e] with the same rows known, together: one regression fits them all."""
    groups: dict[bytes, list[int]] = {}
    for column in range(known.shape[1]):
        groups.setdefault(known[:, column].tobytes(), []).append(column)
    return list(groups.values())


def _learn(
    into: Lengths, columns: list[int], vectors: Float32s, tokens: Float32s, weights: Float32s, folds: Ints
) -> None:
    """Fit the heads of `columns`, all tokens [n, columns] known."""
    logs = np.log(np.maximum(tokens, 1))
    both = np.concatenate([tokens, logs], axis=1)
    low, high = tokens.min(axis=0), tokens.max(axis=0)
    choices = []  # of each penalty: error and scale [2, columns], first of the tokens, then of their logarithms
    for penalty in _PENALTIES:
        held_out = np.empty_like(both)
        for fold in np.unique(folds):
            out = folds == fold
            coefficients, offsets = _ridge(vectors[~out], both[~out], weights[~out], penalty)
            held_out[out] = vectors[out] @ coefficients + offsets
        linear, log = np.split(held_out, 2, axis=1)
        guesses = [np.clip(guess, low, high) for guess in (linear, np.exp(np.minimum(log, 30)))]
        scales = [_ratio(weights @ tokens, weights @ guess) for guess in guesses]
        errors = [weights @ np.square(guess * scale - tokens) for guess, scale in zip(guesses, scales, strict=True)]
        choices.append((np.stack(errors), np.stack(scales)))
    errors_, scales_ = (np.stack(part) for part in zip(*choices, strict=True))  # [penalties, 2, columns]
    best = errors_.reshape(-1, len(columns)).argmin(axis=0)
    for choice in np.unique(best):
        penalty, form = divmod(int(choice), 2)
        coefficients, offsets = _ridge(vectors, both, weights, _PENALTIES[penalty])
        for k in np.flatnonzero(best == choice):
            j, source = columns[k], k + form * len(columns)
            into.weight[:, j], into.bias[j] = coefficients[:, source], offsets[source]
            into.log[j], into.scale[j] = form, scales_[penalty, form, k]
            into.low[j], into.high[j] = low[k], high[k]


def _ridge(vectors: Float32s, targets: Float32s, weights: Float32s, penalty: float) -> tuple[Float32s, Float32s]:
    """Coefficients [d, t] and offsets [t] for targets [n, t]; zeros when there is nothing to learn from."""
    from sklearn.linear_model import Ridge

    if not len(vectors):
        return np.zeros((vectors.shape[1], targets.shape[1]), np.float32), np.zeros(targets.shape[1], np.float32)
    fitted = Ridge(alpha=penalty).fit(vectors, targets, sample_weight=weights)
    return fitted.coef_.T, fitted.intercept_


def _ratio(whole: Floats, guessed: Floats) -> Floats:
    return np.where(guessed > 0, whole / np.where(guessed > 0, guessed, 1), 1)


def _plane(measures: Float32s, tokens: Float32s) -> tuple[float, ...]:
    from scipy.optimize import nnls

    known = np.isfinite(tokens)
    if not known.any():
        return 0.0, _TOKENS_PER_BYTE, 0.0
    terms = np.concatenate([np.ones((known.sum(), 1)), measures[known]], axis=1, dtype=np.float64)
    if len(terms) < _FEW:
        return 0.0, float(tokens[known].sum() / max(terms[:, 1].sum(), 1)), 0.0
    return tuple(nnls(terms, tokens[known].astype(np.float64))[0])


def _line(x: Floats, y: Floats) -> tuple[float, float] | None:
    """Offset and slope of y by x, neither negative, from the points where both are known; None without any."""
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
