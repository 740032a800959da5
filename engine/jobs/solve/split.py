"""Split: the parts of a question that names them itself.

Numbered parts, and several questions one after another, need no model. The text before the first part belongs to all of
them. A part that refers to an earlier one needs its answer first. Quotations, and material that the question is about,
are not split. Knows nothing of models.

The references decide what a step is shown and which steps share a run. They are part of the prompts under which answers
are stored, and of the column `steps`. So the patterns below stay as they are.

Questions may be long texts from anywhere, so the time grows in proportion to their length.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

# (a), a), (1), 1), 1., A., ii) after white space, "Part A:" and the like; bullets at the beginning of a line.
_LABEL = r"[a-zA-Z]|\d{1,2}|[ivx]{2,4}"
_MARK = re.compile(
    rf"(?:^|(?<=\s))(?:\(({_LABEL})\)|({_LABEL})[).]|(?:part|question|step|task)\s+({_LABEL})\s*[:.)])\s+(?=\S)",
    re.IGNORECASE,
)
_BULLET = re.compile(r"^[ \t]*[-*•]\s+(?=\S)", re.MULTILINE)
_COUNTS = (
    tuple(str(i) for i in range(1, 100)),
    ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x"),
    tuple("abcdefghijklmnopqrstuvwxyz"),
    tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
)
# Ends of sentences; "Dr. Who" and "J. Smith" go on.
_SENTENCES = re.compile(r"(?<=[.!?])(?<!\b[A-Z]\.)(?<!\b[DM]r\.)(?<!\bMrs\.)(?<!\bSt\.)\s+(?=[\"'(]?[A-Z0-9])")
_QUOTED = re.compile(r"\"[^\"]*\"|“[^“”]*”|(?<!\w)'[^'\n]*'(?!\w)|```.*?```", re.DOTALL)
_BELOW = re.compile(r"\b(?:following|below)\b", re.IGNORECASE)
_MATERIAL = re.compile(
    r"\b(?:text|passage|e-?mail|review|message|ticket|document|article|conversation|transcript|code)\s*:",
    re.IGNORECASE,
)
# A text with more parts is no question. A label names no part beyond these either, see `_LABEL`.
_MOST_PARTS = 99
_FIRST = r"and|then|after that|next|finally|afterwards|also|now|lastly|please|(?:first|second|third|fourth)(?:ly)?"
_THEN = rf"(?:(?:{_FIRST})\b,?\s*)*"
_WHAT = r"what|which|who|whom|whose|when|where|why|how|(?:in|on|at|to|of|by|for|from) (?:which|what|whom)"
_REQUEST = re.compile(
    rf"{_THEN}(?:{_WHAT}|is|are|was|were|does|do|did|can|could|will|would|has|have|"
    r"add|calculate|check|compare|compute|convert|count|decide|define|describe|determine|divide|double|"
    r"estimate|explain how|find|give|halve|identify|list|multiply|name|order|pick|reverse|round|say|solve|sort|spell"
    r"|square|state|subtract|summari[sz]e|take|tell|translate|triple|work out|write)\b",
    re.IGNORECASE,
)
# Instructions on how to answer, which are no part of their own.
_MANNER = re.compile(
    r"(?:please\s+)?(?:answer|(?:give|write|say|state) (?:only|just|your)|reply|respond|use|show|choose"
    r"|explain (?:your|why)|think)\b",
    re.IGNORECASE,
)
_REFERS = r"(?:part|question|step|task|answer|result|value|number|word|outcome)s?"
_NAMED = re.compile(
    rf"\b{_REFERS}\s+(?:(?:of|to|from|in)\s+)?\(?([b-z]|\d{{1,2}}|a(?=\)|[.,;?!]|$))\)?"
    r"(?:\s*(?:,|and|or)\s*\(?([b-z]|\d{1,2})\)?)?(?![\w'])(?!\s*(?:plus|minus|times|divided|percent|[-+*/%]))"
    r"|\(([a-z]|\d{1,2}|[ivx]{2,4})\)",
    re.IGNORECASE,
)
# A capital that stands alone inside of a sentence.
_CAPITAL = re.compile(r"(?<=[\w,;:(] )\(?([A-Z])\b(?!\.\s+[A-Z])|(?<=\()([A-Z])(?=\))")
_ALL = re.compile(
    r"\b(?:both|these|those|them|all (?:of them|the)|results|answers|numbers together|(?:the|either|neither of the) two"
    r"|the (?:sum|product|difference|total|average|quotient)(?! of\b))\b",
    re.IGNORECASE,
)
_LAST = re.compile(
    r"\b(?:(?:the|this|that|your|its) (?:result|answer|outcome|sum|product|difference|quotient|total|latter|value)"
    r"|that (?:number|word|day|date|city|country|person|year|river|animal|one)|the previous)\b"
    r"|^(?:and\s+)?(?:then|after that|next|finally|afterwards)\b|^(?:and\s+)?(?:why|how|when|where|who)\?$"
    rf"|^and\s+(?!{_WHAT})(?:in|on|at|for|of|with|the)\b",
    re.IGNORECASE,
)
_PRONOUN = re.compile(r"\b(?:it|its|that|this|he|she|his|her|they|their|there)\b", re.IGNORECASE)


@dataclass(frozen=True)
class SolveStep:
    """A task, and the earlier steps whose answers it needs, counted from 0."""

    task: str
    needs: tuple[int, ...] = ()


@dataclass(frozen=True)
class QuestionParts:
    """The steps of a question, the text before them, and the mark of each ('' without one)."""

    preamble: str
    steps: tuple[SolveStep, ...]
    marks: tuple[str, ...]


def split(question: str) -> QuestionParts | None:
    """Return the parts that a question names itself; None where it has one part, or names none."""
    for preamble, marks, tasks in (_numbered_parts(question), _bulleted_parts(question), _in_turn(question)):
        # Marked lines below a question may be choices for its answer.
        matches = str.endswith if "?" in preamble and any(marks) else _is_request
        if 1 < len(tasks) <= _MOST_PARTS and all(matches(task, "?") for task in tasks):
            return QuestionParts(
                preamble, tuple(_with_needs(i, tasks, marks, preamble) for i in range(len(tasks))), tuple(marks)
            )
    return None


def _is_request(task: str, end: str) -> bool:
    return task.endswith(end) or _REQUEST.match(task) is not None


def _outside(pattern: re.Pattern[str], text: str) -> list[re.Match[str]]:
    """Return the matches that begin outside of quotations."""
    quoted = [match.span() for match in _QUOTED.finditer(text)]
    starts = [start for start, _ in quoted]

    def inside(at: int) -> bool:
        before = bisect_left(starts, at)
        return before > 0 and at < quoted[before - 1][1]

    return [match for match in pattern.finditer(text) if not inside(match.start())]


def _numbered_parts(question: str) -> tuple[str, list[str], list[str]]:
    """Return marked parts, as long as the marks count up from the first of a kind."""
    found = [(match.start(), match.end(), match[1] or match[2] or match[3]) for match in _outside(_MARK, question)]
    best: list[tuple[int, int, str]] = []
    for counted in _COUNTS:
        parts: list[tuple[int, int, str]] = []
        for each in found:
            if len(parts) < len(counted) and each[2] == counted[len(parts)]:
                parts.append(each)
        best = max(best, parts, key=len)
    return _cut(question, [(start, end) for start, end, _ in best], [label for *_, label in best])


def _bulleted_parts(question: str) -> tuple[str, list[str], list[str]]:
    found = [match.span() for match in _outside(_BULLET, question)]
    return _cut(question, found, [""] * len(found))


def _cut(question: str, spans: Sequence[tuple[int, int]], marks: list[str]) -> tuple[str, list[str], list[str]]:
    if not spans:
        return "", [], []
    ends = [*(start for start, _ in spans[1:]), len(question)]
    tasks = [_tidy(question[begin:end]) for (_, begin), end in zip(spans, ends, strict=True)]
    return question[: spans[0][0]].strip(), marks, tasks


def _tidy(task: str) -> str:
    task = task.strip()
    if re.search(r"\sand$", task):
        task = task.removesuffix("and").rstrip()
    return task[:-1].rstrip() if task.endswith((",", ";")) else task


def _in_turn(question: str) -> tuple[str, list[str], list[str]]:
    """Return one question after another; text between two belongs to the later one."""
    tasks: list[str] = []
    between: list[str] = []
    preamble: list[str] | None = None
    if _has_material(question):
        return "", [], []
    for sentence in _sentences(question.strip()):
        if _is_request(sentence, "?") and not _MANNER.match(sentence):
            if preamble is None:
                preamble, between = between, []
            tasks.append(" ".join([*between, sentence]))
            between = []
        elif tasks and _MANNER.match(sentence):
            tasks[-1] += " " + sentence
        else:
            between.append(sentence)
    if tasks and between:
        tasks[-1] = " ".join([tasks[-1], *between])
    return " ".join(preamble or []), [""] * len(tasks), tasks


def _has_material(question: str) -> bool:
    """Return whether the question has a text that it is about."""
    parts = re.split(r"[?.]", question)
    follows = (":" in part[match.end() :] for part in parts if (match := _BELOW.search(part)))
    return any(follows) or _MATERIAL.search(question) is not None


def _sentences(text: str) -> list[str]:
    ends = _outside(_SENTENCES, text)
    starts = [0, *(match.end() for match in ends)]
    return [text[a:b] for a, b in zip(starts, [*(match.start() for match in ends), len(text)], strict=True)]


def _with_needs(i: int, tasks: Sequence[str], marks: Sequence[str], preamble: str) -> SolveStep:
    """Return the step with the earlier ones that it refers to."""
    task = tasks[i]
    if i == 0:
        return SolveStep(task)
    labels = [label for match in _NAMED.finditer(task) for label in match.groups() if label]
    if marks[0] == "A":
        labels += [match[1] or match[2] for match in _CAPITAL.finditer(task)]
    found = {label.casefold() for label in labels}
    referred = [j for j in range(i) if marks[j].casefold() in found or str(j + 1) in found]
    if referred:
        return SolveStep(task, tuple(referred))
    if _ALL.search(task):
        return SolveStep(task, tuple(range(i)))
    # With a text before all parts, a pronoun may stand for something in it.
    if _LAST.search(task) or (not preamble and _PRONOUN.search(task)):
        return SolveStep(task, (i - 1,))
    return SolveStep(task)
