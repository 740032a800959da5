"""Add a fine-tuned model to a router: stack both, with shares that reflect how well each predicts.

The model learns from four questions in five. On the others, which it has not seen, and with the router's own held-out
log-odds, a logistic regression for each expert fits the shares (stacking: Wolpert 1992).
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from leeroo.engine.arrays import Bools, Float32s, Int64s
from leeroo.engine.listeners import LineListener
from leeroo.engine.orchestrator.encoders.encode import encode
from leeroo.engine.orchestrator.router import PROBE, Router
from leeroo.engine.orchestrator.statistics import log_loss, sigmoid
from leeroo.engine.orchestrator.training.finetune import Tuned, finetune, hold_out

# With fewer unseen outcomes than this an expert keeps the heads that it had.
_FEW = 50


def stack(
    router: Router,
    encoder: str,
    texts: list[str],
    scores: Float32s,
    groups: Int64s,
    held_out: tuple[Float32s, Float32s],
    seed: int,
    say: LineListener,
) -> Router:
    """Fine-tune a causal language model on a router's training data, and append its states to the router's features.

    Args:
        router: Without an adapter.
        encoder: The model, a hub id or a folder.
        texts, scores, groups: [n], [n, e] and [n], the router's training data.
        held_out: [n, e] each, the router's held-out log-odds without and with contexts.
        seed: Random seed of the questions that are held out, and of the model's training.
        say: Called with progress, in lines for people.

    Raises:
        RouterError, PoolError: as `finetune`.
    """
    unseen = hold_out(groups, seed)
    home = Path(tempfile.mkdtemp(prefix="leeroo-"))
    # The router's folder gets a copy when it is saved.
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    say(f"fine-tuning {encoder} on {(~unseen).sum():,} of {len(texts):,} texts")
    seen_texts = [text for text, held_out_text in zip(texts, unseen, strict=True) if not held_out_text]
    tuned = finetune(encoder, seen_texts, scores[~unseen], home / "adapter", seed, say)
    states = encode(
        [text for text, held_out_text in zip(texts, unseen, strict=True) if held_out_text], tuned.adapter.encoder
    )
    log_odds = states @ tuned.weight + tuned.bias
    own, in_context = (_shares(part[unseen], log_odds, scores[unseen]) for part in held_out)
    without, with_it = _losses(held_out[0][unseen], log_odds, scores[unseen], groups[unseen] % 2 == 0)
    say(f"on {unseen.sum():,} texts that it has not seen: log loss {with_it:.4f} with it, {without:.4f} without")
    heads = router.heads
    score_weight, score_bias = _append_states(heads.score_weight, heads.score_bias, tuned, own)
    context_weight, context_bias = heads.context_weight, heads.context_bias
    if router.contexts:
        context_weight, context_bias = _append_states(context_weight, context_bias, tuned, in_context)
    return replace(
        router,
        adapter=tuned.adapter,
        probe=np.concatenate([router.probe, encode([PROBE], tuned.adapter.encoder)[0]]),
        heads=replace(
            heads,
            score_weight=score_weight,
            score_bias=score_bias,
            context_weight=context_weight,
            context_bias=context_bias,
        ),
    )


def _shares(own: Float32s, tuned: Float32s, scores: Float32s) -> Float32s:
    """Fit the factors of the router's own and the model's log-odds [n, e], and an offset: [3, e]."""
    from sklearn.linear_model import LogisticRegression

    shares = _alone(scores)
    for j in range(scores.shape[1]):
        rows = np.isfinite(scores[:, j])
        recorded = scores[rows, j]
        if rows.sum() < _FEW or recorded.max() == 0 or recorded.min() == 1:
            continue
        both = np.stack([own[rows, j], tuned[rows, j]], axis=1)
        # A fractional score is a success and a failure that each count in part.
        fitted = LogisticRegression(C=10.0).fit(
            np.concatenate([both, both]), np.repeat([1, 0], len(both)), np.concatenate([recorded, 1 - recorded])
        )
        if fitted.coef_[0, 1] > 0:
            shares[:, j] = [*fitted.coef_[0], fitted.intercept_[0]]
    return shares


def _alone(scores: Float32s) -> Float32s:
    return np.repeat(np.array([[1], [0], [0]], np.float32), scores.shape[1], axis=1)


def _losses(own: Float32s, tuned: Float32s, scores: Float32s, half: Bools) -> tuple[float, float]:
    """Return the loss of the router alone, and of both with shares learned from the other half of the rows [n]."""
    both = own.copy()
    for learned in (half, ~half):
        shares = _shares(own[learned], tuned[learned], scores[learned])
        both[~learned] = own[~learned] * shares[0] + tuned[~learned] * shares[1] + shares[2]
    known = np.isfinite(scores)
    ones = np.ones(known.sum())
    without, with_it = (log_loss(sigmoid(log_odds[known]), scores[known], ones) for log_odds in (own, both))
    return without, with_it


def _append_states(weight: Float32s, bias: Float32s, tuned: Tuned, shares: Float32s) -> tuple[Float32s, Float32s]:
    both = np.concatenate([weight * shares[0], tuned.weight * shares[1]])
    return both.astype(np.float32), (bias * shares[0] + tuned.bias * shares[1] + shares[2]).astype(np.float32)
