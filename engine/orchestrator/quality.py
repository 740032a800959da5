"""Quality: learning each expert's probability of success, all experts together.

Experts with outcomes on the same questions are learned at once by `principal_ridge`. Those with outcomes on fewer
questions come after those with more: what is expected of the earlier ones on a question tells most of what to expect
of the later ones, and their own features only have to explain the rest. So a new expert needs few outcomes, and the
experts learned before are not learned again. All of it stays linear in the features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from leeroo.engine.orchestrator.calibration import calibration_error, log_loss, platt
from leeroo.engine.orchestrator.heads import Float32s, sigmoid
from leeroo.engine.orchestrator.ridge import Ints, principal_ridge, spectrum
from leeroo.engine.orchestrator.summary import ExpertSummary

# With fewer outcomes than this a head learns noise; an expert then has one rate for all questions.
_FEW = 20
# A head whose held-out predictions vary less than that says nothing; magnified, they would be rounding errors.
_FLAT = 1e-3
# Penalties of what is taken over from earlier experts.
_KIN_PENALTIES = np.logspace(-2, 4, 13)


@dataclass(frozen=True)
class Quality:
    """Calibrated log-odds of success, `features @ weight + base @ kinship + bias`, and how good they are.

    Attributes:
        weight: [k, e], on features.
        kinship: [b, e], on the log-odds of b experts learned before.
        bias: [e].
        held_out: [n, e], log-odds of the rows learned from, by fits that have not seen their questions.
        summaries: Of each expert.
    """

    weight: Float32s
    kinship: Float32s
    bias: Float32s
    held_out: Float32s
    summaries: list[ExpertSummary]

    @property
    def log_loss(self) -> float:
        """Mean of the experts' cross-validated log losses."""
        return float(np.mean([summary.log_loss for summary in self.summaries]))


@dataclass(frozen=True)
class _Line:
    """Predictions on a linear scale; `held_out` [n, t] are by fits that have not seen the question's outcomes."""

    weight: Float32s
    kinship: Float32s
    bias: Float32s
    held_out: Float32s


def learn_quality(
    features: Float32s,
    scores: Float32s,
    groups: Ints,
    base: Float32s | None = None,
    counted: int | None = None,
) -> Quality:
    """Fit and calibrate heads; how freely each may grow is decided by leave-one-question-out validation.

    Where a head does not beat the expert's mean score, where there are fewer than twenty outcomes, or where all
    scores are 0 or all are 1, the mean is predicted for all questions, shrunk towards 1/2 as by one success and one
    failure more (Laplace's rule).

    Args:
        features: [n, k].
        scores: [n, e], NaN where not recorded.
        groups: [n], rows of the same question have the same number.
        base: [n, b], log-odds of success of experts learned before, if there are any.
        counted: How many of the rows, from the first on, are questions; the others are further forms of some of them,
            from which heads learn, but which count neither for calibration nor for the means. All without.
    """
    n, k = features.shape
    e = scores.shape[1]
    known, counts = np.isfinite(scores), np.arange(n) < (n if counted is None else counted)
    base = np.zeros((n, 0), np.float32) if base is None else base
    b = base.shape[1]
    weight, kinship, bias = np.zeros((k, e), np.float32), np.zeros((b, e), np.float32), np.zeros(e, np.float32)
    held_out = np.zeros((n, e), np.float32)
    summaries: dict[int, ExpertSummary] = {}
    before = [_Line(np.zeros((k, b), np.float32), np.eye(b, dtype=np.float32), np.zeros(b, np.float32), base)]
    for columns in _alike(scores, known):
        line = _learn(features, scores[:, columns], groups, before)
        before.append(line)
        for i, j in enumerate(columns):
            rows = known[:, j] & counts
            slope, offset, summaries[j] = _calibrate(line.held_out[rows, i], scores[rows, j])
            weight[:, j], kinship[:, j] = slope * line.weight[:, i], slope * line.kinship[:, i]
            bias[j] = slope * line.bias[i] + offset
            held_out[:, j] = slope * line.held_out[:, i] + offset
    for j in set(range(e)) - set(summaries):
        _, bias[j], summaries[j] = _calibrate(None, scores[known[:, j] & counts, j])
        held_out[:, j] = bias[j]
    return Quality(weight, kinship, bias, held_out, [summaries[j] for j in range(e)])


def _alike(scores: Float32s, known: npt.NDArray[np.bool_]) -> list[list[int]]:
    """Columns [n, e] known on the same rows, together, those with most rows first; those of no use left out."""
    together: dict[bytes, list[int]] = {}
    for j in range(scores.shape[1]):
        recorded = scores[known[:, j], j]
        if len(recorded) >= _FEW and recorded.max() > 0 and recorded.min() < 1:
            together.setdefault(known[:, j].tobytes(), []).append(j)
    return sorted(together.values(), key=lambda columns: -known[:, columns[0]].sum())


def _learn(features: Float32s, scores: Float32s, groups: Ints, before: list[_Line]) -> _Line:
    """Fit experts [n, t] that are known on the same rows, on what was learned before and on the features."""
    from sklearn.linear_model import RidgeCV

    rows = np.isfinite(scores[:, 0])
    k, t = features.shape[1], scores.shape[1]
    earlier = np.concatenate([line.held_out for line in before], axis=1)
    kin, bias = np.zeros((earlier.shape[1], t), np.float32), scores[rows].mean(axis=0)
    if earlier.shape[1]:
        fitted: Any = RidgeCV(_KIN_PENALTIES).fit(earlier[rows], scores[rows])
        kin = fitted.coef_.reshape(t, -1).T.astype(np.float32)
        bias = np.asarray(fitted.intercept_, np.float32).reshape(-1)
    expected = np.asarray(earlier @ kin + bias, np.float32)
    fit = principal_ridge(spectrum(features[rows], groups[rows]), scores[rows] - expected[rows])
    held_out = np.asarray(expected + features @ fit.coefficients, np.float32)
    held_out[rows] = expected[rows] + fit.held_out
    weight = np.concatenate([line.weight for line in before], axis=1) @ kin + fit.coefficients
    kinship = np.concatenate([line.kinship for line in before], axis=1) @ kin
    return _Line(weight.reshape(k, t), kinship, np.concatenate([line.bias for line in before]) @ kin + bias, held_out)


def _calibrate(held_out: Float32s | None, scores: Float32s) -> tuple[float, float, ExpertSummary]:
    """Slope, offset and account of one expert's held-out predictions [n]; slope 0 where its rate does as well."""
    ones, n = np.ones(len(scores), np.float32), len(scores)
    won = float(scores.sum(dtype=np.float64))
    rate = np.full(n, (won + 1) / (n + 2), np.float32)
    rate_loss = log_loss((won - scores + 1) / (n + 1), scores, ones)  # of the rate of all others
    slope, offset, loss, predicted = 0.0, float(np.log((won + 1) / (n - won + 1))), rate_loss, rate
    if held_out is not None and held_out.std() > _FLAT:
        a, b = platt(held_out, scores, ones)
        calibrated = sigmoid(a * held_out + b)
        if a > 0 and log_loss(calibrated, scores, ones) < rate_loss:
            slope, offset, loss, predicted = a, b, log_loss(calibrated, scores, ones), calibrated
    summary = ExpertSummary(
        outcomes=n,
        mean_score=won / n,
        log_loss=loss,
        rate_log_loss=rate_loss,
        ece=calibration_error(predicted, scores, ones),
        learned=slope > 0,
    )
    return slope, offset, summary
