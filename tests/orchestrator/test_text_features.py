"""Text features: the same numbers in columns as text by text."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from leeroo.engine.orchestrator import text_features as module
from leeroo.engine.orchestrator.text_features import TEXT_FEATURES, text_features

# What decides a feature, put together at random.
_PIECES = [
    "\nA. ", "\n(B) ", "\nC) ", "\n", "not ", " NOT ", "I ", "II", "\x1c", "\x0b", "\x00", "true ", "Statement 1 ",
    " of the above", "_", "?", ":", " ", "5", "-", "which ", " What", "what's", "word", "Why", "let", ".",
]  # fmt: skip


def one_by_one(texts: list[str]) -> np.ndarray:
    """Return the features of texts that are read one by one."""
    numbers = np.array([module._features_of(text[: module._MAX_CHARACTERS]) for text in texts], np.float64)
    numbers[:, module._SIZES] = np.log1p(numbers[:, module._SIZES])
    return numbers.astype(np.float32)


@pytest.mark.parametrize("name", ["mmlu9", "gsm8k9", "mmlu_pro", "routerbench3"])
def test_recorded_questions_have_the_same_numbers(name: str, shared_data: Path) -> None:
    """Columns give what reading each text gives, to the last bit, with options and without."""
    texts = pq.read_table(shared_data / name / "queries.parquet", columns=["prompt"]).column(0).to_pylist()[:2000]
    assert sum(map(str.isascii, texts)) > 500
    assert (text_features(texts) == one_by_one(texts)).all()


def test_odd_texts_have_the_same_numbers() -> None:
    """Blanks, marks and options in any order, and texts beyond ASCII among them, change nothing."""
    draw = random.Random(0)
    odd = ["", "\n", "\nA. ", "\nA. \nB. ", "A. x", "é not \nA. 5", "\ud800", "x" * 30_000, "\nA. " + "1 " * 20_000]
    odd += ["".join(draw.choices([*_PIECES, "é", "\x85"], k=draw.randrange(1, 12))) for _ in range(3000)]
    odd += ["".join(draw.choices(_PIECES, k=draw.randrange(1, 12))) for _ in range(3000)]
    assert (text_features(odd) == one_by_one(odd)).all()


def test_a_question_has_these_numbers() -> None:
    """A known question's length, options, digits and words are counted."""
    text = "Which of these is NOT 12?\nA. 7 or 8\nB. true"
    found = text_features([text])[0]
    assert np.allclose(np.expm1(found[:5]), [len(text), 25, (6 + 4) / 2, 6, 4], rtol=1e-5)
    assert found[5] == 2
    assert np.allclose(np.expm1(found[6:8]), [2, 2], rtol=1e-5)
    assert list(found[[11, 13, 14, 18, 20, 23, 24, 29]]) == [1, 1, 0, 1, 1, 1, 1, 1]
    assert found[25] == 1


def test_no_texts_have_no_rows() -> None:
    """An empty table has features of no rows."""
    assert text_features([]).shape == (0, TEXT_FEATURES)
