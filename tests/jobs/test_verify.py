"""Answers that can be checked by computing, code in a process of its own among them."""

from __future__ import annotations

import random
import time

import pytest

from leeroo.engine.jobs.selfplay.families import FAMILIES
from leeroo.engine.jobs.verify import Check, score


@pytest.mark.parametrize(
    ("answer", "right", "check", "expected"),
    [
        ("The result is 1,234.0 dollars.", "1234", "numeric", 1),
        ("3 boxes of 4 make Answer: 12", "12", "numeric", 1),
        ("about 13", "12", "numeric", 0),
        ("no number", "12", "numeric", 0),
        ("Answer: (B), since A is wrong", "B", "choice", 1),
        ("It is the Netherlands.", "Holland; Netherlands", "exact", 1),
        ("It is Parisian.", "Paris", "exact", 0),
        ("Yes, or rather no.", "no", "exact", 1),
        ("Это Санкт-Петербург.", "Москва", "exact", 0),
        ("Это Москва.", "Москва", "exact", 1),
        ("答案是北京市", "北京", "exact", 1),
        ("It is Rome.", "Paris;", "exact", 0),
        ("No idea", "?!", "exact", 0),
        (None, "no", "exact", 0),
        ("206 is the answer.", "206", "numeric", 1),
        ("206 is the answer to your question", "206", "numeric", 1),
        ("**Answer:** 7 of 9. The answer is", "9", "numeric", 1),
        ("A good answer names Paris.", "Paris", "exact", 1),
    ],
)
def test_texts_and_numbers_are_compared(answer: str | None, right: str, check: Check, expected: float) -> None:
    """The part after "Answer:" counts, else the whole; the last number and the last verdict decide."""
    assert score(answer, right, check) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("lemon", 1),
        ("The words are tiger, lemon and anchor oil. So it is lemon.", 1),
        ("Answer: lemon", 1),
        ("The lemon comes before the tiger.", 1),
        ("tiger, lemon, lemonade", 1),
        ("lemon, lemonade, tiger", 0),
        ("lemon or tiger", 0),
        ("lemonade", 0),
        ("neither", 0),
    ],
)
def test_naming_all_choices_is_no_answer(answer: str, expected: float) -> None:
    """The one said last counts, or the one that the last sentence is about."""
    assert score(answer, "lemon", "exact", ("lemon", "tiger")) == expected


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("g000001x " * 120_000, ";".join(f"g{i:06}" for i in range(15_000))),
        ("字" * 200_000, ";".join("字" * i + "x" for i in range(1, 44))),
        ("```" + "\n" * 200_000, "Paris"),
        ("answer is " * 20_000, "Paris"),
    ],
)
def test_time_grows_with_the_length_alone(answer: str, right: str) -> None:
    """Neither the number of right answers nor the form of the text makes it slower."""
    began = time.thread_time()
    assert score(answer, right, "exact") == 0
    assert time.thread_time() - began < 10


def test_families_know_their_answers() -> None:
    """Every question's own answer is right, and the same seed makes the same question."""
    for make in FAMILIES.values():
        for level in (1, 2, 3):
            made = make(random.Random(level), level)
            assert made == make(random.Random(level), level)
            if made.check != "code":
                assert score(f"Answer: {made.answer}", made.answer, made.check, made.choices) == 1
            if made.choices:
                assert made.answer in made.choices
                others = [choice for choice in made.choices if choice != made.answer]
                assert score(", ".join([made.answer, *others]), made.answer, made.check, made.choices) == 0
