"""Surface: what a question shows without being understood - its length, its form, its options, its signs.

It costs microseconds, and tells of difficulty what sentence encoders, made to see topics, leave out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from leeroo.engine.orchestrator.heads import Float32s

# The end of a text of megabytes tells no more of it.
_MAX_CHARACTERS = 20_000

_OPTION = re.compile(r"\n\(?[A-Z][.):] ")
_IN_STEM = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"\b(?:not|except|least|false|incorrect)\b",
        r"\bstatement 1\b",
        r"^which\b",
        r"^what\b",
        r"\b(?:why|how)\b",
        r"\b(?:if|suppose|let)\b",
        r"_",
        r"\?\s*$",
        r":\s*$",
    )
]
_SHOUTED = re.compile(r"\b(?:NOT|EXCEPT)\b")
_ROMAN = re.compile(r"\b(?:I|II|III|IV)\b")
_ANYWHERE = [re.compile(pattern, re.IGNORECASE) for pattern in (r"\bof the above\b", r"\b(?:true|false)\b")]
_DIGIT = re.compile(r"[0-9]")
_FORMULA = re.compile(r"[-+*/=^\\{}<>]")
_UPPER = re.compile(r"[A-Z]")
_BEYOND_ASCII = re.compile(r"[^\x00-\x7f]")
_TERSE = re.compile(r"[\s\d.,$%()a-zA-Z/-]{0,12}")


def surface(texts: Sequence[str]) -> Float32s:
    """Thirty numbers of each text, [n, 30], most of them between 0 and 10.

    Multiple choice is told by lines that begin with a capital letter and a full stop, colon or bracket.
    """
    return np.array([_surface(text[:_MAX_CHARACTERS]) for text in texts], np.float32).reshape(-1, 30)


def _surface(text: str) -> list[float]:
    stem, *options = _OPTION.split(text)
    lengths = [len(option) for option in options] or [0]
    words = [word for option in options for word in option.split()]
    stem_words = stem.split()
    return [
        *(float(np.log1p(size)) for size in (len(text), len(stem), sum(lengths) / len(lengths))),
        *(float(np.log1p(size)) for size in (max(lengths), min(lengths))),
        len(options),
        float(np.log1p(len(_DIGIT.findall(stem)))),
        float(np.log1p(sum(len(_DIGIT.findall(option)) for option in options))),
        *(len(signs.findall(text)) / max(len(text), 1) for signs in (_FORMULA, _UPPER, _BEYOND_ASCII)),
        *(pattern.search(stem) is not None for pattern in _IN_STEM),
        _SHOUTED.search(stem) is not None,
        _ROMAN.search(stem) is not None,
        *(pattern.search(text) is not None for pattern in _ANYWHERE),
        all(_TERSE.fullmatch(option) for option in options),
        len(set(words)) / max(len(words), 1),
        float(np.log1p(stem.count("\n"))),
        float(np.log1p(sum(map(len, stem_words)) / max(len(stem_words), 1))),
        float(np.log1p(stem.count("."))),
        bool(options),
    ]
