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
# Standard deviation of the level of all skills together around that of their prior.
LEVEL = 0.25
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
    answers, weights = evidence.answers, evidence.weights
    n, k = len(answers), int(max(answers.max(initial=-1), evidence.gold.max(initial=-1))) + 1
    if n == 0:
        return Posterior(np.zeros((0, k + 1)), np.zeros((0, len(U))), np.zeros(0), np.zeros((0, k + 1)))
    base = np.repeat(LOG_U[None], n, axis=0)  # [n, g]
    counts, skills = np.zeros((n, k + 1)), np.zeros((n, k + 1))
    for j in np.flatnonzero(weights.any(axis=0)):
        rows = np.flatnonzero(weights[:, j])
        weight, skill = weights[rows, j], theta[j] + evidence.offset[rows, j]
        base[rows] += weight[:, None] * -np.logaddexp(0.0, skill[:, None] + U)
        given = answers[rows, j] >= 0
        at = rows[given], answers[rows[given], j]
        counts[at] += weight[given]
        skills[at] += (weight * skill)[given]
    joint = base[:, None, :] + skills[:, :, None] + counts[:, :, None] * U  # [n, k + 1, g]
    joint += (_log_prior(counts, evidence) + _log_wrong(counts, evidence.options))[:, :, None]
    highest = joint.max(axis=(1, 2))
    joint = np.exp(joint - highest[:, None, None])
    sums = joint.sum(axis=(1, 2))
    joint, total = joint / sums[:, None, None], highest + np.log(sums)
    return Posterior(joint.sum(axis=2), joint.sum(axis=1), total, counts)


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


def fit(evidence: Evidence, prior: Float64s, sd: Float64s, start: Float64s | None = None) -> Float64s:
    """Return the most probable skills [e], by expectation maximisation.

    Args:
        evidence: Answers [n, e].
        prior: [e], the skills expected beforehand; their level is known less well than their differences.
        sd: [e], standard deviations of the skills around it.
        start: [e], skills to begin with.

    """
    mean, theta = prior, np.array(prior if start is None else start, float)
    weights = evidence.weights
    for _ in range(_ITERATIONS):
        post, before = posterior(evidence, theta), theta.copy()
        expected = (weights * right(evidence, post)).sum(axis=0)
        for _ in range(3):  # Newton's method
            p = expit((theta + evidence.offset)[:, :, None] + U)  # [n, e, g]
            slope = (theta - mean) / sd**2 + (weights * np.einsum("neg,ng->ne", p, post.difficulty)).sum(axis=0)
            curve = 1 / sd**2 + (weights * np.einsum("neg,ng->ne", p * (1 - p), post.difficulty)).sum(axis=0)
            theta += np.clip((expected - slope) / curve, -1, 1)
        level = ((theta - prior) / sd**2).sum() / ((1 / sd**2).sum() + 1 / LEVEL**2)
        mean = prior + level
        if np.abs(theta - before).max() < _CLOSE:
            break
    return theta


def rates(theta: Float64s) -> Float64s:
    """Return the share of questions that an expert of each skill answers rightly, for skills of any shape."""
    shares: Float64s = expit(theta[..., None] + U) @ np.exp(LOG_U)
    return shares
