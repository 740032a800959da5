"""Probabilities of choices, from the forks of a tree of tokens."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leeroo.engine.backends.choices import forks, logprobs

END = 0
texts = st.lists(st.lists(st.integers(1, 3), max_size=4).map(tuple), min_size=1, max_size=6, unique=True)


def test_choices_that_begin_differently_fork_once() -> None:
    """Choices of one letter each have one fork, at the end of the prompt."""
    assert forks([(7,), (8, 9), (5,)], END) == [((), (7, 8, 5))]


def test_a_choice_that_begins_another_forks_at_its_end() -> None:
    """'New York' and 'New York City' differ where one ends and the other continues."""
    assert forks([(1, 2), (1, 2, 3)], END) == [((1, 2), (END, 3))]


@given(texts)
def test_probabilities_add_up_to_one(choices: list[tuple[int, ...]]) -> None:
    """With even chances at every fork, a choice has the product of its forks, whatever the tree."""
    parted = forks(choices, END)
    known = {fork.prefix: {token: -math.log(len(fork.branches)) for token in fork.branches} for fork in parted}
    scores = logprobs(choices, END, known)
    assert math.fsum(map(math.exp, scores)) == pytest.approx(1)


@given(texts)
def test_every_two_choices_differ_at_a_fork(choices: list[tuple[int, ...]]) -> None:
    """No two different choices have the same tokens at all forks."""
    for one, other in itertools.combinations(choices, 2):
        assert any(
            (*one, END)[: len(p)] == p == (*other, END)[: len(p)] and (*one, END)[len(p)] != (*other, END)[len(p)]
            for p, _ in forks(choices, END)
            if len(p) <= min(len(one), len(other))
        )
