"""Numbers of a question's text: its length, form, options and characters, without understanding it.

They cost microseconds. They say something of difficulty that sentence encoders, which are trained on topics, leave out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from leeroo.engine.arrays import Float32s

# How many numbers there are for a text.
TEXT_FEATURES = 30
# Longer texts are cut: the end of a text of megabytes adds nothing.
_MAX_CHARACTERS = 20_000

_OPTION = re.compile(r"\n\(?[A-Z][.):] ")
_WORD = re.compile(r"\w+")
_NEGATIONS = {"not", "except", "least", "false", "incorrect"}
_REASONS, _SUPPOSITIONS, _TRUTHS = {"why", "how"}, {"if", "suppose", "let"}, {"true", "false"}
_STATEMENT, _ABOVE = re.compile(r"\bstatement 1\b"), re.compile(r"\bof the above\b")
_SHOUTED = re.compile(r"\b(?:NOT|EXCEPT)\b")
_ROMAN = re.compile(r"\b(?:I|II|III|IV)\b")
_DIGITS, _SIGNS, _CAPITALS = b"0123456789", b"-+*/=^\\{}<>", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TERSE = re.compile(r"[\s\d.,$%()a-zA-Z/-]{0,12}")
# Columns of sizes; their logarithm is taken.
_SIZES = (0, 1, 2, 3, 4, 6, 7, 26, 27, 28)


def text_features(texts: Sequence[str]) -> Float32s:
    """Return thirty numbers for each text, [n, 30], most of them between 0 and 10.

    Options of a multiple choice are lines that begin with a capital letter and a full stop, colon or bracket.
    """
    numbers = np.array([_features_of(text[:_MAX_CHARACTERS]) for text in texts], np.float64).reshape(-1, TEXT_FEATURES)
    numbers[:, _SIZES] = np.log1p(numbers[:, _SIZES])
    return numbers.astype(np.float32)


def _features_of(text: str) -> list[float]:
    stem, *options = _OPTION.split(text) if "\n" in text else [text]
    stem_words = stem.split()
    lower, end = stem.lower(), stem.rstrip()[-1:]
    spoken = _WORD.findall(lower)
    said = set(spoken)
    first = spoken[0] if spoken and lower.startswith(spoken[0]) else ""
    negated = not said.isdisjoint(_NEGATIONS)
    everything = text.lower() if options else lower
    raw = text.encode("utf-8", "replace")
    characters = len(text) or 1
    size, longest, shortest, digits, terse, variety = _of_options(options)
    return [
        len(text),
        len(stem),
        size,
        longest,
        shortest,
        len(options),
        _count(raw, _DIGITS) - digits,
        digits,
        _count(raw, _SIGNS) / characters,
        _count(raw, _CAPITALS) / characters,
        0.0 if text.isascii() else sum(character > "\x7f" for character in text) / characters,
        negated,
        "statement 1" in lower and _STATEMENT.search(lower) is not None,
        first == "which",
        first == "what",
        not said.isdisjoint(_REASONS),
        not said.isdisjoint(_SUPPOSITIONS),
        "_" in stem,
        end == "?",
        end == ":",
        negated and _SHOUTED.search(stem) is not None,
        "I" in stem and _ROMAN.search(stem) is not None,
        "of the above" in everything and _ABOVE.search(everything) is not None,
        not _TRUTHS.isdisjoint(_WORD.findall(everything) if options else said),
        terse,
        variety,
        stem.count("\n"),
        sum(map(len, stem_words)) / (len(stem_words) or 1),
        stem.count("."),
        bool(options),
    ]


def _of_options(options: list[str]) -> tuple[float, int, int, int, bool, float]:
    """Return mean, greatest and least length, digits, if all are terse, and the share of distinct words."""
    if not options:
        return 0.0, 0, 0, 0, True, 0.0
    lengths = [len(option) for option in options]
    words = [word for option in options for word in option.split()]
    digits = sum(_count(option.encode("utf-8", "replace"), _DIGITS) for option in options)
    terse = all(_TERSE.fullmatch(option) for option in options)
    variety = len(set(words)) / (len(words) or 1)
    return sum(lengths) / len(lengths), max(lengths), min(lengths), digits, terse, variety


def _count(raw: bytes, signs: bytes) -> int:
    return len(raw) - len(raw.translate(None, signs))
