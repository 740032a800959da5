"""Which answers say the same, and which agree with a right one."""

from __future__ import annotations

import pytest

from leeroo.engine.jobs.learn.compare import OPEN_OPTIONS, comparable, is_right, key_of, open_options, options_of

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
    assert comparable(["a", "b", "c", "d", None])
    assert not comparable(["a", None, None])


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
