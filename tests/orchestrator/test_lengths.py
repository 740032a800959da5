"""Learning tokens and time from records whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from leeroo.engine.arrays import Float32s
from leeroo.engine.orchestrator.heads import Heads, measure
from leeroo.engine.orchestrator.training.lengths import (
    LengthHeads,
    learn_latency_lines,
    learn_lengths,
    learn_prompt_lines,
)

N = 3000


def predicted(lengths: LengthHeads, vectors: Float32s) -> Float32s:
    """Return completion tokens by the learned heads."""
    nothing, lines = np.zeros_like(lengths.weight), np.zeros((3, len(lengths.bias)), np.float32)
    return Heads(
        score_weight=nothing,
        score_bias=nothing[0],
        context_weight=nothing[:0],
        context_bias=nothing[0],
        length_weight=lengths.weight,
        length_bias=lengths.bias,
        length_log=lengths.log,
        length_scale=lengths.scale,
        length_low=lengths.low,
        length_high=lengths.high,
        prompt_line=lines,
        latency_line=lines[:2],
    ).lengths(vectors)


def unit_vectors(seed: int = 0) -> Float32s:
    """Return random directions."""
    vectors = np.random.default_rng(seed).normal(size=(N, 8)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def learn(vectors: Float32s, tokens: Float32s) -> LengthHeads:
    """Run the code under test."""
    return learn_lengths(vectors, tokens.astype(np.float32), np.arange(len(vectors)))


def test_lengths_are_right_on_average() -> None:
    """The mean of unseen lengths is predicted without bias, if lengths vary by factors or by amounts."""
    rng, vectors = np.random.default_rng(1), unit_vectors()
    by_factors = np.exp(4 + 2 * vectors[:, 0] + rng.normal(size=N) * 0.7)
    by_amounts = 200 + 100 * vectors[:, 1] + rng.normal(size=N) * 10
    tokens = np.stack([by_factors, by_amounts], axis=1).astype(np.float32)
    half = np.arange(N) < N // 2
    lengths = learn(vectors[half], tokens[half])
    guess = predicted(lengths, vectors[~half])
    assert lengths.log.tolist() == [1, 0]
    assert guess.mean(axis=0) == pytest.approx(tokens[~half].mean(axis=0), rel=0.06)
    assert np.corrcoef(guess[:, 1], tokens[~half, 1])[0, 1] > 0.9
    assert np.corrcoef(guess[:, 0], tokens[~half, 0])[0, 1] > 0.4


def test_lengths_stay_within_the_recorded_range() -> None:
    """No prediction is below the least or above the greatest length recorded."""
    vectors = unit_vectors()
    tokens = np.clip(np.exp(3 + 6 * vectors[:, :1]), 2, 400)
    guess = predicted(learn(vectors, tokens), unit_vectors(seed=5) * 3)
    assert guess.min() >= 2
    assert guess.max() <= 400


def test_answers_of_one_length_are_predicted_exactly() -> None:
    """Where every answer has the same number of tokens, that number is predicted."""
    vectors = unit_vectors()
    assert predicted(learn(vectors, np.full((N, 1), 7)), vectors) == pytest.approx(np.full((N, 1), 7.0))


def test_an_expert_without_records_writes_as_much_as_the_others() -> None:
    """Its lengths are the means of the others' on each question; with no records at all they are unknown."""
    vectors = unit_vectors()
    tokens = np.stack([100 + 50 * vectors[:, 0], 300 + 50 * vectors[:, 0], np.full(N, np.nan)], axis=1)
    guess = predicted(learn(vectors, tokens), vectors)
    assert guess[:, 2] == pytest.approx((guess[:, 0] + guess[:, 1]) / 2, abs=1)
    assert np.isnan(predicted(learn(vectors, np.full((N, 2), np.nan)), vectors)).all()


def test_few_records_are_enough_for_a_mean() -> None:
    """An expert with two recorded answers is expected to write between the two."""
    vectors, tokens = unit_vectors(), np.full((N, 2), 50.0)
    tokens[:, 1] = np.nan
    tokens[:2, 1] = [10, 30]
    guess = predicted(learn(vectors, tokens), vectors)
    assert guess[:, 1].min() >= 10
    assert guess[:, 1].max() <= 30


def test_signs_are_counted_as_tokenizers_do() -> None:
    """A text is measured in bytes and in signs: digits, punctuation, and characters beyond ASCII."""
    assert measure(["", "two words", "x^2 = 49!", "Größe 日本", "a\x00\ud800"]).tolist() == [
        [0, 0],
        [9, 0],
        [9, 6],
        [14, 4],
        [3, 2],
    ]
    assert measure([]).shape == (0, 2)


def test_prompt_tokens_follow_bytes_and_signs() -> None:
    """The tokens of each part are found again; without records the others' counts, or four bytes to a token."""
    measures = np.random.default_rng(0).integers(50, 550, (500, 2)).astype(np.float32)
    tokens = np.stack([5 + measures @ [0.2, 0.9], np.full(500, np.nan)], axis=1).astype(np.float32)
    assert learn_prompt_lines(measures, tokens) == pytest.approx(np.array([[5, 5], [0.2, 0.2], [0.9, 0.9]]), rel=1e-3)
    assert learn_prompt_lines(measures, tokens[:, 1:]).ravel().tolist() == [0, 0.25, 0]
    few = learn_prompt_lines(measures[:5], (measures[:5, :1] / 3).astype(np.float32))
    assert few.ravel() == pytest.approx([0, 1 / 3, 0])


def test_no_prediction_is_negative() -> None:
    """No part of a prompt counts less than 0, whatever the records look like."""
    measures = np.stack([np.arange(100, 200), np.arange(100, 200) % 7], axis=1).astype(np.float32)
    falling = np.linspace(50, 10, 100, dtype=np.float32)[:, None]
    steep = np.maximum(measures[:, :1] * 2.0 - 190, 1).astype(np.float32)
    for tokens in (falling, steep):
        assert (learn_prompt_lines(measures, tokens) >= 0).all()


def test_time_follows_the_tokens() -> None:
    """Latency is a start and a time for each token; unknown for an expert that was never timed."""
    tokens = np.tile(np.arange(10, 110, dtype=np.float32)[:, None], (1, 2))
    latency = np.stack([200 + 30 * tokens[:, 0], np.full(100, np.nan)], axis=1).astype(np.float32)
    start, each = learn_latency_lines(tokens, latency)
    assert [start[0], each[0]] == pytest.approx([200, 30], rel=1e-3)
    assert np.isnan([start[1], each[1]]).all()
