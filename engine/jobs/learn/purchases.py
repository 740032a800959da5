"""Purchases: which further answer to which question is worth its money, given the answers so far.

The value of an answer is the expected probability of the best answer after it (one step of the expected value of
information, see Howard, "Information Value Theory", 1966). All questions compete for the money of a wave, in the
engine's own chooser.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from leeroo.engine.arrays import Bools, Float64s, Int64s
from leeroo.engine.jobs.learn.truth import EMPTY, NONE, Evidence, Posterior, posterior
from leeroo.engine.orchestrator.choose import choose

# An answer must raise the probability of being right by more than this.
_LEAST_GAIN = 1e-3
# Questions looked at together.
_CHUNK = 4096


def values(evidence: Evidence, theta: Float64s, experts: Int64s) -> tuple[Float64s, Float64s]:
    """Return the probability that the best answer is right: now [n], and after an answer of each expert [n, e].

    It is NaN for experts that are not among `experts`, or have answered.
    """
    kinds, kind_of = _kinds(evidence)
    now, after = np.zeros(len(kinds.answers)), np.full(kinds.answers.shape, np.nan)
    for start in range(0, len(now), _CHUNK):
        part = slice(start, start + _CHUNK)
        now[part], after[part] = _values(kinds.take(np.arange(len(now))[part]), theta, experts)
    return now[kind_of], after[kind_of]


def choose_purchases(
    evidence: Evidence, theta: Float64s, experts: Int64s, costs: Float64s, rows: Int64s, usd: float
) -> Bools:
    """Return which answers to buy next for `usd`, at most one for each question: [n, e].

    Args:
        evidence: Answers so far [n, e].
        theta: Skills [e].
        experts: Those that may be asked.
        costs: [n, e], USD of an answer; NaN where it may not be bought.
        rows: [n], how often each question is in the table.
        usd: What may be spent.

    """
    now, after = values(evidence, theta, experts)
    n, e = after.shape
    keep = now + np.where(now > 0, _LEAST_GAIN, 0.0)
    chosen = choose(
        np.column_stack([after, keep]),
        np.column_stack([np.where(np.isnan(after), np.nan, costs), np.zeros(n)]),
        rows=rows,
        budget_usd=usd,
    ).expert
    bought = np.zeros((n, e), bool)
    found = np.flatnonzero((chosen >= 0) & (chosen < e))
    bought[found, chosen[found]] = True
    return bought


def _values(evidence: Evidence, theta: Float64s, experts: Int64s) -> tuple[Float64s, Float64s]:
    post = posterior(evidence, theta)
    now = np.where(evidence.bought.any(axis=1), post.sure, 0.0)
    after = np.full(evidence.answers.shape, np.nan)
    for j in experts.tolist():
        rows = np.flatnonzero(evidence.answers[:, j] == NONE)
        if len(rows):
            after[rows, j] = np.maximum(_value_of(j, evidence.take(rows), post.log_evidence[rows], theta), now[rows])
    return now, after


def _value_of(j: int, evidence: Evidence, log_evidence: Float64s, theta: Float64s) -> Float64s:
    """Return the expected probability of the best answer after one by expert j, [n]."""
    n = len(evidence.answers)
    seen = np.maximum(evidence.answers.max(axis=1), evidence.gold).clip(NONE) + 1  # different answers known
    total, value = np.zeros(n), np.zeros(n)
    for answer in range(int(seen.max(initial=0)) + 1):
        rows = np.flatnonzero(answer <= seen)  # the last is one that nobody gave yet
        answers = evidence.answers[rows].copy()
        answers[:, j] = answer
        post: Posterior = posterior(replace(evidence.take(rows), answers=answers), theta)
        unseen = np.maximum(evidence.options[rows] - seen[rows], 1e-3)
        chance = np.exp(post.log_evidence - log_evidence[rows]) * np.where(answer == seen[rows], unseen, 1.0)
        total[rows] += chance
        value[rows] += chance * post.sure
    return np.asarray(value / np.maximum(total, 1e-300))


def _kinds(evidence: Evidence) -> tuple[Evidence, Int64s]:
    """Return the kinds of questions, of which each is alike in all that counts here, and the kind of each."""
    answers, gold = _renumber(evidence)
    if evidence.offset.any():
        return replace(evidence, answers=answers, gold=gold), np.arange(len(gold))
    alike = np.column_stack([answers, evidence.options, gold])
    _, first, kind_of = np.unique(alike, axis=0, return_index=True, return_inverse=True)
    return replace(evidence, answers=answers, gold=gold).take(first), kind_of.ravel()


def _renumber(evidence: Evidence) -> tuple[Int64s, Int64s]:
    """Return the answers numbered anew, in their order by expert, and the right ones where they are known."""
    old, new = evidence.answers, np.where(evidence.answers == EMPTY, EMPTY, NONE)
    count, gold = np.zeros(len(old), int), np.full(len(old), NONE)
    done: list[int] = []
    for j in np.flatnonzero((old >= 0).any(axis=0)).tolist():
        left = old[:, j] >= 0
        for i in done:
            same = left & (old[:, j] == old[:, i])
            new[same, j] = new[same, i]
            left &= ~same
        new[left, j] = count[left]
        count[left] += 1
        done.append(j)
        right = (old[:, j] >= 0) & (old[:, j] == evidence.gold)
        gold[right] = new[right, j]
    return new, np.where((evidence.gold != NONE) & (gold == NONE), count, gold)
