"""Verify: score answers that can be compared with a right one. Code runs in a sandbox only, see `sandbox`.

Texts come from models and users, so the time grows in proportion to their length. Knows nothing of experts.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from leeroo.engine.jobs.sandbox import run_code

Check = Literal["exact", "numeric", "choice", "code"]

# Two numbers are equal up to this part of them.
_CLOSE = 1e-6
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:[eE][-+]?\d+)?")
_FENCED = re.compile(r"```(?:python|py)?[^\S\n]*\n(.*?)```", re.DOTALL)
# The answer follows the last of these, after how it was found; "206 is the answer" announces none.
_ANSWER = re.compile(r"(?i)\banswer\b(?:\s+is\b\s*:?|\W{0,3}[:=])")
_SENTENCE = re.compile(r"\n+|(?<=[.!?])\s+")
_STARTS, _GOES_ON = re.compile(r"(?<![a-z0-9.])"), re.compile(r"[a-z0-9]")
# Characters of an answer, from its end, that are looked at.
_COMPARED = 2**16


def score(answer: str | None, right: str, check: Check, choices: Sequence[str] = ()) -> float:
    """Return 1 where an answer is right, else 0; for code the share of its unit tests that pass.

    Args:
        answer: As an expert gave it; only the text after the last "Answer:" or "the answer is" counts, if any.
        right: A number, the letter of a choice, texts of which one must be in the answer with ';' between, or for code
            a JSON object of the name of the `function` and `cases`, a list of pairs of its arguments and its result.
        check: How they are compared.
        choices: The answers that the question names, if any: to name them all is no answer then.

    """
    if answer is None:
        return 0.0
    answer = answer[-_COMPARED:]
    if check == "code":
        return _share_passed(answer, right)
    said = final_answer(answer)
    if check == "numeric":
        found, wanted = _number(said), _number(right)
        return float(found is not None and wanted is not None and abs(found - wanted) <= _CLOSE * max(1, abs(wanted)))
    if check == "choice":
        letters = re.findall(r"\b([A-Z])\b", said)
        return float(bool(letters) and letters[0] == right.strip())
    return float(says(said, right, choices))


def check_for(right: str) -> Check:
    """Return the check for a right answer, by its form: a number, a letter from A to J, or text."""
    if _NUMBER.fullmatch(right.strip()):
        return "numeric"
    return "choice" if re.fullmatch("[A-J]", right.strip()) else "exact"


def says(text: str, right: str, choices: Sequence[str] = ()) -> bool:
    """Say if a text names one of the right answers, which have ';' between them.

    For yes and no, the last one counts. For choices, the subject of the last sentence that names any of them counts
    ("Bob is taller than Ann"), or else the one it names last.
    """
    allowed = [one for one in map(simplify, right.split(";")) if one]
    if not allowed:  # nothing but punctuation
        return right.strip() in text
    if allowed[0] in ("yes", "no"):
        verdicts = _find_texts(simplify(text), ("yes", "no"))
        return verdicts[-1:] == [allowed[0]]
    if choices:
        return _find_choice(text, [simplify(choice) for choice in choices]) in allowed
    return bool(_find_texts(simplify(text), allowed))


def final_answer(answer: str) -> str:
    """Return the text after the last announcement of an answer; the whole without one."""
    parts = [part for part in _ANSWER.split(answer) if re.search(r"\w", part)]
    return parts[-1] if parts else answer


def _find_choice(text: str, choices: Sequence[str]) -> str | None:
    sentences = [simplify(sentence) for sentence in _SENTENCE.split(text)]
    for sentence in reversed(sentences):
        found = _find_texts(sentence, choices)
        if found:
            about = re.match(rf"(?:the )?{re.escape(found[0])} (?:is|was|are|were|has|have|comes?|costs?)\b", sentence)
            return found[0] if about else found[-1]
    return None


def _find_texts(sentence: str, texts: Sequence[str]) -> list[str]:
    """Find texts that a sentence has as whole words, in their order there, the longest first."""
    of_length: defaultdict[int, set[str]] = defaultdict(set)
    for text in filter(None, texts):
        of_length[len(text)].add(text)
    lengths = sorted(of_length, reverse=True)
    found, end = list[str](), 0
    for at in (match.start() for match in _STARTS.finditer(sentence)):
        if at >= end:
            here = (sentence[at : at + n] for n in lengths if sentence[at : at + n] in of_length[n])
            word = next((text for text in here if not _GOES_ON.match(sentence, at + len(text))), None)
            if word is not None:
                found.append(word)
                end = at + len(word)
    return found


def _number(text: str) -> float | None:
    """Return the last number in a text; None where there is none."""
    found = _NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


def simplify(text: str) -> str:
    """Return a text in lower case, without separators in numbers, without punctuation, and with single spaces."""
    words = re.sub(r"[^\w.#+ ]|_", " ", re.sub(r"(?<=\d),(?=\d)", "", text.casefold())).split()
    return " ".join(words).strip(" .")


def _share_passed(answer: str, right: str) -> float:
    """Return the share of the unit tests that the code in an answer passes."""
    fenced = _FENCED.findall(answer)
    tests = json.loads(right)
    calls, wanted = zip(*tests["cases"], strict=True)
    results = run_code("\n".join(fenced) if fenced else answer, tests["function"], calls)
    return sum(result == [value] for result, value in zip(results, wanted, strict=True)) / len(wanted)
