"""Which answers say the same, and which agree with a right one."""

from __future__ import annotations

import pytest

from leeroo.engine.jobs.learn.compare import (
    OPEN_OPTIONS,
    AnswerNumbers,
    comparable,
    is_right,
    key_of,
    leaning,
    open_options,
    options_of,
)
from leeroo.engine.jobs.learn.truth import EMPTY

LETTERED = "Which is it?\nA. one\nB. two\nC. three"


@pytest.mark.parametrize(
    ("answers", "options"),
    [
        (["B", "b)".upper(), "The answer is (B).", "**B**", "B. two", "I think it is\nAnswer: B"], 3),
        (["1200", "It is $1,200.00", "The answer is 1,200.", "1.2e3"], 0),
        (["Paris", "paris.", "The answer is: Paris", " Paris\n"], 0),
        (['{"a": 1, "b": [2]}', '{"b": [2], "a": 1}', ' {"a":1,"b":[2]} '], 0),
    ],
)
def test_answers_that_say_the_same_have_one_key(answers: list[str], options: int) -> None:
    """Letters, numbers, words and JSON are compared by what they say."""
    assert len({key_of(answer, options) for answer in answers}) == 1
    assert key_of(answers[0], options) is not None


@pytest.mark.parametrize("answer", [None, "", "  ", "word " * 40, "?"])
def test_what_cannot_be_compared_has_no_key(answer: str | None) -> None:
    """An empty answer, or one of many words, says nothing that could be compared."""
    assert key_of(answer, 0) is None


def test_an_answer_beyond_the_options_is_none() -> None:
    """A letter that the question does not offer is no answer to it."""
    assert key_of("F", 3) is None
    assert key_of("neither", 2, ["yes", "no"]) is None
    assert key_of("Yes.", 2, ["yes", "no"]) == "yes"


def test_options_are_counted() -> None:
    """A question offers its choices or its lettered options; others are open."""
    assert options_of(LETTERED, None) == 3
    assert options_of("Free?", ["yes", "no"]) == 2
    assert options_of("What is A. Turing known for?", None) == 0


def test_answers_that_repeat_over_a_table_are_its_labels() -> None:
    """A column with few different answers has as many options; one with a different answer each is open."""
    assert open_options(["spam", "ham", "spam", "ham", "spam", "ham"]) == 2
    assert open_options([str(i) for i in range(40)]) == OPEN_OPTIONS
    assert comparable([True, True, False])
    assert not comparable([True, False, False])
    assert not comparable([])


def _numbers(question: str, *answers: str, gold: str | None = None) -> list[int]:
    numbers = AnswerNumbers([question], [0], [None], [gold])
    return [numbers.number(0, answer) for answer in answers]


@pytest.mark.parametrize(
    ("question", "answers"),
    [
        ("What is the capital of France?", ["Paris", "The capital of France is Paris.", "the Paris"]),
        (
            "What gas do people breathe?",
            ["People breathe a gas that most of them know by the name of oxygen, as it is called.", "Oxygen"],
        ),
        ("Which is bigger, an elephant or a mouse?", ["An elephant is bigger than a mouse.", "elephant"]),
        ("Do snakes have legs?", ["No.", "No, snakes do not have legs."]),
    ],
)
def test_a_sentence_says_what_it_names(question: str, answers: list[str]) -> None:
    """A sentence has the number of the short answer that it names, whichever comes first."""
    assert set(_numbers(question, *answers)) == {0}
    assert set(_numbers(question, *reversed(answers))) == {0}


@pytest.mark.parametrize(
    ("question", "one", "other"),
    [
        ("Which is bigger, an elephant or a mouse?", "An elephant is bigger than a mouse.", "a mouse"),
        ("Is this mail spam?", "It is not spam", "spam"),
        ("What mood is it?", "mostly positive", "positive"),
        ("Where is it?", "New York", "York"),
        ("Is it raining?", "There is no way to know that from what I have been given here.", "no"),
        ("Which city?", "It is a city of the south that many people visit, but it is not Paris", "Paris"),
    ],
)
def test_a_sentence_that_says_something_else_is_another_answer(question: str, one: str, other: str) -> None:
    """What a sentence denies, compares with or only contains is not its answer."""
    assert len(set(_numbers(question, one, other))) == 2


def test_a_sentence_that_names_two_answers_is_neither() -> None:
    """Where a sentence names several answers, nobody knows which one it means."""
    assert _numbers("Which city?", "Paris", "Rome", "Many people would say that it is Paris or that it is Rome") == [
        0,
        1,
        2,
    ]


def test_all_answers_that_gold_says_are_right_are_one() -> None:
    """Right answers in different words count as the same, and as right, however long they are."""
    right = ["four", "It has 4 legs.", "A horse is an animal that usually walks on its own 4 legs."]
    assert _numbers("How many legs has a horse?", *right, "three", "", gold="4; four") == [0, 0, 0, 1, EMPTY]


def test_gold_is_met_by_what_it_says() -> None:
    """A right answer may be a letter, number, words, choice or JSON."""
    assert is_right("The answer is B.", "B")
    assert not is_right("A", "B")
    assert is_right("about 12.0", "12")
    assert not is_right("13", "12")
    assert is_right("It is Paris", "paris")
    assert not is_right("Rome", "paris")
    assert is_right("no", "no", ["yes", "no"])
    assert not is_right("yes", "no", ["yes", "no"])
    assert is_right('{"a": 1}', '{ "a" : 1 }')
    assert not is_right('{"a": 2}', '{"a": 1}')


def test_who_gives_one_letter_to_most_questions_leans_to_it() -> None:
    """A letter in most answers is a leaning; letters in turn, few answers, or two options are none."""
    assert leaning(["A", "A. one", "The answer is A.", "B"] * 10, [4] * 40) == ("A", 0.75)
    assert leaning(["A", "B", "C", "A"] * 10, [4] * 40) is None
    assert leaning(["A"] * 8, [4] * 8) is None
    assert leaning(["A"] * 40, [2] * 40) is None
