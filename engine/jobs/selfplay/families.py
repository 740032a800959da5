"""Families of questions with computed answers: arithmetic, dates, units, words, tables, code."""

from __future__ import annotations

import calendar
import datetime
import json
import random
from collections.abc import Callable
from dataclasses import dataclass

from leeroo.engine.jobs.verify import Check


@dataclass(frozen=True)
class Verifiable:
    """A question with its answer.

    Attributes:
        question: Its text.
        answer: The right one: a number, a text (several that are, with ';' between), or for code its unit tests, a JSON
            object of `function` and `cases`, a list of [arguments, result].
        check: How an answer is compared with it, see `verify`.
        choices: The answers that the question names, if any.
    """

    question: str
    answer: str
    check: Check
    choices: tuple[str, ...] = ()


# Makes one question, of a level from 1 (easy) to 3 (hard).
Maker = Callable[[random.Random, int], Verifiable]

_NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Farid", "Grace", "Hugo", "Ines", "Jonas", "Kira", "Leo", "Mina")
_THINGS = ("apples", "pencils", "books", "tickets", "stamps", "bottles", "cards", "eggs", "bricks", "cups")
_WORDS = (
    "planet", "garden", "silver", "window", "bridge", "forest", "candle", "market", "pocket", "winter", "orange",
    "mirror", "basket", "doctor", "engine", "island", "jacket", "kitten", "ladder", "marble", "needle", "office",
    "parrot", "rabbit", "saddle", "temple", "valley", "wallet", "yellow", "anchor", "bottle", "castle", "dragon",
    "flower", "guitar", "hammer", "insect", "jungle", "kettle", "lemon", "monkey", "nature", "onion", "pepper",
    "quarter", "river", "school", "tiger",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
# Smaller unit, larger unit, how many of the one are in the other.
_UNITS = (
    ("centimetres", "metres", 100), ("metres", "kilometres", 1000), ("grams", "kilograms", 1000),
    ("minutes", "hours", 60), ("seconds", "minutes", 60), ("hours", "days", 24), ("days", "weeks", 7),
    ("inches", "feet", 12), ("millilitres", "litres", 1000), ("ounces", "pounds", 16), ("months", "years", 12),
)  # fmt: skip


def arithmetic(rng: random.Random, level: int) -> Verifiable:
    """Make sums and products, and short stories about them."""
    if level == 1:
        a, b = rng.randint(2, 60), rng.randint(2, 60)
        word, value = rng.choice([("plus", a + b), ("minus", a - b)])
        form = rng.choice(
            ["What is {a} {word} {b}?", "Calculate {a} {word} {b}.", "{a} {word} {b} equals what number?"]
        )
        return Verifiable(form.format(a=a, b=b, word=word), str(value), "numeric")
    if level == 2:
        a, b, c = rng.randint(3, 25), rng.randint(3, 12), rng.randint(2, 50)
        question, value = rng.choice(
            [
                (f"What is {a} times {b}?", a * b),
                (f"What is {a} times {b} plus {c}?", a * b + c),
                (f"What is {a * b} divided by {b}?", a),
                (f"What is {5 * b} percent of {20 * a}?", a * b),
            ]
        )
        return Verifiable(question, str(value), "numeric")
    who, other = rng.sample(_NAMES, 2)
    thing, n, m, k = rng.choice(_THINGS), rng.randint(3, 12), rng.randint(4, 15), rng.randint(2, 20)
    question, value = rng.choice(
        [
            (f"{who} buys {n} boxes of {m} {thing} and gives {k} {thing} to {other}. How many {thing} has {who} left?",
             n * m - k),
            (f"{who} has {n * m} {thing} and shares them equally among {n} friends. Then {other} gives each friend {k} "
             f"more. How many {thing} has each friend?", m + k),
            (f"{who} has {n} {thing}. {other} has {k} more than {who}. How many {thing} have both?", 2 * n + k),
            (f"One of {who}'s {thing} costs {m} dollars. How many dollars do {n} {thing} cost with a discount of {k} "
             "dollars on all of them?", n * m - k),
        ]
    )  # fmt: skip
    return Verifiable(question, str(value), "numeric")


def units(rng: random.Random, level: int) -> Verifiable:
    """Make conversions from one unit to another."""
    small, large, factor = rng.choice(_UNITS)
    n = rng.randint(2, 9) if level == 1 else rng.randint(11, 60)
    if level < 3 or factor % 2:
        form = rng.choice(["How many {small} are {n} {large}?", "Convert {n} {large} to {small}."])
        return Verifiable(form.format(small=small, large=large, n=n), str(n * factor), "numeric")
    form = rng.choice(["How many {small} are {n}.5 {large}?", "Convert {n}.5 {large} to {small}."])
    return Verifiable(form.format(small=small, large=large, n=n), str(n * factor + factor // 2), "numeric")


def dates(rng: random.Random, level: int) -> Verifiable:
    """Make questions on days of the week, leap years, days between dates."""
    if level == 1:
        at, n = rng.randrange(7), rng.randint(1, 6)
        return Verifiable(
            f"Today is {_DAYS[at]}. Which day of the week is it in {n} day{'s' * (n > 1)}?",
            _DAYS[(at + n) % 7], "exact", _DAYS,
        )  # fmt: skip
    day = datetime.date(rng.randint(1950, 2030), rng.randint(1, 12), rng.randint(1, 28))
    if level == 2:
        right = "yes" if calendar.isleap(day.year) else "no"
        return Verifiable(f"Was or will {day.year} be a leap year? Answer yes or no.", right, "exact")
    n = rng.randint(5, 80)
    later = day + datetime.timedelta(days=n)
    question = f"How many days is it from {day:%B} {day.day}, {day.year} to {later:%B} {later.day}, {later.year}?"
    return Verifiable(question, str(n), "numeric")


def words(rng: random.Random, level: int) -> Verifiable:
    """Make questions on letters and the alphabet."""
    if level == 1:
        word = rng.choice(_WORDS)
        question, right = rng.choice(
            [
                (f"What is the first letter of the word '{word}'?", word[0]),
                (f"What is the last letter of the word '{word}'?", word[-1]),
            ]
        )
        return Verifiable(question, right, "exact")
    if level == 2:
        some = rng.sample(_WORDS, 3)
        question = f"Which of these words comes first in the alphabet: {some[0]}, {some[1]} or {some[2]}?"
        return Verifiable(question, min(some), "exact", tuple(some))
    word = rng.choice(_WORDS)
    question, right, check = rng.choice(
        [
            (f"How many letters has the word '{word}'?", str(len(word)), "numeric"),
            (f"Write the word '{word}' backwards.", word[::-1], "exact"),
        ]
    )
    return Verifiable(question, right, check)  # type: ignore[arg-type]


def tables(rng: random.Random, level: int) -> Verifiable:
    """Make a small table, and a question about it."""
    things = rng.sample(_THINGS, 2 + level)
    counts = rng.sample(range(3, 60), len(things))
    prices = [rng.randint(1, 9) for _ in things]
    lines = "\n".join(f"{thing}, {count}, {price}" for thing, count, price in zip(things, counts, prices, strict=True))
    table = f"item, in stock, price in dollars\n{lines}\n\n"
    at = rng.randrange(len(things))
    if level == 1:
        return Verifiable(f"{table}How many {things[at]} are in stock?", str(counts[at]), "numeric")
    if level == 2:
        most = things[counts.index(max(counts))]
        return Verifiable(f"{table}Of which item is most in stock?", most, "exact", tuple(things))
    total = counts[at] * prices[at]
    return Verifiable(f"{table}How many dollars do all {things[at]} in stock cost together?", str(total), "numeric")


# Names and words for functions of one list or number, with how they are computed.
_FUNCTIONS: tuple[tuple[str, str, Callable[[list[int]], object]], ...] = (
    ("total", "returns the sum of a list of integers", sum),
    ("largest", "returns the greatest of a list of integers", max),
    ("spread", "returns the difference between the greatest and the least of a list of integers",
     lambda xs: max(xs) - min(xs)),
    ("evens", "returns the even ones of a list of integers, in their order", lambda xs: [x for x in xs if x % 2 == 0]),
    ("backwards", "returns a list in reverse order", lambda xs: xs[::-1]),
    ("squares", "returns the squares of a list of integers, in their order", lambda xs: [x * x for x in xs]),
    ("running", "returns the running sums of a list of integers",
     lambda xs: [sum(xs[: i + 1]) for i in range(len(xs))]),
    ("unique", "returns a list without repeated items, in the order of their first appearance",
     lambda xs: list(dict.fromkeys(xs))),
    ("second", "returns the second greatest of the distinct items of a list of integers",
     lambda xs: sorted(set(xs))[-2]),
)  # fmt: skip


def code(rng: random.Random, level: int) -> Verifiable:
    """Make a task to write a function, with unit tests."""
    third = len(_FUNCTIONS) // 3
    name, does, right = rng.choice(_FUNCTIONS[third * (level - 1) : third * level])
    cases = []
    for _ in range(4):
        given = [rng.randint(-9, 30) for _ in range(rng.randint(3, 7))] + [31]
        cases.append([[given], right(given)])
    question = f"Write a Python function {name}(items) that {does}. Give only the code."
    return Verifiable(question, json.dumps({"function": name, "cases": cases}), "code")


FAMILIES: dict[str, Maker] = {make.__name__: make for make in (arithmetic, units, dates, words, tables, code)}
# Families that need none of an expert's code to be run.
SAFE = tuple(name for name in FAMILIES if name != "code")
