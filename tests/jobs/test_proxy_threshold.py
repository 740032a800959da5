"""The threshold keeps its promise, and a check that fails takes labels back; on simulated texts and experts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest

from leeroo.engine.arrays import Int64s
from leeroo.engine.jobs.proxy.fitting import ProxyTask
from leeroo.engine.jobs.proxy.learning import ProxyLabels, learn
from leeroo.engine.jobs.proxy.threshold import accept, exact_interval, widest_gap


@pytest.mark.parametrize(("errors", "n"), [(0, 100), (3, 100), (50, 400), (100, 100)])
def test_intervals_are_exact(errors: int, n: int) -> None:
    """The interval of a rate is that of Clopper and Pearson."""
    wanted = binomtest(errors, n).proportion_ci(method="exact")
    assert exact_interval(errors, n) == pytest.approx((wanted.low, wanted.high))


def test_the_promise_is_kept() -> None:
    """In at least three of four samples the true error of what is accepted is at most what was promised."""
    kept, accepted = 0, []
    for draw in range(200):
        random = np.random.default_rng(draw)
        confidence = random.random(400)
        wanted = random.integers(0, 2, 400)
        given = np.where(random.random(400) < (1 - confidence) / 5, 1 - wanted, wanted)
        count = accept(confidence, given, wanted, 0.03)
        least = np.sort(confidence)[::-1][count - 1] if count else 1.0
        kept += (1 - least) / 10 <= 0.03  # the mean error of texts above it
        accepted.append(count)
    assert kept >= 150
    assert np.mean(accepted) > 50


def test_a_rare_label_is_not_swallowed() -> None:
    """Where every row gets the frequent label, nothing is accepted though few rows are wrong."""
    wanted = np.repeat([0, 1], [490, 10])
    confidence = np.linspace(1, 0.9, 500)
    assert 480 < accept(confidence, np.zeros(500, np.int64), wanted, 0.05) < 495
    shuffled = np.random.default_rng(0).permutation(500)
    assert accept(confidence, np.zeros(500, np.int64), wanted[shuffled], 0.05) < 400


def test_a_threshold_has_no_value_near_it() -> None:
    """It lies in the middle of the widest gap nearby."""
    assert widest_gap(np.array([0.1, 0.5, 0.51, 0.7, 0.71]), 0.52, 2) == pytest.approx(0.605)


class _Simulated:
    """Experts who label texts by a rule, and slip at times; they count what they are sent."""

    usd = 100.0

    def __init__(self, labels: Int64s, slips: float = 0.0, k: int = 2) -> None:
        self.sent: list[Int64s] = []
        self.repeated = 0
        first, second = np.random.default_rng(5), np.random.default_rng(6)
        self.first, self.second = (
            np.where(random.random(len(labels)) < slips, random.integers(0, k, len(labels)), labels)
            for random in (first, second)
        )

    def ask(self, texts: Int64s, later: int, *, again: bool = False) -> Int64s:
        """Label texts."""
        if again:
            self.repeated += len(texts)
            return np.asarray(self.second[texts], np.int64)
        self.sent.append(texts)
        return np.asarray(self.first[texts], np.int64)


def _learn(experts: _Simulated, points: np.ndarray) -> ProxyLabels:
    n = len(points)
    task = ProxyTask([str(i) for i in range(n)], 2, np.full(n, -1))
    return learn(task, experts, lambda texts: points[[int(text) for text in texts]].astype(np.float32))


def test_every_text_is_labelled_once() -> None:
    """Each text is labelled by the experts or by the classifier, and none is sent twice."""
    points = np.random.default_rng(0).normal(size=(4000, 8))
    experts = _Simulated((points[:, 0] > 0).astype(np.int64))
    found = _learn(experts, points)
    sent = np.concatenate(experts.sent)
    assert len(np.unique(sent)) == len(sent)
    assert set(sent.tolist()) == set(np.flatnonzero(found.label < 0).tolist())
    own = found.label >= 0
    assert own.mean() > 0.7
    assert (found.label != experts.first)[own].mean() < 0.03


def test_a_check_that_fails_leaves_everything_to_the_experts() -> None:
    """Where the sample was luckier than the rest, the check shows it, and no label of the classifier stays."""
    points = np.random.default_rng(0).normal(size=(4000, 8))
    experts = _Simulated((points[:, 0] > 0).astype(np.int64))
    plain = experts.ask

    def ask(texts: Int64s, later: int, *, again: bool = False) -> Int64s:
        labels = plain(texts, later, again=again)
        # The check comes after the rounds: from then on the experts say something else.
        return (
            np.where(np.random.default_rng(len(texts)).random(len(texts)) < 0.4, 1 - labels, labels)
            if (len(experts.sent) > rounds)
            else labels
        )

    rounds = 10**9
    _learn(experts, points)
    rounds = len(experts.sent) - 1
    experts.sent.clear()
    experts.ask = ask  # type: ignore[method-assign]
    found = _learn(experts, points)
    assert found.findings.off is not None
    assert "checked differ" in found.findings.off
    assert (found.label < 0).all()
    assert len(np.unique(np.concatenate(experts.sent))) == 4000


def test_the_slips_of_experts_are_allowed_for() -> None:
    """Where the experts give another label to the same text at times, the classifier may differ as often."""
    points = np.random.default_rng(0).normal(size=(8000, 8))
    experts = _Simulated((points[:, 0] > 0).astype(np.int64), slips=0.1)
    found = _learn(experts, points)
    assert experts.repeated == found.findings.repeated == 200
    assert 0.03 < found.findings.promise < 0.14
    own = found.label >= 0
    assert own.mean() > 0.3
    agree, alike = (found.label == experts.second)[own].mean(), (experts.first == experts.second).mean()
    assert agree >= 0.97 * alike
