"""Texts of a group: nothing is lost when they are split, and parts are few and of like length."""

from __future__ import annotations

import random

import pytest

from leeroo.engine.jobs.aggregate.prompts import Answer, ask_part, merge
from leeroo.engine.jobs.aggregate.texts import Item, count_texts, count_tokens, halve, items_of, pack, split_text

STORY = "One day it rained. We stayed in!\nThen the sun came out, and we went home.\n\n" * 40


@pytest.mark.parametrize("text", [STORY, "word " * 3000, "x" * 5000, "雨が降った。" * 700, "a\n" * 4000, "é" * 999])
@pytest.mark.parametrize("room", [7, 40, 333])
def test_pieces_are_the_text(text: str, room: int) -> None:
    """Pieces together are the text, none is longer than the room, and they are about as few as can be."""
    pieces = split_text(text, room)
    assert "".join(pieces) == text
    assert max(map(count_tokens, pieces)) <= room + 1
    assert len(pieces) <= 1.6 * count_tokens(text) / room + 2 + (2 * text.count("\n") / 4) / room * 1.6


def test_pieces_end_where_something_ends() -> None:
    """Paragraphs go before lines, lines before sentences, sentences before words."""
    assert all(piece.endswith("\n\n") for piece in split_text(STORY, 100))
    assert all(
        piece.endswith((". ", "! "))
        for piece in split_text("It is so. Is it? It is! " * 99, 50)[:-1]
        if "?" not in piece[-3:]
    )
    assert all(piece.endswith(" ") for piece in split_text("word " * 999, 20))


def test_texts_are_counted_in_the_order_of_their_content() -> None:
    """NULL and blank texts are none; texts that differ in a blank are two."""
    assert count_texts(["b", None, "a", "b", "", "\n", "b "]) == [("a", 1), ("b", 2), ("b ", 1)]
    assert count_texts([]) == count_texts([None]) == []


def test_items_are_lines_of_a_list() -> None:
    """Lines of a text are indented, and remarks say how often it occurs and if it is a piece."""
    assert Item("a\nb", texts=2, times=2).line == "- (2 times) a\n  b"
    assert Item("b", texts=0, piece=True, times=1200).line == "- (part of a longer text, 1,200 times) b"
    first, *later = items_of([(STORY, 3)], 60)
    assert (first.texts, {item.texts for item in later}) == (3, {0})
    assert max(item.tokens for item in (first, *later)) <= 60
    assert "".join(item.text for item in (first, *later)) == STORY


def _texts(seed: int, n: int = 600) -> list[Item]:
    rng = random.Random(seed)
    return [Item(text) for text in sorted(f"{rng.random()} " + "word " * rng.randint(1, 40) for _ in range(n))]


@pytest.mark.parametrize("seed", range(20))
def test_parts_are_few_and_full(seed: int) -> None:
    """Every item is in one part, no part is over the room, all but the last are nearly full."""
    items = _texts(seed)
    parts = pack(items, 1000, 0.7)
    assert [item for part in parts for item in part] == items
    sums = [sum(item.tokens for item in part) for part in parts]
    assert max(sums) <= 1000
    assert min(sums[:-1]) > 650


def test_a_new_text_changes_a_part_or_two() -> None:
    """The others are as they were, in front of it and behind it."""
    changed = []
    for seed in range(20):
        items = _texts(seed)
        before = pack(items, 1000, 0.7)
        after = pack(sorted([*items, Item(f"{random.Random(seed).random()} and more")]), 1000, 0.7)
        assert len(before) > 10
        changed.append(sum(part not in before for part in after))
    assert sum(changed) / len(changed) < 2.5


def test_an_item_over_the_room_has_a_part_of_its_own() -> None:
    """It is not lost, and does not stop the others."""
    small, giant = Item("word " * 8), Item("word " * 400)
    assert pack([small, giant, small, small], 100) == [[small], [giant], [small, small]]
    assert pack([], 100) == []


def test_parts_are_as_few_as_can_be() -> None:
    """By default each is filled as far as it goes."""
    items = [Item(f"{i} " + "word " * 30) for i in range(21)]
    assert [len(part) for part in pack(items, 90)] == [2] * 10 + [1]


def test_halves_are_about_equal() -> None:
    """Both have something, and together they are all."""
    items = _texts(1, 50)
    one, two = halve(items)
    assert one + two == items
    assert 0.8 < sum(item.tokens for item in one) / sum(item.tokens for item in two) < 1.2
    giant = Item("word " * 400)
    assert halve([giant, items[0]]) == ([giant], [items[0]])
    assert halve([items[0], giant]) == ([items[0]], [giant])


def test_prompts_of_parts_say_what_they_are_of() -> None:
    """A part is whole texts, first pieces and later ones; it does not depend on the other parts."""
    whole, first, later = Item("a", texts=2, times=2), Item("b", texts=1, piece=True), Item("c", texts=0, piece=True)
    assert ask_part("Why?", [whole, first]).splitlines()[2:] == [
        "Answer from these 2 texts and the beginning of 1 text only. Say how many texts each point is in, and keep names"
        " and numbers.",
        "- (2 times) a",
        "- (part of a longer text) b",
    ]
    assert "Answer from a later piece of a text only." in ask_part("Why?", [later])


def test_prompts_of_merges_keep_counts() -> None:
    """Every answer comes with the number of its texts, and the last merge is for all of them."""
    answers = [Answer("Late: 3 texts.", texts=1200), Answer("Broken.", texts=0)]
    some, last = merge("Why?", answers, last=False), merge("Why?", answers, last=True)
    assert "Below are 2 answers, each from other texts. Write one answer for these 1,200 texts: join points" in some
    assert "Write one answer for all 1,200 texts: join points that mean the same and add up their numbers" in last
    assert last.endswith("\n\nFrom 1,200 texts:\nLate: 3 texts.\n\nFrom the rest of a text:\nBroken.")
    assert "one answer for the whole text:" in merge("Why?", [Answer("One.", texts=1), answers[1]], last=True)
