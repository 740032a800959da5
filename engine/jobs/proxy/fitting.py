"""Fitting: a classifier learns from all labels so far, and its threshold is chosen on the random sample.

Knows nothing of experts and of what is labelled next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from leeroo.engine.arrays import Bools, Float32s, Float64s, Int64s
from leeroo.engine.jobs.proxy.classifier import FOLDS, cross_fit, fit
from leeroo.engine.jobs.proxy.threshold import accept, widest_gap
from leeroo.engine.orchestrator.training.calibration import fit_platt

# Gold labels beyond this many teach little more.
_GOLD_MOST = 2000
# The threshold is moved into the widest gap between the confidences of this part of the texts, on each side.
_NEAR = 1 / 400
# Groups of texts of similar confidence: how many of each are still to be labelled is counted.
_GROUPS = 20
# Texts that are predicted at a time: the vectors of a million do not fit into memory a second time.
_AT_ONCE = 16_384

Encode = Callable[[Sequence[str]], Float32s]


@dataclass(frozen=True)
class ProxyTask:
    """Texts to be labelled.

    Attributes:
        texts: All different [n].
        labels: The number of labels.
        gold: [n], the number of the label that people gave, -1 without one.
        always: Learn also where the experts cost next to nothing.
    """

    texts: Sequence[str]
    labels: int
    gold: Int64s
    always: bool = False


class Known(NamedTuple):
    """What is known of the texts.

    Attributes:
        label: [n], by experts, -1 without one.
        asked: [n], texts that were sent to experts.
        sample: Texts on which the threshold is chosen.
    """

    label: Int64s
    asked: Bools
    sample: Int64s


class Fitted(NamedTuple):
    """The predictions of a classifier.

    Attributes:
        label: [n], -1 where nothing was predicted.
        confidence: [n], not calibrated.
        sure: [n], texts that were not sent to experts and that it would label.
        share: The part of the sample above the threshold.
        hoped: The same, if the sample were larger.
        threshold: Of the confidence.
        line: Slope and offset of the calibration.
        differing: Of the sample above the threshold, how many differ from the experts, and how many there are, each
            counted by the part of its kind that is still to be labelled.
    """

    label: Int64s
    confidence: Float64s
    sure: Bools
    share: float = 0.0
    hoped: float = 0.0
    threshold: float = 1.0
    line: tuple[float, float] = (1.0, 0.0)
    differing: tuple[float, float] = (0.0, 0.0)

    def calibrated(self) -> Float64s:
        """Return the probability that an expert would give the same label, for texts of which it is sure."""
        return 1 / (1 + np.exp(-(self.line[0] * _log_odds(self.confidence[self.sure]) + self.line[1])))


class Fitting:
    """Fits classifiers to a table's texts, whose vectors are kept.

    Args:
        task: The texts.
        order: A random order of them, which puts them into folds.
        encode: Texts to vectors [m, d].

    """

    def __init__(self, task: ProxyTask, order: Int64s, encode: Encode) -> None:
        self._task, self._order, self._encode = task, order, encode
        n = self._n = len(task.texts)
        self._place = np.empty(n, np.int64)
        self._place[order] = np.arange(n)
        self._encoded = np.zeros(n, bool)
        self._vectors: Float32s | None = None
        self._scale: tuple[Float32s, Float32s] | None = None

    def fit(self, known: Known, promise: float, growth: float, floor: float = -np.inf, most: float = 1.0) -> Fitted:
        """Learn from all labels, and choose the threshold.

        Args:
            known: The labels.
            promise: The share of the classifier's labels that may differ from the experts'.
            growth: How many times as large the sample may become.
            floor: Texts of the sample below this confidence do not count.
            most: The part of the sample above it that may be accepted.

        """
        rows, wanted = self._training(known.label)
        vectors = self._standardised(rows)
        guesses = cross_fit(vectors, wanted, self._task.labels, self._place[rows] % FOLDS)
        confidence, label = np.full(self._n, -1.0), np.full(self._n, -1, np.int64)
        confidence[rows], label[rows] = guesses.max(axis=1), guesses.argmax(axis=1)
        sample = known.sample[(known.label[known.sample] >= 0) & (confidence[known.sample] >= floor)]
        held = confidence[sample], label[sample], known.label[sample]
        if not accept(*held, promise, growth):  # so the other texts need no vectors yet
            return Fitted(label, confidence, np.zeros(self._n, bool))
        others = np.setdiff1d(np.arange(self._n), rows)
        self._encode_missing(others)
        predict = fit(vectors, wanted, self._task.labels)
        for part in (others[i : i + _AT_ONCE] for i in range(0, len(others), _AT_ONCE)):
            predicted = predict(self._standardised(part))
            confidence[part], label[part] = predicted.max(axis=1), predicted.argmax(axis=1)
        weights = _still_open(confidence, known, held[0])
        accepted = min(accept(*held, promise, 1.0, weights), int(most * len(sample)))
        hoped = accept(*held, promise, growth, weights) / len(sample)
        if not accepted:
            return Fitted(label, confidence, np.zeros(self._n, bool), hoped=hoped)
        return _accepted(Fitted(label, confidence, known.asked, hoped=hoped), known, held, accepted, weights)

    def _training(self, labels: Int64s) -> tuple[Int64s, Int64s]:
        """Return the texts to learn from [m], and their labels [m]: gold ones where there are any."""
        gold = self._order[self._task.gold[self._order] >= 0][:_GOLD_MOST]
        wanted = labels.copy()
        wanted[gold] = self._task.gold[gold]
        rows = np.flatnonzero(wanted >= 0)
        return rows, wanted[rows]

    def _standardised(self, texts: Int64s) -> Float32s:
        """Return the vectors of texts [m, d], with mean 0 and deviation 1 over those that were needed first."""
        self._encode_missing(texts)
        assert self._vectors is not None
        if self._scale is None:
            first = self._vectors[texts]
            self._scale = first.mean(axis=0), first.std(axis=0) + 1e-9
        mean, deviation = self._scale
        return (self._vectors[texts] - mean) / deviation

    def _encode_missing(self, texts: Int64s) -> None:
        """Encode those of some texts that have no vector yet, all at once."""
        missing = texts[~self._encoded[texts]]
        if not len(missing):
            return
        found = self._encode([self._task.texts[int(i)] for i in missing])
        if self._vectors is None:
            self._vectors = np.zeros((self._n, found.shape[1]), np.float32)
        self._vectors[missing] = found
        self._encoded[missing] = True


def _accepted(
    fitted: Fitted, known: Known, held: tuple[Float64s, Int64s, Int64s], accepted: int, weights: Float64s
) -> Fitted:
    """Return the predictions with the threshold below the last accepted text of the sample."""
    order = np.argsort(-held[0], kind="stable")
    ordered, wrong = held[0][order], (held[1] != held[2])[order]
    all_of_it = accepted == len(ordered)
    at = np.nextafter(ordered[-1], 0) if all_of_it else (ordered[accepted - 1] + ordered[accepted]) / 2
    near = max(2, int(_NEAR * len(known.asked)))
    # Computers that round otherwise divide the texts alike.
    threshold = widest_gap(fitted.confidence[~known.asked], float(at), near)
    return fitted._replace(
        sure=~known.asked & (fitted.confidence > threshold),
        share=accepted / len(ordered),
        threshold=threshold,
        line=_calibration(ordered, ~wrong),
        differing=(float(weights[order][:accepted] @ wrong[:accepted]), float(weights[order][:accepted].sum())),
    )


def _still_open(confidence: Float64s, known: Known, held: Float64s) -> Float64s:
    """Return for each text of the sample [m] the part of the texts of similar confidence that is still to be labelled.

    Unsure texts were sent to experts, so the classifier will label fewer of their kind than the sample has.
    """
    others = np.ones(len(confidence), bool)
    others[known.sample] = False
    edges = np.quantile(confidence[others], np.linspace(0, 1, _GROUPS + 1)[1:-1]) if others.any() else np.empty(0)
    group = np.searchsorted(edges, confidence)
    count = np.bincount(group[others], minlength=_GROUPS)
    left = np.bincount(group[others & ~known.asked], minlength=_GROUPS)
    return ((left + 1) / (count + 1))[np.searchsorted(edges, held)]


def _calibration(confidence: Float64s, right: Bools) -> tuple[float, float]:
    """Return slope and offset of the calibrated log-odds, from rows that were not learned from."""
    if right.all() or not right.any():
        return 1.0, 0.0
    return fit_platt(_log_odds(confidence), right.astype(np.float64), np.ones(len(right)))


def _log_odds(confidence: Float64s) -> Float64s:
    kept = np.clip(confidence, 1e-6, 1 - 1e-6)
    return np.log(kept / (1 - kept))
