"""Learning: the experts label some texts, a classifier learns from them and labels those of which it is sure.

Texts are sent in rounds. A random sample comes first. Then the classifier's threshold is chosen on that sample, and the
experts get texts of which it is unsure: they would label these anyway, and the classifier learns from them. The sample
grows while that promises to save more than it costs. At the end the experts label a random part of what the classifier
is sure of. If more labels differ there than was promised, the threshold rises, and after some such checks the experts
label everything.

All choices depend on the texts, the labels and the list prices alone, so a repeated job makes the same ones. Knows
nothing of tables and of how experts are asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from leeroo.engine.arrays import Float64s, Int64s
from leeroo.engine.jobs.proxy.findings import ProxyFindings
from leeroo.engine.jobs.proxy.fitting import Encode, Fitted, Fitting, Known, ProxyTask
from leeroo.engine.jobs.proxy.threshold import lower_limit
from leeroo.engine.money import usd

# Fewer texts than this are labelled by experts: learning and checking would take most of them.
LEAST_TEXTS = 1000
# A table whose labels cost less in USD is not worth the time of the encoder.
_LEAST_USD = 0.01
# The first random sample: texts for each label, at least and at most.
_PER_LABEL, _FIRST, _FIRST_MOST = 10, 200, 1000
# The part of all texts that the random sample may grow to, and by which factor it grows at a time.
_SAMPLE_MOST, _GROWTH = 0.25, 1.5
# A round of unsure texts: at least this number, and this part of those that are labelled.
_ROUND, _ROUND_PART = 100, 0.25
# The share of the classifier's labels that may differ from the experts' beyond the experts' own differences.
_MAY_DIFFER = 0.03
# The check: this part of what the classifier labels, the least and the most texts, and how often it is tried.
_CHECK_PART, _CHECK, _CHECK_MOST, _CHECKS = 0.015, 100, 400, 3
# It labels at least this multiple of the texts that are checked, or nothing.
_WORTH = 3
# Where the experts' own differences may matter, they label this part of the texts twice, at most this number; and where
# any of them differ, this number in all, because a rate of few cases is mostly luck.
_TWICE_PART, _TWICE, _TWICE_MOST = 0.01, 100, 200
_TWICE_FROM = 5000
# A classifier that may label this part of the sample at once needs no allowance for them.
_NEARLY_ALL = 0.9
# After a check that failed, at most this part of what was accepted is accepted again.
_RAISED = 0.9


class Experts(Protocol):
    """Those who label texts, numbered from 0."""

    @property
    def usd(self) -> float:
        """The list price of all labels so far."""
        ...

    def ask(self, texts: Int64s, later: int, *, again: bool = False) -> Int64s:
        """Label texts [m]: the number of each label, -1 where there is none; `later` more may come.

        With `again`, texts that were labelled before are labelled anew, and the first label stays.
        """
        ...


@dataclass(frozen=True)
class ProxyLabels:
    """The labels of a classifier.

    Attributes:
        label: [n], -1 where an expert labels.
        confidence: [n], the probability that an expert would give the same label.
        findings: What is known about them.
    """

    label: Int64s
    confidence: Float64s
    findings: ProxyFindings


def learn(task: ProxyTask, experts: Experts, encode: Encode) -> ProxyLabels:
    """Have all texts labelled by experts or by a classifier that learns from them.

    Args:
        task: The texts.
        experts: Label what the classifier is not sure of.
        encode: Texts to vectors [m, d]; used once there are labels.

    Raises:
        PoolError, OutputError: as `Engine.answer`.

    """
    return _Learning(task, experts, encode).run()


class _Learning:
    """The state of learning on one table."""

    def __init__(self, task: ProxyTask, experts: Experts, encode: Encode) -> None:
        self._task, self._experts = task, experts
        n = self._n = len(task.texts)
        random = np.random.default_rng(0)
        self._order, self._check_order = random.permutation(n), random.permutation(n)
        self._labels = np.full(n, -1, np.int64)
        self._asked = np.zeros(n, bool)
        self._sample = min(n, max(_FIRST, min(_FIRST_MOST, _PER_LABEL * task.labels)))
        self._promise = _MAY_DIFFER
        self._found = ProxyFindings(n)
        self._rechecked = np.empty(0, np.int64)
        self._fitting = Fitting(task, self._order, encode)

    def run(self) -> ProxyLabels:
        """Learn, label and check."""
        self._ask(self._order[: self._sample])
        off = self._why_not()
        learned = None if off else self._learn()
        if off is None and learned is None:
            off = f"it was not sure enough of enough texts to differ in at most {self._promise:.1%} of them"
        if learned is not None:
            learned = self._check(learned)
            if learned is None:
                off = f"{self._found.differing:,} of {self._found.checked:,} labels that were checked differ"
        label, confidence = np.full(self._n, -1, np.int64), np.full(self._n, np.nan)
        if learned is not None:
            own = learned.sure
            label[own], confidence[own] = learned.label[own], learned.calibrated()
        self._ask(np.flatnonzero((label < 0) & ~self._asked))
        counts = {"labelled": int((label >= 0).sum()), "asked": int(self._asked.sum()), "sample": self._sample}
        return ProxyLabels(label, confidence, replace(self._found, off=off, promise=self._promise, **counts))

    def _ask(self, texts: Int64s) -> None:
        """Have the experts label texts that they have not labelled."""
        texts = np.sort(texts[~self._asked[texts]])
        if len(texts):
            self._asked[texts] = True
            self._labels[texts] = self._experts.ask(texts, int((~self._asked).sum()))

    def _why_not(self) -> str | None:
        """Say why learning is not worth a try after the first texts; None if it is."""
        labels = self._labels[self._asked]
        if not (labels >= 0).any():
            return "the experts labelled none of the first texts"
        if len(np.unique(labels[labels >= 0])) < 2:
            return f"the experts gave the first {len(labels):,} texts the same label"
        total = self._experts.usd * self._n / len(labels)
        if total < _LEAST_USD and not self._task.always:
            return f"labels of all texts cost about {usd(total)}, which is less than {usd(_LEAST_USD)}"
        return None

    def _learn(self) -> Fitted | None:
        """Learn round by round; None where the classifier never gets sure enough."""
        self._label_twice()
        while True:
            learned = self._fit()
            texts = self._next(learned)
            if not len(texts):
                break
            self._ask(texts)
        return learned if learned.sure.sum() >= _WORTH * _CHECK else None

    def _next(self, learned: Fitted) -> Int64s:
        """Return the texts of the next round; none where no round is left that pays."""
        unsure = ~self._asked & ~learned.sure
        most = max(self._sample, int(_SAMPLE_MOST * self._n))
        grown = min(most, math.ceil(self._sample * _GROWTH))
        saved = (learned.hoped - learned.share) * int((~self._asked).sum())
        while grown > self._sample and (learned.share == 0 or saved > (grown - self._sample) * learned.share):
            self._sample, grown = grown, min(most, math.ceil(grown * _GROWTH))
            new = self._order[: self._sample]
            if not self._asked[new].all():
                return new
        size = max(_ROUND, int(_ROUND_PART * self._asked.sum()))
        return self._order[unsure[self._order]][:size] if learned.share and unsure.sum() > size else self._order[:0]

    def _fit(self, floor: float = -np.inf, most: float = 1.0) -> Fitted:
        """Learn from all labels so far, see `Fitting.fit`."""
        sample = np.union1d(self._order[: self._sample], self._rechecked)
        known = Known(self._labels, self._asked, sample)
        return self._fitting.fit(known, self._promise, _GROWTH, floor, most)

    def _label_twice(self) -> None:
        """Have some texts labelled twice, where the experts' own differences may decide if the proxy pays."""
        if self._n < _TWICE_FROM or self._fit().share >= _NEARLY_ALL:
            return
        sent = both = differ = 0
        for most in (min(_TWICE, int(_TWICE_PART * self._n)), min(_TWICE_MOST, self._sample)):
            texts = np.sort(self._order[sent:most])
            second = self._experts.ask(texts, 0, again=True)
            there = (second >= 0) & (self._labels[texts] >= 0)
            differ += int((second != self._labels[texts])[there].sum())
            both, sent = both + int(there.sum()), most
            if not differ:  # an expert that never differs needs no closer look
                break
        self._found = replace(self._found, repeated=both, repeated_alike=both - differ)
        if both:
            alike = 1 - float(lower_limit(np.array([differ]), np.array([both]))[0])
            self._promise = 1 - (1 - _MAY_DIFFER) * alike

    def _check(self, learned: Fitted) -> Fitted | None:
        """Have a random part of the classifier's labels checked; None where too many differ, again and again."""
        for _ in range(_CHECKS):
            size = int(np.clip(_CHECK_PART * learned.sure.sum(), _CHECK, _CHECK_MOST))
            drawn = self._check_order[learned.sure[self._check_order]][:size]
            given = learned.label[drawn]
            self._ask(np.flatnonzero(~self._asked & ~learned.sure))
            self._ask(drawn)
            there = self._labels[drawn] >= 0
            differing = int((given != self._labels[drawn])[there].sum())
            self._found = replace(self._found, checked=int(there.sum()), differing=differing)
            if there.any() and self._holds(learned, differing, int(there.sum())):
                return learned._replace(sure=learned.sure & ~self._asked)
            self._rechecked = np.union1d(self._rechecked, drawn)
            raised = self._fit(learned.threshold, _RAISED)
            learned = raised._replace(sure=raised.sure & learned.sure & ~self._asked)
            if learned.sure.sum() < _WORTH * _CHECK:
                return None
        return None

    def _holds(self, learned: Fitted, differing: int, checked: int) -> bool:
        """Say if a check leaves the promise standing: alone within its doubt, and with the sample in truth."""
        alone = float(lower_limit(np.array([differing]), np.array([checked]), 0.1)[0])
        before, sample = learned.differing
        return alone <= self._promise and differing + before <= self._promise * (checked + sample)
