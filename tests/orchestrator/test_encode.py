"""Encoding texts with real encoders."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from leeroo.engine.errors import PoolError, RouterError
from leeroo.engine.orchestrator.encoders.encode import MAX_TOKENS, encode

pytestmark = pytest.mark.usefixtures("two_threads")

TEXTS = [
    "What is the capital of France?",
    "Which city is the seat of the French government?",
    "Integrate x squared from zero to one.",
    "Hi",
    "A long question about many things. " * 40,
]


def test_vectors_have_unit_length() -> None:
    """Each text becomes one float32 vector of the encoder's size and of length 1."""
    vectors = encode(TEXTS)
    assert vectors.shape == (len(TEXTS), 384)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)


def test_like_questions_have_like_vectors() -> None:
    """Two questions on the same thing are nearer to each other than to one on another."""
    capital, seat, integral = encode(TEXTS[:3])
    assert capital @ seat > capital @ integral + 0.3


def test_a_vector_does_not_depend_on_its_batch() -> None:
    """A text alone, among others and in another order has the same vector."""
    together, backwards = encode(TEXTS), encode(TEXTS[::-1])[::-1]
    alone = np.concatenate([encode([text]) for text in TEXTS])
    assert np.abs(together - alone).max() < 1e-5
    assert np.abs(together - backwards).max() < 1e-5


def test_only_the_beginning_of_a_text_is_read() -> None:
    """Texts that differ after the first tokens only have the same vector, and megabytes take no time."""
    beginning = "word " * MAX_TOKENS
    encode(["warm up"])
    start = time.perf_counter()
    short, long = encode([beginning + "cat", beginning + "dog " * 1_000_000])
    assert time.perf_counter() - start < 5
    assert short @ long > 0.9999


def test_any_text_can_be_encoded() -> None:
    """Empty text, NUL bytes, lone surrogates, right-to-left text and emoji have vectors of numbers."""
    vectors = encode(["", " ", "a\x00b", "half \ud83d pair", "ما هي عاصمة فرنسا؟", "🦘🦘", "\n\t"])
    assert np.isfinite(vectors).all()
    assert len(encode([])) == 0


def test_a_plain_model_folder_is_an_encoder(tiny_bert: Path) -> None:
    """A folder of any Hugging Face encoder can be used, with vectors of its own size."""
    vectors = encode(TEXTS, str(tiny_bert))
    assert vectors.shape == (len(TEXTS), 16)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)


def test_an_encoder_that_is_nowhere_is_named() -> None:
    """An unknown encoder is one clear line."""
    with pytest.raises(PoolError, match="no-such/encoder") as error:
        encode(["x"], "no-such/encoder")
    assert "\n" not in str(error.value)


def test_a_folder_without_a_model_is_no_encoder(tmp_path: Path) -> None:
    """A folder that holds something else is one clear line that names it."""
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(RouterError, match="cannot be loaded") as error:
        encode(["x"], str(tmp_path))
    assert str(tmp_path) in str(error.value)
    assert "\n" not in str(error.value)
