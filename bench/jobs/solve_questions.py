"""Generated questions in several parts, each part with its right answer; some questions are simple.

The right answer to a part is computed, from the answers to the parts that it needs. Three of ten questions are prose
that does not say its parts, for which a plan is to be made; two of ten have one part only.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from leeroo.engine.jobs.selfplay.families import FAMILIES
from leeroo.engine.jobs.verify import Check

Value = Callable[[Sequence[str]], str]


@dataclass(frozen=True)
class Part:
    """A task, the parts whose answers it needs, and its right answer, computed from these."""

    task: str
    needs: tuple[int, ...]
    value: Value
    check: Check
    level: int
    choices: tuple[str, ...] = ()


@dataclass(frozen=True)
class Question:
    """A question and its parts; its kind says whether the text names them."""

    kind: str  # 'simple', 'marked', 'in turn' or 'prose'
    text: str
    parts: tuple[Part, ...]

    def right(self) -> list[str]:
        """Return the right answer of each part."""
        found: list[str] = []
        for part in self.parts:
            found.append(part.value([found[need] for need in part.needs]))
        return found


def questions(n: int, seed: int) -> list[Question]:
    """Return n different questions, the same for the same seed."""
    rng = random.Random(seed)
    kinds = ["simple"] * (n // 5) + ["prose"] * (3 * n // 10)
    kinds += ["marked", "in turn"] * n
    makers = {"simple": _simple, "prose": _prose, "marked": _marked, "in turn": _in_turn}
    made: dict[str, Question] = {}
    for kind in kinds[:n]:
        while (question := makers[kind](rng)).text in made:
            pass
        made[question.text] = question
    found = list(made.values())
    rng.shuffle(found)
    return found


def _single(rng: random.Random, families: Sequence[str], level: int) -> Part:
    made = FAMILIES[rng.choice(families)](rng, level)
    return Part(made.question, (), lambda _: made.answer, made.check, level, made.choices)


def _simple(rng: random.Random) -> Question:
    part = _single(rng, ("arithmetic", "units", "dates", "words", "tables"), rng.choice((1, 2, 3)))
    return Question("simple", part.task, (part,))


# What is done with a number that was found before: how it is asked, what comes of it, and how hard it is.
_OPERATIONS: tuple[tuple[str, Callable[[float, int], float], int], ...] = (
    ("Add {k} to {it}.", lambda x, k: x + k, 1),
    ("Subtract {k} from {it}.", lambda x, k: x - k, 1),
    ("Double {it}.", lambda x, _: 2 * x, 1),
    ("Multiply {it} by {k}.", lambda x, k: x * k, 2),
    ("What is {it} times {k} plus 7?", lambda x, k: x * k + 7, 2),
    ("What is {it} times {it} minus {k}?", lambda x, k: x * x - k, 3),
)


def _operation(rng: random.Random, it: str, need: int) -> Part:
    if rng.random() < 0.2:
        return Part(f"Is {it} even or odd?", (need,), _parity, "exact", 1, ("even", "odd"))
    form, act, level = rng.choice(_OPERATIONS)
    k = rng.randint(3, 19)
    return Part(form.format(k=k, it=it), (need,), _after(act, k), "numeric", level)


def _after(act: Callable[[float, int], float], k: int) -> Value:
    return lambda known: _text(act(_number(known[0]), k))


def _parity(known: Sequence[str]) -> str:
    return "odd" if int(_number(known[0])) % 2 else "even"


def _number(text: str) -> float:
    """Read a number; return 0 for other text, so that all later parts are wrong."""
    try:
        return float(text)
    except ValueError:
        return 0.0


def _text(value: float) -> str:
    return f"{value:.10g}"


def _chain(rng: random.Random, n: int, refer: Callable[[int], str]) -> list[Part]:
    """Return parts that each use an earlier number, or none."""
    parts = [_single(rng, ("arithmetic", "units"), rng.choice((1, 2, 3)))]
    while len(parts) < n:
        numbers = [i for i, part in enumerate(parts) if part.check == "numeric"]
        if rng.random() < 0.3:
            parts.append(_single(rng, ("words", "dates"), rng.choice((1, 2, 3))))
        else:
            need = numbers[-1]
            parts.append(_operation(rng, refer(need), need))
    return parts


def _marked(rng: random.Random) -> Question:
    marks, shown = rng.choice([("ABCD", "{}. "), ("abcd", "({}) "), ("1234", "{}. ")])
    parts = _chain(rng, rng.randint(2, 4), lambda i: f"the result of {_shown(marks[i])}")
    between = rng.choice((" ", "\n"))
    text = between.join(shown.format(mark) + part.task for mark, part in zip(marks, parts, strict=False))
    return Question("marked", text, tuple(parts))


def _shown(mark: str) -> str:
    return {"a": "(a)", "b": "(b)", "c": "(c)"}.get(mark, mark if mark.isupper() else f"question {mark}")


def _in_turn(rng: random.Random) -> Question:
    parts = [_single(rng, ("arithmetic", "units"), rng.choice((1, 2, 3)))]
    for word in ("Then", "Finally,")[: rng.randint(1, 2)]:
        part = _operation(rng, "the result", len(parts) - 1)
        if parts[-1].check != "numeric":
            break
        parts.append(replace(part, task=f"{word} {part.task[0].lower()}{part.task[1:]}"))
    return Question("in turn", " ".join(part.task for part in parts), tuple(parts))


_NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Farid")
_GOODS = ("apples", "pencils", "tickets", "stamps", "cards", "eggs")
# What happens to the things that somebody has: in the story, as a step of its own, and what comes of it.
_EVENTS: tuple[tuple[str, str, Callable[[float, int], float], int], ...] = (
    ("buys {k} more {things} at the market", "Add {k} to the result.", lambda x, k: x + k, 1),
    ("gives {k} of the {things} to a friend", "Subtract {k} from the result.", lambda x, k: x - k, 1),
    ("gets as many {things} again from a neighbour", "Double the result.", lambda x, _: 2 * x, 1),
    ("swaps every one of them for {k} smaller ones", "Multiply the result by {k}.", lambda x, k: x * k, 2),
)


def _prose(rng: random.Random) -> Question:
    """Return a story whose steps a plan has to find; only the last is scored."""
    who, things, boxes, each = rng.choice(_NAMES), rng.choice(_GOODS), rng.randint(4, 9), rng.randint(11, 19)
    first = Part(f"What is {boxes} times {each}?", (), lambda _: _text(boxes * each), "numeric", 2)
    clauses, parts = [], [first]
    for form, task, act, level in rng.sample(_EVENTS, rng.randint(2, 3)):
        k = rng.randint(3, 9)
        clauses.append(form.format(k=k, things=things))
        parts.append(Part(task.format(k=k), (len(parts) - 1,), _after(act, k), "numeric", level))
    words = ("First", "then", "and finally") if len(clauses) == 3 else ("First", "and then")
    events = ", ".join(f"{word} {who} {event}" for word, event in zip(words, clauses, strict=True))
    text = (
        f"{who} has {boxes} boxes with {each} {things} in each. {events}. How many {things} does {who} have in the end?"
    )
    return Question("prose", text, tuple(parts))
