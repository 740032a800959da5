"""Numbers of a question's text: its length, form, options and characters, without understanding it.

They cost microseconds. They say something of difficulty that sentence encoders, which are trained on topics, leave out.
Texts in ASCII are read together, in columns of Arrow and NumPy; others one by one, as Unicode has other words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.arrays import Bools, Float32s, Float64s, Int64s

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

# The blanks of Python in ASCII; those of Arrow's expressions are fewer.
_BLANKS = bytes(byte for byte in range(128) if chr(byte).isspace())
_BLANK = r"\t-\r\x1c-\x1f "
_TERSE_ALONE = rf"\A[{_BLANK}0-9.,$%()a-zA-Z/-]{{0,12}}\z"


def _fields(*classes: bytes) -> npt.NDArray[np.uint64]:
    """Return a number for each byte, uint64 [256], with a field of 16 bits for each class, 1 where the byte is in it.

    Sums over a text count all classes at once: no text is as long as a field is wide.
    """
    fields = np.zeros(256, np.uint64)
    for i, each in enumerate(classes):
        fields[list(each)] += np.uint64(1 << (16 * i))
    return fields


_OF_TEXT = _fields(_DIGITS, _SIGNS, _CAPITALS)
_OF_STEM = _fields(_DIGITS, b".", b"\n", b"_")
_IS_BLANK = np.isin(np.arange(256), list(_BLANKS))


def text_features(texts: Sequence[str]) -> Float32s:
    """Return thirty numbers for each text, [n, 30], most of them between 0 and 10.

    Options of a multiple choice are lines that begin with a capital letter and a full stop, colon or bracket.
    """
    beginnings = [text[:_MAX_CHARACTERS] for text in texts]
    plain = np.fromiter(map(str.isascii, beginnings), bool, len(beginnings))
    numbers = np.empty((len(beginnings), TEXT_FEATURES))
    if plain.any():
        numbers[plain] = _in_columns(pa.array([text for text in beginnings if text.isascii()], pa.string()))
    for i in np.flatnonzero(~plain):
        numbers[i] = _features_of(beginnings[i])
    numbers[:, _SIZES] = np.log1p(numbers[:, _SIZES])
    return numbers.astype(np.float32)


def _in_columns(texts: pa.StringArray) -> Float64s:
    """Return what `_features_of` does for each of one or more texts in ASCII, [n, 30]."""
    parts = pc.split_pattern_regex(texts, _OPTION.pattern)
    starts = parts.offsets.to_numpy()
    stems = parts.values.take(pa.array(starts[:-1]))
    bytes_of, bounds = _bytes_of(texts)
    stem_bytes, stem_bounds = _bytes_of(stems)
    digits, signs, capitals, _ = _count(_OF_TEXT[bytes_of], bounds)
    stem_digits, stops, newlines, underscores = _count(_OF_STEM[stem_bytes], stem_bounds)
    characters, words, ends = _words_of(stem_bytes, stem_bounds)
    lengths, shares = np.diff(bounds), np.maximum(np.diff(bounds), 1)
    size, longest, shortest, terse, variety = _options_in_columns(parts)
    return np.column_stack(
        [
            lengths,
            np.diff(stem_bounds),
            size,
            longest,
            shortest,
            np.diff(starts) - 1,
            stem_digits,
            digits - stem_digits,
            signs / shares,
            capitals / shares,
            np.zeros(len(texts)),
            _say(stems, _NEGATIONS),
            _match(stems, _STATEMENT.pattern),
            _match(stems, r"\Awhich\b"),
            _match(stems, r"\Awhat\b"),
            _say(stems, _REASONS),
            _say(stems, _SUPPOSITIONS),
            underscores > 0,
            ends == ord("?"),
            ends == ord(":"),
            _match(stems, _SHOUTED.pattern, ignore_case=False),
            _match(stems, _ROMAN.pattern, ignore_case=False),
            _match(texts, _ABOVE.pattern),
            _say(texts, _TRUTHS),
            terse,
            variety,
            newlines,
            characters / np.maximum(words, 1),
            stops,
            np.diff(starts) > 1,
        ]
    ).astype(np.float64, copy=False)


def _bytes_of(texts: pa.StringArray) -> tuple[npt.NDArray[np.uint8], Int64s]:
    """Return the bytes of all texts one after another, and where each begins, the end too [n + 1]."""
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    return np.frombuffer(data or b"", np.uint8)[bounds[0] : bounds[-1]], bounds - bounds[0]


def _count(counts: npt.NDArray[np.uint64], bounds: Int64s) -> list[Int64s]:
    """Add up the four fields of each byte's counts between bounds [n + 1]; return [n] of each field."""
    # A sum beyond 64 bits wraps around, and so does its difference.
    sums = np.diff(np.concatenate([[np.uint64(0)], np.cumsum(counts)])[bounds])
    return [(sums >> np.uint64(16 * i) & np.uint64(0xFFFF)).astype(np.int64) for i in range(4)]


def _words_of(stem_bytes: npt.NDArray[np.uint8], bounds: Int64s) -> tuple[Int64s, Int64s, Int64s]:
    """Return how many characters the words of each stem have, how many they are, and the last character, or 0; [n]."""
    dark = ~_IS_BLANK[stem_bytes]
    begins = dark.copy()
    begins[1:] &= ~dark[:-1]
    first = bounds[:-1][np.diff(bounds) > 0]
    begins[first] = dark[first]
    at = np.flatnonzero(dark)
    ending = np.searchsorted(at, bounds)
    characters = np.diff(ending)
    words = np.diff(np.searchsorted(np.flatnonzero(begins), bounds))
    ends = np.zeros(len(characters), np.int64)
    some = characters > 0
    ends[some] = stem_bytes[at[ending[1:][some] - 1]]
    return characters, words, ends


def _options_in_columns(parts: pa.ListArray) -> tuple[Float64s, Int64s, Int64s, Bools, Float64s]:
    """Return mean, greatest and least length of options, if all are terse, and the share of distinct words; [n]."""
    n = len(parts)
    size, variety = np.zeros(n), np.zeros(n)
    longest, shortest, terse = np.zeros(n, np.int64), np.zeros(n, np.int64), np.ones(n, bool)
    starts = parts.offsets.to_numpy()
    some = np.flatnonzero(np.diff(starts) > 1)
    if not len(some):
        return size, longest, shortest, terse, variety
    is_option = np.ones(len(parts.values), bool)
    is_option[starts[:-1]] = False
    options = parts.values.filter(pa.array(is_option))
    row = np.repeat(np.arange(n), np.diff(starts) - 1)
    lengths = np.diff(_bytes_of(options)[1])
    first = np.searchsorted(row, some)
    size[some] = np.add.reduceat(lengths, first) / (np.diff(starts)[some] - 1)
    longest[some], shortest[some] = np.maximum.reduceat(lengths, first), np.minimum.reduceat(lengths, first)
    terse[some] = np.logical_and.reduceat(_match(options, _TERSE_ALONE, ignore_case=False), first)
    # Arrow knows all of Python's blanks but four separators of ASCII.
    words = pc.ascii_split_whitespace(pc.replace_substring_regex(options, r"[\x1c-\x1f]", " "))
    word_row = np.repeat(row, np.diff(words.offsets.to_numpy()))
    # A blank at either end leaves an empty text, which is no word.
    spoken = pc.binary_length(words.values).to_numpy() > 0
    number = words.values.dictionary_encode().indices.to_numpy().astype(np.int64)
    distinct = np.unique((word_row * len(number) + number)[spoken]) // max(len(number), 1)
    variety = np.bincount(distinct, minlength=n) / np.maximum(np.bincount(word_row[spoken], minlength=n), 1)
    return size, longest, shortest, terse, variety


def _say(texts: pa.StringArray, words: set[str]) -> Bools:
    """Return whether each text has one of these words."""
    return _match(texts, rf"\b(?:{'|'.join(sorted(words))})\b")


def _match(texts: pa.StringArray, pattern: str, *, ignore_case: bool = True) -> Bools:
    """Return whether a pattern occurs in each text."""
    found: Bools = pc.match_substring_regex(texts, pattern, ignore_case=ignore_case).to_numpy(zero_copy_only=False)
    return found


def _features_of(text: str) -> list[float]:
    """Return the numbers of one text, sizes without their logarithm."""
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
        _occur(raw, _DIGITS) - digits,
        digits,
        _occur(raw, _SIGNS) / characters,
        _occur(raw, _CAPITALS) / characters,
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
    digits = sum(_occur(option.encode("utf-8", "replace"), _DIGITS) for option in options)
    terse = all(_TERSE.fullmatch(option) for option in options)
    variety = len(set(words)) / (len(words) or 1)
    return sum(lengths) / len(lengths), max(lengths), min(lengths), digits, terse, variety


def _occur(raw: bytes, signs: bytes) -> int:
    return len(raw) - len(raw.translate(None, signs))
