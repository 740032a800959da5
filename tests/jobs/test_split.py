"""The parts that a question says itself, and what each of them needs."""

from __future__ import annotations

import time

import pytest

from leeroo.engine.jobs.solve.split import split


@pytest.mark.parametrize(
    ("question", "tasks", "needs"),
    [
        ("What is the capital of France? Which river runs through it?", 2, [(), (0,)]),
        ("(a) What is 2 plus 3? (b) Multiply the result by 4. (c) Name the capital of Peru.", 3, [(), (0,), ()]),
        ("A train covers 120 km in 2 hours. What is its speed? How long does it need for 300 km?", 2, [(), ()]),
        ("1. Who wrote Hamlet?\n2. When was the author of part 1 born?\n3. What is 3 plus 4?", 3, [(), (0,), ()]),
        ("What is 3 plus 4? What is 5 plus 6? What is the sum of both?", 3, [(), (), (0, 1)]),
        (
            "A. What is 12 times 4? B. Take the result of A and add 5. C. A man has B of them; is it odd?",
            3,
            [(), (0,), (1,)],
        ),
        ("Step 1: Multiply 3 by 4. Step 2: Add 5 to the result. Step 3: Is it odd?", 3, [(), (0,), (1,)]),
        ("i) Name the capital of Peru. ii) Name the one of Chile. iii) Is the answer to i) larger?", 3, [(), (), (0,)]),
        ("First, multiply 3 by 4. Then add 5 to it. Finally, say whether that is even.", 3, [(), (0,), (1,)]),
        ("How many days has March? And in April? What is the difference?", 3, [(), (0,), (0, 1)]),
        ("Please calculate 3 plus 4. Please also name the capital of Peru.", 2, [(), ()]),
        ("(a) What is 3 times 5? (b) What is 20 minus 4? (c) What is 9 less than (a)?", 3, [(), (), (0,)]),
    ],
)
def test_parts_are_found(question: str, tasks: int, needs: list[tuple[int, ...]]) -> None:
    """Numbered parts and consecutive questions are steps, and one that refers to an earlier one needs it."""
    parts = split(question)
    assert parts is not None
    assert len(parts.steps) == tasks
    assert [step.needs for step in parts.steps] == needs


@pytest.mark.parametrize(
    "question",
    [
        "What is the capital of Japan? Give only the name.",
        "Which is prime? a) 4 b) 5 c) 6",
        "Tom has 3 apples. He buys 4 more. How many has he now?",
        "Dr. Smith lives in London. Where does he live?",
        "What should be done first? A. Add water. B. Find the valve. C. Divide it.",
        "Translate 'What is your name? Where do you live?' into French.",
        "Classify the text as one of: good, bad.\n\nText: Where is my order? When will it come?",
        "Summarize the following: Is it red? Is it blue?",
        "",
    ],
)
def test_one_question_is_not_split(question: str) -> None:
    """Instructions, choices and an introduction are no parts."""
    assert split(question) is None


def test_an_introduction_belongs_to_all_parts() -> None:
    """The introduction is kept separately, with the marks."""
    parts = split("Take a square of side 3. (a) What is its area? (b) What is its perimeter?")
    assert parts is not None
    assert (parts.preamble, parts.marks) == ("Take a square of side 3.", ("a", "b"))


@pytest.mark.parametrize(
    "text",
    [
        '"x" (a) y? ' * 16_000,
        "“" * 60_000,
        "following " * 17_000,
        "why? " * 34_000,
        "both? what? " * 14_000,
        "(a) " * 40_000,
        "- x\n" * 40_000,
        "is it" + " " * 170_000 + "?",
        "'" * 170_000,
        "1. what? 2. why " + "(1) " * 40_000 + "?",
        "``` " * 40_000,
    ],
    ids=lambda text: repr(text[:9]),
)
def test_long_texts_are_split_in_a_moment(text: str) -> None:
    """The time grows with the length alone, however many quotations and marks there are."""
    began = time.thread_time()
    split(text)
    assert time.thread_time() - began < 10


def test_a_hundred_parts_are_one_text() -> None:
    """Ninety-nine are parts, a hundred are not."""
    parts = split("Why? " * 99)
    assert parts is not None
    assert len(parts.steps) == 99
    assert split("Why? " * 100) is None
