"""Compare answers: which of them say the same, and which agree with a known right answer.

Answers can be compared that are one of some choices, a letter of an option, a number, a few words, or JSON with the
same fields. To an open question, a sentence says the same as a short answer that it names. Knows nothing of experts.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence

from leeroo.engine.jobs.learn.truth import EMPTY
from leeroo.engine.jobs.verify import check_for, final_answer, score, simplify
from leeroo.engine.model_json import parse_json

# Most words of an answer whose wording can be compared.
_SHORT_WORDS = 8
# Different short answers that a question of its own may have; and a table has at most, for them to be its labels.
OPEN_OPTIONS, _MOST_LABELS = 50, 20
# Rows to each label at least.
_ROWS_OF_LABEL = 3
# The part of the answers that must be comparable.
_ENOUGH = 0.6
# An expert leans to a letter that it gives in this part of so many answers at least, with as many options at least.
_LEANS, _LEANS_FROM, _LETTERS = 0.6, 20, 3
_OPTION = re.compile(r"(?m)^\s*\(?([A-P])[.):]\s")
_LETTER = re.compile(r"\(?([A-P])\)?(?:[.):,\s]|$)")
_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?")
_SYMBOLS = "$€£% .°"
# The words of answers that gold says are right: no answer has them.
_RIGHT = "\0"
# Words of a sentence that say nothing about what it names, and words that deny it.
_FREQUENT = re.compile("a|an|and|are|as|be|been|by|called|for|in|is|it|its|of|on|s|that|the|there|this|to|was|were")
_DENIES = re.compile("aren|cannot|except|isn|neither|never|no|non|nor|not|unlike|wasn|without")
# What may stand before a short answer without changing it.
_BEFORE = re.compile(r"^(?:(?:the|an?|it is|its|it s) )+")


def options_of(question: str, choices: Sequence[str] | None) -> int:
    """Return how many answers a question offers, as choices or as lettered options; 0 for an open one."""
    if choices:
        return len(choices)
    letters = list(dict.fromkeys(_OPTION.findall(question)))
    return len(letters) if len(letters) > 1 and letters == [chr(ord("A") + i) for i in range(len(letters))] else 0


def key_of(answer: str | None, options: int, choices: Sequence[str] | None = None) -> str | None:
    """Return a text that is the same for answers that say the same; None for one that cannot be compared.

    >>> key_of("The answer is (B).", 4), key_of("It is $1,200.00", 0), key_of('{"b": 1, "a": 2}', 0)
    ('B', '1200', '{"a": 2, "b": 1}')
    """
    if answer is None or not answer.strip():
        return None
    if choices:
        return answer if answer in choices else _among(answer, choices)
    said = final_answer(answer).strip()
    if options:
        return _letter(said, options)
    if (value := _json(answer)) is not None:
        return value
    if (number := _number(said)) is not None:
        return number
    words = simplify(said)
    return words if words and len(words.split()) <= _SHORT_WORDS else None


class AnswerNumbers:
    """Numbers of the different answers to each question, from 0 on. All that gold says are right have the same.

    Args:
        questions: [n], their texts.
        options: [n], how many answers each offers; 0 for an open one.
        choices: [n], the answers to choose from, if any.
        gold: [n], right answers where they are known.

    """

    def __init__(
        self,
        questions: Sequence[str],
        options: Sequence[int],
        choices: Sequence[Sequence[str] | None],
        gold: Sequence[str | None],
    ) -> None:
        self._questions, self._options, self._choices, self._gold = questions, options, choices, gold
        self._known: list[dict[str, int]] = [{} for _ in questions]

    def number(self, q: int, answer: str | None) -> int:
        """Return the number of an answer to question q; `EMPTY` where nothing in it can be right."""
        known, words = self._known[q], self._words(q, answer)
        if words is None:
            return EMPTY
        if words not in known:
            same = {number for other, number in known.items() if self._same(q, words, other)}
            known[words] = same.pop() if len(same) == 1 else max(known.values(), default=-1) + 1
        return known[words]

    def right(self, q: int) -> int:
        """Return the number of the right answers to question q, by gold; `EMPTY` where nobody gave one."""
        return self._known[q].get(_RIGHT, EMPTY)

    def _words(self, q: int, answer: str | None) -> str | None:
        gold, choices = self._gold[q], self._choices[q]
        if answer is not None and gold is not None and is_right(answer, gold, choices):
            return _RIGHT
        key = key_of(answer, self._options[q], choices)
        if key is None and answer is not None and not self._options[q]:
            return simplify(final_answer(answer)) or None
        return key

    def _same(self, q: int, one: str, other: str) -> bool:
        compared = not self._options[q] and _RIGHT not in (one, other)
        return compared and says_same(one, other, self._questions[q])


def says_same(one: str, other: str, question: str) -> bool:
    """Return whether one of two answers to an open question names the other.

    The other words of a short one must be frequent or the question's. A sentence may repeat what the question offers,
    so what it says of that must begin it. The same holds for yes and no.

    Args:
        one: Words without punctuation.
        other: Likewise.
        question: As its author wrote it.

    >>> says_same("the capital of france is paris", "paris", "What is the capital of France?")
    True
    >>> says_same("an elephant is bigger than a mouse", "mouse", "Which is bigger, an elephant or a mouse?")
    False
    """
    short, long = sorted((_BEFORE.sub("", one), _BEFORE.sub("", other)), key=len)
    if f" {short} " not in f" {long} ":
        return False
    asked = simplify(question).split()
    if short in ("yes", "no") or f" {short} " in f" {' '.join(asked)} ":
        return f"{long} ".startswith(f"{short} ")
    beside = [word for word in long.split() if word not in short.split()]
    if len(long.split()) > _SHORT_WORDS:
        return not any(_DENIES.fullmatch(word) for word in beside)
    return all(word in asked or _FREQUENT.fullmatch(word) for word in beside)


def is_right(answer: str, gold: str, choices: Sequence[str] | None = None) -> bool:
    """Return whether an answer agrees with a right one: a choice, a letter, a number, JSON, or words it must name."""
    if choices and gold in choices:
        return key_of(answer, len(choices), choices) == gold
    if (wanted := _json(gold)) is not None:
        return _json(answer) == wanted
    return score(answer, gold, check_for(gold), choices or ()) >= 1


def comparable(there: Sequence[bool]) -> bool:
    """Return whether so many answers can be compared that their agreement says something."""
    return bool(there) and sum(there) >= _ENOUGH * len(there)


def open_options(keys: Sequence[str | None]) -> int:
    """Return how many different answers an open question may have: those of the table, where these are labels."""
    given = [key for key in keys if key is not None]
    different = len(set(given))
    is_label = 2 <= different <= _MOST_LABELS and len(given) >= _ROWS_OF_LABEL * different
    return different if is_label else OPEN_OPTIONS


def leaning(answers: Sequence[str | None], options: Sequence[int]) -> tuple[str, float] | None:
    """Return the letter that most of one expert's answers give, and their share; None where no letter is so frequent.

    Right answers stand behind all letters alike, so who gives one of them to most questions does not read them.

    Args:
        answers: [n], to questions with lettered options.
        options: [n], how many there are.

    """
    pairs = [(answer, own) for answer, own in zip(answers, options, strict=True) if own >= _LETTERS]
    letters = Counter(filter(None, (key_of(answer, own) for answer, own in pairs)))
    if letters.total() < _LEANS_FROM:
        return None
    [(letter, often)] = letters.most_common(1)
    share = often / letters.total()
    return (letter, share) if share >= _LEANS else None


def _among(answer: str, choices: Sequence[str]) -> str | None:
    said = simplify(final_answer(answer))
    found = [choice for choice in choices if simplify(choice) == said]
    return found[0] if len(found) == 1 else None


def _letter(said: str, options: int) -> str | None:
    bare = said.strip(" *_`\"'([{")
    found = _LETTER.match(bare) or next(iter(re.finditer(r"\b([A-P])\b", said)), None)
    return found[1] if found and ord(found[1]) - ord("A") < options else None


def _number(said: str) -> str | None:
    """Return the number that an answer is, or that stands alone in a short sentence, in one spelling."""
    bare = said.strip(_SYMBOLS)
    found = _NUMBER.fullmatch(bare)
    if found is None and len(said.split()) <= _SHORT_WORDS:
        numbers = list(_NUMBER.finditer(said))
        found = numbers[0] if len(numbers) == 1 else None
    if found is None:
        return None
    value = float(found[0].replace(",", "").rstrip("."))
    return f"{value:.10g}"


def _json(text: str) -> str | None:
    """Return a JSON object or list in one spelling; None for anything else."""
    if not text.strip().startswith(("{", "[")):
        return None
    try:
        return json.dumps(parse_json(text.strip()), sort_keys=True, ensure_ascii=False)
    except ValueError:
        return None
