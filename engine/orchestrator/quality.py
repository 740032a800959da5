"""Quality: learning, from text vectors, each expert's probability of success.

One regularised logistic head for each expert, drawn towards one that all share: what makes a question hard for one
expert mostly makes it hard for all, and a choice stands on their differences, which would drown in noise if every
head were learned alone. (On MMLU with eight open experts the best predicted expert was right on 66.0 % of held-out
questions with separate heads, 66.8 % with shared ones, at the same log loss.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from leeroo.engine.orchestrator.calibration import calibration_error, log_loss, platt
from leeroo.engine.orchestrator.heads import Float32s, sigmoid
from leeroo.engine.orchestrator.summary import ExpertSummary

Ints = npt.NDArray[np.int64]

# How freely the shared weights, and each expert's departure from them, may grow: variances of a Gaussian prior
# on weights for vectors of unit length.
_FREEDOMS = [(shared, own) for shared in (0.1, 0.3, 1.0, 3.0) for own in (0.01, 0.03, 0.1, 0.3)]
# With fewer questions than this a head learns noise; an expert then has one rate for all questions.
_FEW = 20
# Keeps the offset finite where all scores of a fold are equal; too weak to matter elsewhere.
_OFFSET_PENALTY = 1e-3
_STEPS = 150
# Multiplications in a step, below which threads wait for each other longer than they work; on a busy machine much
# longer (33 s against 3 s for a fold of MMLU's 2,000 questions and 9 experts).
_WORTH_THREADS = 1 << 28
# Steps end when no derivative of the mean loss is greater; that moves no probability by a thousandth.
_FLAT = 1e-5


@dataclass(frozen=True)
class Lessons:
    """Texts to learn from; a question may stand here as several texts that share its weight of 1.

    Attributes:
        vectors: [n, d], of unit length.
        scores: [n, e], 0 where not recorded.
        weights: [n, e], 0 where not recorded.
        folds: [n], from 0; texts of one question are in the same.
    """

    vectors: Float32s
    scores: Float32s
    weights: Float32s
    folds: Ints

    def where(self, rows: npt.NDArray[np.bool_]) -> Lessons:
        """Some of the texts."""
        return Lessons(self.vectors[rows], self.scores[rows], self.weights[rows], self.folds[rows])


@dataclass(frozen=True)
class Quality:
    """Calibrated log-odds of success, `vectors @ weight + bias`, and how good they are, expert by expert."""

    weight: Float32s
    bias: Float32s
    summaries: list[ExpertSummary]


def learn_quality(lessons: Lessons, on_progress: Callable[[str], None]) -> Quality:
    """Fit the heads.

    How freely they may grow is what gives the least cross-validated log loss, and the logits of that
    cross-validation also fix each expert's calibration. Where a head does not beat the expert's mean score,
    where there are fewer than twenty questions, or where all scores are 0 or all are 1, the mean is
    predicted for all, shrunk towards 1/2 as by one success and one failure more (Laplace's rule).
    """
    freedom, logits, rates = _cross_validate(lessons, on_progress)
    weight, bias = _fit(lessons, freedom)
    mean_bias = _rate_logits(lessons)
    summaries = []
    for j in range(len(bias)):
        slope, offset, summary = _calibrate(lessons, j, logits[:, j], rates[:, j])
        weight[:, j] *= slope
        bias[j] = bias[j] * slope + offset if summary.learned else mean_bias[j]
        summaries.append(summary)
    return Quality(weight, bias, summaries)


def _cross_validate(
    lessons: Lessons, on_progress: Callable[[str], None]
) -> tuple[tuple[float, float], Float32s, Float32s]:
    """The best freedom, and logits [n, e] by heads, and by mere rates, that have not seen a text's fold."""
    logits = np.empty((len(_FREEDOMS), *lessons.scores.shape), np.float32)
    rates = np.empty_like(lessons.scores)
    folds = int(lessons.folds.max()) + 1
    for fold in range(folds):
        out = lessons.folds == fold
        seen = lessons.where(~out)
        rates[out] = _rate_logits(seen)
        for i, freedom in enumerate(_FREEDOMS):
            weight, bias = _fit(seen, freedom)
            logits[i, out] = lessons.vectors[out] @ weight + bias
        on_progress(f"learning quality: fold {fold + 1} of {folds}")
    # Every expert counts alike, however many of the questions it has seen.
    weights = lessons.weights / np.maximum(lessons.weights.sum(axis=0), 1e-9)
    losses = [log_loss(sigmoid(logits[i]), lessons.scores, weights) for i in range(len(_FREEDOMS))]
    best = int(np.argmin(losses))
    return _FREEDOMS[best], logits[best], rates


def _calibrate(lessons: Lessons, expert: int, logits: Float32s, rates: Float32s) -> tuple[float, float, ExpertSummary]:
    """Slope, offset and account of one expert's held-out logits [n]; slope 0 where its rate does as well."""
    rows = lessons.weights[:, expert] > 0
    scores, weights = lessons.scores[rows, expert], lessons.weights[rows, expert]
    rate_loss = log_loss(sigmoid(rates[rows]), scores, weights)
    slope, offset, predicted = 0.0, 0.0, sigmoid(rates[rows])
    if weights.sum() >= _FEW and scores.max() > 0 and scores.min() < 1:
        a, b = platt(logits[rows], scores, weights)
        calibrated = sigmoid(a * logits[rows] + b)
        if a > 0 and log_loss(calibrated, scores, weights) < rate_loss:
            slope, offset, predicted = a, b, calibrated
    summary = ExpertSummary(
        outcomes=round(float(weights.sum())),
        mean_score=float(np.average(scores, weights=weights)),
        log_loss=log_loss(predicted, scores, weights),
        rate_log_loss=rate_loss,
        ece=calibration_error(predicted, scores, weights),
        learned=slope > 0,
    )
    return slope, offset, summary


def _rate_logits(lessons: Lessons) -> Float32s:
    """Log-odds of each expert's mean score [e], shrunk by Laplace's rule."""
    won = (lessons.scores * lessons.weights).sum(axis=0, dtype=np.float64)
    lost = ((1 - lessons.scores) * lessons.weights).sum(axis=0, dtype=np.float64)
    odds: Float32s = ((won + 1) / (lost + 1)).astype(np.float32)
    return np.log(odds)


def _fit(lessons: Lessons, freedom: tuple[float, float]) -> tuple[Float32s, Float32s]:
    """Weights [d, e] and offsets [e] of all heads, by L-BFGS on the sum of their mean losses.

    All in one go, because a step for thirty experts costs little more than a step for one.
    """
    import torch

    vectors, scores, weights = map(torch.from_numpy, (lessons.vectors, lessons.scores, lessons.weights))
    d, e = vectors.shape[1], scores.shape[1]
    shared, own = torch.zeros((d, 1), requires_grad=True), torch.zeros((d, e), requires_grad=True)
    bias = torch.tensor(_rate_logits(lessons), requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [shared, own, bias],
        max_iter=_STEPS,
        tolerance_grad=_FLAT,
        tolerance_change=1e-8,  # less than float32 can tell of a loss
        history_size=10,
        line_search_fn="strong_wolfe",
    )

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        misfit = torch.nn.functional.binary_cross_entropy_with_logits(
            torch.addmm(bias, vectors, shared + own), scores, weight=weights, reduction="sum"
        )
        penalty = e * shared.square().sum() / freedom[0] + own.square().sum() / freedom[1]
        total: torch.Tensor = (misfit + (penalty + _OFFSET_PENALTY * bias.square().sum()) / 2) / len(vectors)
        total.backward()  # type: ignore[no-untyped-call]
        return total

    with _threads(worth=vectors.numel() * e >= _WORTH_THREADS):
        optimiser.step(loss)  # type: ignore[no-untyped-call]
    return (shared + own).detach().numpy(), bias.detach().numpy()


@contextmanager
def _threads(worth: bool) -> Iterator[None]:
    """All of torch's threads where they are worth it, else one."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(before if worth else 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
