"""Texts of models: whatever one writes, plans, scores and verdicts come of it, and never an error."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import numpy as np
import pyarrow as pa

from leeroo.engine.jobs.choice_calibration import calibrate_choices, probabilities
from leeroo.engine.jobs.judge import Answer, _chances, consensus
from leeroo.engine.jobs.mmlu.mmlu import _score_answers
from leeroo.engine.jobs.selfplay.generate import parse_question
from leeroo.engine.jobs.solve.decompose import SolveLimits, read_plan, within
from leeroo.engine.jobs.solve.split import split
from leeroo.engine.jobs.verify import Check, score
from leeroo.engine.model_json import parse_json
from tests.fuzz.conftest import Cases

_PIECES = (
    "[" * 100_000, "{" * 5000, '{"a":' * 3000, "\ud83d", "\\ud83d", "\0", "NaN", "1e999", "-Infinity", "9" * 5000, "null",
    '{"steps": []}', '{"steps": [{"task": "What is it?", "needs": []}]}', '"', "“" * 500, "```json\n", "```", "(a) ",
    "Answer: ", "the answer is ", "B", "yes", "no", "1,234", "١٢٣", "\u2028", " " * 5000, "\n" * 500, "Paris", "數學",
    "1. ", "- ", "What is that? ", "both of them", "following: ", "<think>", "\x1b[31m", "true", "a" * 3000, "²",
)  # fmt: skip
_PLAN: list[dict[str, Any]] = [{"task": "How old is Ann?", "needs": []}, {"task": "How old is Bob?", "needs": [1]}]
_ODD: tuple[Any, ...] = (
    None,
    0,
    -1,
    2**70,
    1.5,
    1e308,
    "",
    "x",
    [],
    {},
    [[]],
    True,
    "\ud83d",
    [1, "1"],
    [True],
    {"needs": 1},
    math.nan,
    math.inf,
)


_CHECKS: tuple[Check, ...] = ("exact", "numeric", "choice")


def _text(rng: random.Random) -> str:
    """Return pieces of anything, one after another."""
    return "".join(rng.choices(_PIECES, k=rng.randint(0, 5)))


def _plan(rng: random.Random) -> str:
    """Return a plan with something odd in it."""
    steps = [dict(step) for step in rng.choices(_PLAN, k=rng.randint(0, 12))]
    for step in rng.sample(steps, min(len(steps), rng.randint(0, 2))):
        step[rng.choice(("task", "needs", "more"))] = rng.choice(_ODD)
    whole = rng.choice(({"steps": steps}, {"steps": rng.choice(_ODD)}, steps, rng.choice(_ODD)))
    written = json.dumps(whole)
    at = rng.randint(0, len(written))
    return written if rng.random() < 0.7 else written[:at] + _text(rng) + written[at:]


def test_any_text_is_a_plan_or_none(cases: Cases) -> None:
    """Steps need earlier ones only, fit in a table, and stay within the limits."""
    for name, rng in cases(300):
        text = rng.choice((_plan, _text))(rng)
        steps = read_plan(text, "How old are they?")
        assert len(steps) != 1, name
        limited = within(steps, SolveLimits(steps=4, depth=2)) if steps else ()
        for some in (steps, limited):
            assert all(0 <= need < i for i, step in enumerate(some) for need in step.needs), name
            pa.array([step.task for step in some], pa.string())
        assert len(limited) <= 4, name


def test_any_text_of_json_is_finite_or_refused(cases: Cases) -> None:
    """What is read can be written as JSON in UTF-8 again; all else is a ValueError."""
    for name, rng in cases(300):
        try:
            value = parse_json(rng.choice((_plan, _text))(rng))
        except ValueError:
            continue
        assert json.dumps(value, allow_nan=False, ensure_ascii=False).encode(), name


def test_any_text_is_scored_and_compared(cases: Cases) -> None:
    """Scores are between 0 and 1, whatever is right; a question is one line or none; parts are of the text."""
    for name, rng in cases(150):
        text, right = _text(rng), rng.choice(("Paris", "12", "B", "yes", ";", "Paris; Rome", "²", _text(rng)))
        for check in _CHECKS:
            assert 0 <= score(text, right, check) <= 1, name
        question = parse_question(text)
        assert question is None or question in " ".join(text.split("\n")) or question in text, name
        parts = split(text)
        assert parts is None or 1 < len(parts.steps) <= 99, name
        answers = [Answer("q", "What?", expert, _text(rng)) for expert in "abc"]
        scores = consensus(answers, {"a": 0.5, "b": rng.choice((0.0, 1.0))})
        assert np.isnan(scores).all() or set(scores) <= {0.0, 1.0}, name


def test_any_text_gives_a_letter_or_none(cases: Cases) -> None:
    """MMLU reads a letter of the choices off whatever was written."""
    for name, rng in cases(40):
        texts = [_text(rng).encode("utf-8", "replace").decode() for _ in range(20)]
        answered = pa.table(
            {"answer": texts, "ask": [0] * 20, "choices": [["x", "y"]] * 20, "gold": ["A"] * 20},
        )
        scored = _score_answers(answered)
        assert set(scored["score"].to_pylist()) <= {0.0, 1.0}, name
        assert all(letter is None or len(letter) == 1 for letter in scored["letter"].to_pylist()), name


def test_any_logarithms_are_probabilities(cases: Cases) -> None:
    """A judge's chances sum to 1, and so does every row that is corrected; nothing is NaN."""
    numbers = (0.0, -1.0, -1000.0, -1e308, -math.inf, math.inf, math.nan, 5.0)
    for name, rng in cases(300):
        k = rng.randint(1, 5)
        rows = [rng.choice((None, rng.choices(numbers, k=k), rng.choices(numbers, k=k + 1))) for _ in range(30)]
        given = probabilities(rows, k)
        assert np.isin(given.sum(axis=1).round(9), (0, 1)).all(), name
        assert np.allclose(calibrate_choices(given[given.sum(axis=1) > 0]).sum(axis=1), 1), name
        choices = [str(i) for i in range(k)]
        for row in rows[:5]:
            chances = _chances(choices, rng.choice(choices), row)
            assert math.isclose(chances.sum(), 1), name
