"""Truth inference: how good experts are, and which answer is right, from their answers alone.

After Dawid and Skene, "Maximum Likelihood Estimation of Observer Error-Rates Using the EM Algorithm" (Applied
Statistics, 1979). Questions differ in difficulty (Rasch, "Probabilistic Models for Some Intelligence and Attainment
Tests", 1960), and wrong experts like the same wrong answer. Expert j answers question q rightly with probability
sigmoid(theta_j + offset_qj + u_q), where u_q ~ N(0, SPREAD^2). A wrong answer is the question's popular wrong one with
probability c, else any other one. Skills have a prior, and a known right answer is kept.

The sums over the right answer, the popular wrong one, c and u have a closed form but for a grid of u and one of c.
Knows nothing of money and of experts' names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from leeroo.engine.arrays import Bools, Float64s, Int64s

# No answer was bought yet; and one was, but nothing in it can be right.
NONE, EMPTY = -1, -2
# Standard deviation of the difficulty in logits, with a grid for it and its weights.
SPREAD = 1.6
_NODES, _NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(11)
U, LOG_U = SPREAD * _NODES, np.log(_NODE_WEIGHTS / _NODE_WEIGHTS.sum())
# How often a wrong answer is the popular wrong one; it differs between questions.
C = np.array([0.1, 0.4, 0.7])
# Errors of experts depend on each other beyond that: m answers to a question count m^(1 - this) times.
_SHARED = 0.05
# Experts of one family err alike: m of them count m^(1 - this) times.
_FAMILY = 0.3
_ITERATIONS, _CLOSE = 60, 1e-3


@dataclass(frozen=True)
class Evidence:
    """Answers of e experts to n questions.

    Attributes:
        answers: [n, e], a small number from 0 for each different answer to a question; or NONE, or EMPTY.
        options: [n], how many different answers the question may have.
        gold: [n], the right answer where it is known, else NONE; EMPTY where no expert gave it.
        offset: [n, e], how much better than usual an expert is on a question, in logits; known beforehand.
        family: [e], a number for each family of experts.
    """

    answers: Int64s
    options: Int64s
    gold: Int64s
    offset: Float64s
    family: Int64s

    def take(self, rows: Int64s | Bools) -> Evidence:
        """Return some of the questions."""
        return replace(
            self,
            answers=self.answers[rows],
            options=self.options[rows],
            gold=self.gold[rows],
            offset=self.offset[rows],
        )

    def only(self, experts: Int64s) -> Evidence:
        """Return the answers of some experts."""
        return replace(
            self,
            answers=self.answers[:, experts],
            offset=self.offset[:, experts],
            family=self.family[experts],
        )

    @property
    def bought(self) -> Bools:
        """True where there is an answer, [n, e]."""
        bought: Bools = self.answers != NONE
        return bought

    @property
    def weights(self) -> Float64s:
        """How much each answer counts, [n, e]; 0 where there is none."""
        bought = self.bought
        m = np.maximum(bought.sum(axis=1, keepdims=True), 1)
        same = np.equal.outer(self.family, self.family)  # [e, e]
        relatives = np.maximum(bought @ same.astype(float), 1)
        return np.where(bought, m**-_SHARED * relatives**-_FAMILY, 0.0)


@dataclass(frozen=True)
class Prior:
    """What is known beforehand of e experts.

    Attributes:
        mean: [e], skills in logits.
        sd: [e], standard deviations of what is each expert's own.
        common: [e, k], what is unknown of several experts at once: each column counts times a standard normal number.
        least: [k], the least that these numbers can be.
        offset: [n, e], by how much an expert is better than usual on a question.
    """

    mean: Float64s
    sd: Float64s
    common: Float64s
    least: Float64s
    offset: Float64s


@dataclass(frozen=True)
class Posterior:
    """What the answers say about n questions; k is the number of different answers.

    Attributes:
        truth: [n, k + 1], the probability that each answer is right; the last column stands for those nobody gave.
        difficulty: [n, g], the probability of each value of U.
        log_evidence: [n], the log probability of the answers.
        counts: [n, k + 1], how often each answer was given, weighted.
    """

    truth: Float64s
    difficulty: Float64s
    log_evidence: Float64s
    counts: Float64s

    @property
    def best(self) -> Int64s:
        """The answer of each question that is most probably right, [n]; NONE without one."""
        given = self._of_given
        return np.where(given.max(axis=1, initial=0.0) > 0, given.argmax(axis=1), NONE)

    @property
    def sure(self) -> Float64s:
        """The probability that it is right, [n]."""
        sure: Float64s = self._of_given.max(axis=1, initial=0.0)
        return sure

    @property
    def _of_given(self) -> Float64s:
        return np.where(self.counts > 0, self.truth, 0.0)


def expit(log_odds: Float64s) -> Float64s:
    """Return 1 / (1 + exp(-log_odds)), without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(0.5 * log_odds)))


def posterior(evidence: Evidence, theta: Float64s) -> Posterior:
    """Return what follows from the answers for skills theta [e]."""
    heard = _Heard.of(evidence)
    return heard.posterior(heard.log_odds(theta))


@dataclass(frozen=True)
class _Heard:
    """Answers one by one, m of n questions and e experts, and all about them that no skill changes.

    Attributes:
        row: [m], the question of each answer, in order.
        expert: [m].
        answer: [m], its number, negative where nothing in it can be right.
        weight: [m].
        offset: [m], how much better than usual the expert is on the question.
        counts: [n, k + 1], how often each different answer was given, weighted.
        before: [n, k + 1], log probability of each right answer and of the wrong ones with it.
    """

    row: Int64s
    expert: Int64s
    answer: Int64s
    weight: Float64s
    offset: Float64s
    counts: Float64s
    before: Float64s

    @staticmethod
    def of(evidence: Evidence) -> _Heard:
        """Take the answers from a table."""
        weights = evidence.weights
        row, expert = np.nonzero(weights)
        answer, weight = evidence.answers[row, expert], weights[row, expert]
        n, k = len(weights), int(max(evidence.answers.max(initial=-1), evidence.gold.max(initial=-1))) + 1
        counts = np.zeros((n, k + 1))
        given = answer >= 0
        np.add.at(counts, (row[given], answer[given]), weight[given])
        before = _log_prior(counts, evidence) + _log_wrong(counts, evidence.options)
        return _Heard(row, expert, answer, weight, evidence.offset[row, expert], counts, before)

    def log_odds(self, theta: Float64s) -> Float64s:
        """Return the log odds that each answer is right, for each difficulty [m, g]."""
        return np.asarray((theta[self.expert] + self.offset)[:, None] + U)

    def posterior(self, log_odds: Float64s) -> Posterior:
        """Return what follows from the answers."""
        n, width = self.counts.shape
        if n == 0:
            return Posterior(self.counts, np.zeros((0, len(U))), np.zeros(0), self.counts)
        base = LOG_U - _sums(self.weight[:, None] * np.logaddexp(0.0, log_odds), self.row, n)  # [n, g]
        given = self.answer >= 0
        skill = self.weight * (log_odds[:, 0] - U[0])
        at = self.row[given] * width + self.answer[given]
        skills = np.bincount(at, skill[given], n * width).reshape(n, width)
        joint = base[:, None, :] + (skills + self.before)[:, :, None] + self.counts[:, :, None] * U  # [n, k + 1, g]
        highest = joint.max(axis=(1, 2))
        joint = np.exp(joint - highest[:, None, None])
        sums = joint.sum(axis=(1, 2))
        joint, total = joint / sums[:, None, None], highest + np.log(sums)
        return Posterior(joint.sum(axis=2), joint.sum(axis=1), total, self.counts)


def _sums(values: Float64s, rows: Int64s, n: int) -> Float64s:
    """Return the sums of values [m, g] by their rows, which are in order, [n, g]."""
    found = np.zeros((n, values.shape[1]))
    if len(rows):
        first = np.flatnonzero(np.diff(rows, prepend=-1))
        found[rows[first]] = np.add.reduceat(values, first, axis=0)
    return found


def _log_prior(counts: Float64s, evidence: Evidence) -> Float64s:
    """Return the log probability of each right answer before any is heard, [n, k + 1]."""
    seen = (counts[:, :-1] > 0).sum(axis=1)
    options = np.maximum(evidence.options, seen)
    with np.errstate(divide="ignore"):
        prior = np.where(counts > 0, -np.log(options)[:, None], -np.inf)
        prior[:, -1] = np.log((options - seen) / options)
    known = np.flatnonzero(evidence.gold != NONE)
    gold = evidence.gold[known]
    prior[known] = -np.inf
    prior[known, np.where(gold == EMPTY, counts.shape[1] - 1, gold)] = 0.0
    return prior


def _log_wrong(counts: Float64s, options: Int64s) -> Float64s:
    """Return the log probability of the wrong answers for each right one, [n, k + 1]."""
    seen = (counts[:, :-1] > 0).sum(axis=1, keepdims=True)
    wrong = np.maximum(options[:, None], seen + 1) - 1.0  # how many answers are wrong
    wrong = np.maximum(wrong, 1.0)
    unseen = np.maximum(wrong - seen + (counts > 0), 0.0)
    n_wrong = counts.sum(axis=1, keepdims=True) - counts
    terms = []
    for c in C:
        other = (1 - c) / wrong
        popular = np.where(counts > 0, (1 + c / other) ** counts, 0.0)
        popular[:, -1] = 0.0
        total = popular.sum(axis=1, keepdims=True) - popular + unseen
        terms.append(n_wrong * np.log(other) + np.log(np.maximum(total / wrong, 1e-12)))
    return np.asarray(np.logaddexp.reduce(np.stack(terms), axis=0) - np.log(len(C)))


def right(evidence: Evidence, post: Posterior) -> Float64s:
    """Return the probability that each answer is right, [n, e]; 0 where there is none."""
    found = np.take_along_axis(post.truth, np.maximum(evidence.answers, 0), axis=1)
    return np.where(evidence.answers >= 0, found, 0.0)


def fit(evidence: Evidence, prior: Prior, start: Float64s | None = None) -> Float64s:
    """Return the most probable skills [e], by expectation maximisation.

    Args:
        evidence: Answers [n, e].
        prior: What is known of skills beforehand; the evidence has the offsets.
        start: [e], skills to begin with.

    """
    e, precision = len(prior.mean), 1 / prior.sd**2
    mean, theta = prior.mean, np.array(prior.mean if start is None else start, float)
    heard = _Heard.of(evidence)
    for _ in range(_ITERATIONS):
        log_odds, before = heard.log_odds(theta), theta.copy()
        post = heard.posterior(log_odds)
        expected = np.where(heard.answer >= 0, post.truth[heard.row, np.maximum(heard.answer, 0)], 0.0)
        # One step of Newton's method each time: the truth is inferred anew before the next.
        p, difficulty = expit(log_odds), post.difficulty[heard.row]
        surprise = heard.weight * (expected - (p * difficulty).sum(axis=1))
        curve = heard.weight * (p * (1 - p) * difficulty).sum(axis=1)
        slope = np.bincount(heard.expert, surprise, e) - (theta - mean) * precision
        theta += np.clip(slope / (precision + np.bincount(heard.expert, curve, e)), -1, 1)
        mean = prior.mean + prior.common @ _shared(prior, theta - prior.mean)
        if np.abs(theta - before).max() < _CLOSE:
            break
    return theta


def _shared(prior: Prior, away: Float64s) -> Float64s:
    """Return what deviations from the prior [e] say together about what is common [k], by ridge regression."""
    found, free = prior.least.copy(), np.ones(len(prior.least), bool)
    while free.any():
        columns = prior.common[:, free]
        weighted = (columns / prior.sd[:, None] ** 2).T
        left = away - prior.common[:, ~free] @ found[~free]
        found[free] = np.linalg.solve(weighted @ columns + np.eye(columns.shape[1]), weighted @ left)
        low = free & (found < prior.least)
        if not low.any():
            break
        found[low], free = prior.least[low], free & ~low
    return found


def rates(theta: Float64s) -> Float64s:
    """Return the share of questions that an expert of each skill answers rightly, for skills of any shape."""
    shares: Float64s = expit(theta[..., None] + U) @ np.exp(LOG_U)
    return shares
