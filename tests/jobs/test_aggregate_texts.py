"""Texts of a group: nothing is lost when they are split, and parts are few and of like length."""

from __future__ import annotations

import random

import pytest

from leeroo.engine.jobs.aggregate.texts import Item, count_texts, count_tokens, items_of, pack, split_text

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


@pytest.mark.parametrize("seed", range(20))
def test_parts_are_few_and_alike(seed: int) -> None:
    """Every item is in one part, no part is over the room, none fewer would do, and the largest is as small as can be."""
    rng = random.Random(seed)
    tokens = [rng.randint(1, 60) for _ in range(rng.randint(1, 200))]
    parts = pack(tokens, 100)
    assert [i for part in parts for i in part] == list(range(len(tokens)))
    sums = [sum(tokens[i] for i in part) for part in parts]
    assert max(sums) <= 100
    assert _fewest(tokens, 100) == len(parts)
    assert max(sums) == 1 or _fewest(tokens, max(sums) - 1) > len(parts)


def test_an_item_over_the_room_has_a_part_of_its_own() -> None:
    """It is not lost, and does not stop the others."""
    assert pack([10, 500, 10, 10], 100) == [range(1), range(1, 2), range(2, 4)]
    assert pack([], 100) == []


def _fewest(tokens: list[int], room: int) -> int:
    """Return how many parts filling one after the other takes, which is the fewest."""
    parts, left = 0, 0
    for n in tokens:
        if n > room:
            return len(tokens) + 1
        if n > left:
            parts, left = parts + 1, room
        left -= n
    return parts
