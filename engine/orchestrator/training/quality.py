"""Learn each expert's probability of success, all experts together.

Few outcomes are learned all at once by `fit_gaussian_process`, and calibrated together. With more outcomes, experts
with outcomes on the same questions are learned at once by `principal_ridge`. Those with outcomes on fewer questions
follow those with more: the expected scores of the earlier ones say most about the later ones, and the
features only have to explain the rest.

An expert that is added to a router gets the average of the others but for its rate, until its outcomes contradict.
A few outcomes say little about single questions; to believe them would send it questions that others answer
better. So a new expert needs few outcomes, and the experts learned before are not learned again. All of it stays linear
in the features. Knows nothing of encoders and costs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from leeroo.engine.arrays import Bools, Float32s, Int64s
from leeroo.engine.orchestrator.ridge import PENALTIES, principal_ridge, ridge, spectrum
from leeroo.engine.orchestrator.statistics import calibration_error, log_loss, sigmoid
from leeroo.engine.orchestrator.summary import ExpertSummary
from leeroo.engine.orchestrator.training.calibration import fit_platt, fit_platt_to_probabilities
from leeroo.engine.orchestrator.training.differences import fit_shrinkage
from leeroo.engine.orchestrator.training.gaussian_process import fit_gaussian_process

# With fewer outcomes than this a head learns noise; an expert then has one rate for all questions.
_FEW = 20
# A head whose held-out predictions vary less than that says nothing; magnified, they would be rounding errors.
_FLAT = 1e-3
# The most outcomes that are learned together, and the most questions that they are on, unless at most half of the
# experts answered each.
_TOGETHER, _QUESTIONS = 3000, 300
# Prior standard deviation of the log-odds of experts' rates. Log-likelihood ratio by which an added expert's own head
# has to beat the average of the others.
_RATE_SPREAD, _OWN_HEAD_ODDS = 0.5, 8.0
# Penalties of the weights on earlier experts' predictions.
_TRANSFER_PENALTIES = (*np.logspace(-2, 4, 13), PENALTIES[-1])
# Standard errors by which predicted differences between experts count less than outcomes say: one for the luck of the
# outcomes, and another one where the same outcomes chose penalties and calibration for each expert.
_DOUBT_TOGETHER, _DOUBT_APART = 1.0, 2.0


@dataclass(frozen=True)
class _LinearFit:
    """Predictions on a linear scale, `features @ weight + base @ transfer + bias`.

    Attributes:
        weight: [k, e], on features.
        transfer: [b, e], on the log-odds of b experts learned before.
        bias: [e].
        held_out: [n, e], of the training rows, by fits that have not seen their questions.
    """

    weight: Float32s
    transfer: Float32s
    bias: Float32s
    held_out: Float32s


@dataclass(frozen=True)
class Quality(_LinearFit):
    """Calibrated log-odds of success, and a summary for each expert of how good they are."""

    summaries: list[ExpertSummary]

    @property
    def log_loss(self) -> float:
        """Mean of the experts' cross-validated log losses."""
        return float(np.mean([summary.log_loss for summary in self.summaries]))


def learn_quality(
    features: Float32s,
    scores: Float32s,
    groups: Int64s,
    base: Float32s | None = None,
    counted: int | None = None,
) -> Quality:
    """Fit and calibrate heads.

    Up to 3,000 outcomes are learned together, if they are on at most 300 questions or at most half of the experts
    answered each. With more, leave-one-question-out validation decides how freely each head may grow.

    An expert's mean is predicted for all questions where its head does not beat it, or with fewer than twenty outcomes.
    The same holds where twenty or more are all 0 or all 1. The mean is shrunk towards 1/2 as by one success and one
    failure more (Laplace's rule). An expert that is added to others gets its mean only with fewer than twenty outcomes.
    From then on its head is mixed in log-odds with their average, moved to its rate, by the likelihood of its outcomes.

    Args:
        features: [n, k].
        scores: [n, e], NaN where not recorded.
        groups: [n], rows of the same question have the same number.
        base: [n, b], log-odds of success of experts learned before, if there are any.
        counted: The number of rows, from the first on, that are questions; default: all. The others are further forms
            of some of them, from which heads learn, but which count neither for calibration nor for the means.
    """
    n, k = features.shape
    e = scores.shape[1]
    known, counts = np.isfinite(scores), np.arange(n) < (n if counted is None else counted)
    base = np.zeros((n, 0), np.float32) if base is None else base
    b = base.shape[1]
    if not b and _small(scores, groups):
        return _learn_together(features, scores, groups, counts)
    weight, transfer, bias = np.zeros((k, e), np.float32), np.zeros((b, e), np.float32), np.zeros(e, np.float32)
    held_out = np.zeros((n, e), np.float32)
    summaries: dict[int, ExpertSummary] = {}
    before = [_LinearFit(np.zeros((k, b), np.float32), np.eye(b, dtype=np.float32), np.zeros(b, np.float32), base)]
    for columns in _alike(scores, known):
        line = _learn(features, scores[:, columns], groups, before)
        before.append(line)
        for i, j in enumerate(columns):
            rows = known[:, j] & counts
            slope, offset, summaries[j] = _calibrate(line.held_out[rows, i], scores[rows, j])
            weight[:, j], transfer[:, j] = slope * line.weight[:, i], slope * line.transfer[:, i]
            bias[j] = slope * line.bias[i] + offset
            held_out[:, j] = slope * line.held_out[:, i] + offset
            if b:
                average = base.mean(axis=1)
                own, shift = _mixture(held_out[rows, j], average[rows], scores[rows, j])
                weight[:, j] *= own
                transfer[:, j] = own * transfer[:, j] + (1 - own) / b
                bias[j] = own * bias[j] + (1 - own) * shift
                held_out[:, j] = own * held_out[:, j] + (1 - own) * (average + shift)
                summaries[j] = _account(held_out[rows, j], scores[rows, j], slope=1.0)
    for j in set(range(e)) - set(summaries):
        _, bias[j], summaries[j] = _calibrate(None, scores[known[:, j] & counts, j])
        held_out[:, j] = bias[j]
    quality = Quality(weight, transfer, bias, held_out, [summaries[j] for j in range(e)])
    return quality if b else _shrink(quality, quality.held_out, scores, counts, _DOUBT_APART)


def _shrink(quality: Quality, log_odds: Float32s, scores: Float32s, counts: Bools, doubt: float) -> Quality:
    """Shrink the differences between experts that have a head to what their outcomes [n, e] confirm.

    In the held-out log-odds [n, e] of few questions each expert's rate should be the same for all. Without a question
    that it got right the rate is a little lower, which would look as if predictions were wrong.
    """
    learned = [j for j, summary in enumerate(quality.summaries) if summary.learned]
    if len(learned) < 2:
        return quality
    shrinkage = fit_shrinkage(log_odds[counts][:, learned], scores[counts][:, learned], doubt)
    weight, bias, held_out = (each.copy() for each in (quality.weight, quality.bias, quality.held_out))
    weight[:, learned] = weight[:, learned] @ shrinkage.turn
    for each in (bias, held_out):
        each[..., learned] = each[..., learned] @ shrinkage.turn + shrinkage.shift
    summaries = list(quality.summaries)
    for j in learned:
        rows = np.isfinite(scores[:, j]) & counts
        summaries[j] = _account(held_out[rows, j], scores[rows, j], slope=1.0)
    return replace(quality, weight=weight, bias=bias, held_out=held_out, summaries=summaries)


def _mixture(own: Float32s, average: Float32s, scores: Float32s) -> tuple[float, np.float32]:
    """Return the share of an added expert's own held-out log-odds [n]: its expected value, given its scores [n].

    The rest is the other experts' average log-odds [n], moved to the added expert's rate. The second value is that
    shift, the likeliest one under the prior on the differences of experts.
    """
    shift = np.float32(0)
    for _ in range(20):
        expected = sigmoid(average + shift)
        slope = (scores - expected).sum() - shift / _RATE_SPREAD**2
        shift += np.float32(slope / ((expected * (1 - expected)).sum() + 1 / _RATE_SPREAD**2))
    shares = np.linspace(0, 1, 21)
    mixed = shares[:, None] * own + (1 - shares)[:, None] * (average + shift)
    likely = (scores * mixed - np.logaddexp(0, mixed)).sum(axis=1) - _OWN_HEAD_ODDS * shares
    weights = np.exp(likely - likely.max())
    return float(weights @ shares / weights.sum()), shift


def _small(scores: Float32s, groups: Int64s) -> bool:
    """Return True if a table of outcomes [n, e] is so small that all experts are learned together."""
    known = np.isfinite(scores)
    recorded, answered = scores[known], known.any(axis=1)
    if not 0 < len(recorded) <= _TOGETHER or np.ptp(recorded) == 0:
        return False
    return bool(known[answered].mean() <= 1 / 2 or len(np.unique(groups[answered])) <= _QUESTIONS)


def _learn_together(features: Float32s, scores: Float32s, groups: Int64s, counts: Bools) -> Quality:
    """Fit all experts [n, e] at once, and calibrate them together: their outcomes are too few for one by one."""
    known = np.isfinite(scores)
    rows, columns = np.nonzero(known)
    fit = fit_gaussian_process(features[rows], columns, groups[rows], scores[rows, columns], scores.shape[1])
    expected = (features @ fit.weight + fit.bias).astype(np.float32)
    expected[rows] = fit.held_out
    judged = known & counts[:, None]
    slope, offset = fit_platt_to_probabilities(expected[judged], scores[judged])
    weight, bias = (slope * np.asarray(each, np.float32) for each in (fit.weight, fit.bias))
    bias += np.float32(offset)
    held_out = np.asarray(slope * expected + offset, np.float32)
    summaries = []
    for j, of in enumerate(judged.T):
        won = scores[of, j]
        summaries.append(_account(held_out[of, j], won, slope))
        if len(won) >= _FEW and (won.max() == 0 or won.min() == 1):
            weight[:, j] = 0
            _, bias[j], summaries[j] = _calibrate(None, won)
            held_out[:, j] = bias[j]
    quality = Quality(weight, np.zeros((0, len(bias)), np.float32), bias, held_out, summaries)
    of_rates = np.zeros_like(held_out)
    of_rates[rows] = slope * fit.own_rates
    return _shrink(quality, held_out + of_rates, scores, counts, _DOUBT_TOGETHER)


def _alike(scores: Float32s, known: Bools) -> list[list[int]]:
    """Group columns [n, e] known on the same rows, those with most rows first; leave out those without variation."""
    together: dict[bytes, list[int]] = {}
    for j in range(scores.shape[1]):
        recorded = scores[known[:, j], j]
        if len(recorded) >= _FEW and recorded.max() > 0 and recorded.min() < 1:
            together.setdefault(known[:, j].tobytes(), []).append(j)
    return sorted(together.values(), key=lambda columns: -known[:, columns[0]].sum())


def _learn(features: Float32s, scores: Float32s, groups: Int64s, before: list[_LinearFit]) -> _LinearFit:
    """Fit experts [n, t] that are known on the same rows, on what was learned before and on the features."""
    rows = np.isfinite(scores[:, 0])
    k, t = features.shape[1], scores.shape[1]
    earlier = np.concatenate([line.held_out for line in before], axis=1)
    on_earlier, bias = np.zeros((earlier.shape[1], t), np.float32), scores[rows].mean(axis=0)
    without_own = np.broadcast_to(bias, (int(rows.sum()), t))
    if earlier.shape[1]:
        level = earlier[rows].mean(axis=0)
        transferred = ridge(spectrum(earlier[rows] - level, groups[rows]), scores[rows] - bias, _TRANSFER_PENALTIES)
        on_earlier, without_own = transferred.coefficients, transferred.held_out + bias
        bias = bias - level @ on_earlier
    expected = np.asarray(earlier @ on_earlier + bias, np.float32)
    fit = principal_ridge(spectrum(features[rows], groups[rows]), scores[rows] - expected[rows])
    held_out = np.asarray(expected + features @ fit.coefficients, np.float32)
    held_out[rows] = without_own + fit.held_out
    weight = np.concatenate([line.weight for line in before], axis=1) @ on_earlier + fit.coefficients
    transfer = np.concatenate([line.transfer for line in before], axis=1) @ on_earlier
    bias = np.concatenate([line.bias for line in before]) @ on_earlier + bias
    return _LinearFit(weight.reshape(k, t), transfer, bias, held_out)


def _calibrate(held_out: Float32s | None, scores: Float32s) -> tuple[float, float, ExpertSummary]:
    """Return slope, offset and summary of held-out predictions [n]; slope 0 where the mean score is as good."""
    n, won = len(scores), float(scores.sum(dtype=np.float64))
    slope, offset = 0.0, float(np.log((won + 1) / (n - won + 1)))
    if held_out is not None and held_out.std() > _FLAT and 0 < won < n:
        a, b = fit_platt(held_out, scores, np.ones(n, np.float32))
        better = log_loss(sigmoid(a * held_out + b), scores, np.ones(n)) < _rate_loss(scores)
        slope, offset = (a, b) if a > 0 and better else (slope, offset)
    predicted = offset if held_out is None else slope * held_out + offset
    return slope, offset, _account(np.broadcast_to(np.float32(predicted), n), scores, slope)


def _account(log_odds: Float32s, scores: Float32s, slope: float) -> ExpertSummary:
    """Measure held-out log-odds [n] of one expert; without outcomes they are as good as a toss of a coin."""
    if not len(scores):
        even = float(np.log(2))
        return ExpertSummary(outcomes=0, mean_score=0.5, log_loss=even, rate_log_loss=even, ece=0.0, learned=slope > 0)
    ones, rate_loss = np.ones(len(scores), np.float32), _rate_loss(scores)
    return ExpertSummary(
        outcomes=len(scores),
        mean_score=float(scores.mean(dtype=np.float64)),
        log_loss=log_loss(sigmoid(log_odds), scores, ones) if slope > 0 else rate_loss,
        rate_log_loss=rate_loss,
        ece=calibration_error(sigmoid(log_odds), scores, ones),
        learned=slope > 0,
    )


def _rate_loss(scores: Float32s) -> float:
    """Return the log loss of predicting each by the mean score of all others."""
    won, n = float(scores.sum(dtype=np.float64)), len(scores)
    return log_loss((won - scores + 1) / (n + 1), scores, np.ones(n))
