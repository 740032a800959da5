"""Three experts behind a real API, each good at one kind of question, and a table of such questions.

`alpha` adds best, `beta` knows capitals, `gamma` spells; wrong answers of a question are often the same.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from pathlib import Path

import polars as pl

from tests.provider import Provider

# How often an expert is right about sums, capitals and words.
SKILLS = {"alpha": (0.95, 0.55, 0.6), "beta": (0.5, 0.92, 0.6), "gamma": (0.55, 0.6, 0.93)}
# USD per million tokens in, and three times as much out.
PRICES = {"alpha": 0.6, "beta": 0.5, "gamma": 0.4}
_USAGE = (20, 12)


def questions(n: int) -> pl.DataFrame:
    """Return questions of three kinds in turn, with right answers in the column `truth`."""
    draw = random.Random(1)
    rows = [_KINDS[i % 3](draw) for i in range(n)]
    return pl.DataFrame({"id": range(n), "question": [q for q, _ in rows], "truth": [truth for _, truth in rows]})


def set_up(folder: Path, api: Provider, n: int = 120) -> pl.DataFrame:
    """Let an API speak as the experts, and write `pool.toml` and `questions.csv` into a folder."""
    table = questions(n)
    kinds = {question: (truth, i % 3) for i, (_, question, truth) in enumerate(table.rows())}
    api.says = lambda model, prompt: _say(model, prompt, *kinds[prompt.strip()])
    api.usage = lambda prompt, body: _USAGE
    api.usd_per_m = {"": (1, 1), **{name: (price, 3 * price) for name, price in PRICES.items()}}
    entries = [
        f'[[expert]]\nname = "{name}"\nmodel = "{name}"\nbackend = "openai"\nbase_url = "{api.url}"\n'
        f"usd_per_m_input = {price}\nusd_per_m_output = {3 * price:.1f}\nmax_tokens = 64\n"
        for name, price in PRICES.items()
    ]
    (folder / "pool.toml").write_text('default = "alpha"\n' + "".join(entries))
    table.write_csv(folder / "questions.csv")
    return table


def share_right(answered: pl.DataFrame) -> float:
    """Return the share of rows whose answer holds the right one."""
    said = zip(answered["answer"].to_list(), answered["truth"].cast(pl.String).to_list(), strict=True)
    return sum(truth in (answer or "") for answer, truth in said) / len(answered)


def _say(model: str, question: str, truth: str, kind: int) -> str:
    draw = random.Random(zlib.crc32((model + question).encode()))
    if draw.random() < SKILLS[model][kind]:
        return truth if draw.random() < 0.5 else f"The answer is {truth}."
    popular = random.Random(zlib.crc32(question.encode()) + draw.choice([0, 0, 1, 2, 3]))
    if kind == 0:
        return str(int(truth) + popular.randint(-30, -1))
    if kind == 1:
        others = [city for city in question.split("from ")[1].strip(".").split(", ") if city != truth]
        return popular.choice(others)
    return truth[1:] + popular.choice("abc")


def _name(draw: random.Random) -> str:
    return "".join(draw.choice("bcdfglmnprst") + draw.choice("aeiou") for _ in range(3)).capitalize()


def _sum(draw: random.Random) -> tuple[str, str]:
    x, y = draw.randint(2, 999), draw.randint(2, 999)
    return f"What is {x} plus {y}?", str(x + y)


def _capital(draw: random.Random) -> tuple[str, str]:
    country, city, *others = (_name(draw) for _ in range(5))
    cities = ", ".join(sorted([city, *others]))
    return f"Which city is the capital of the country {country}? Choose from {cities}.", city


def _word(draw: random.Random) -> tuple[str, str]:
    word = _name(draw).lower()
    return f"Spell the word '{word}' backwards.", word[::-1]


_KINDS: tuple[Callable[[random.Random], tuple[str, str]], ...] = (_sum, _capital, _word)
