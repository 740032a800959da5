"""Split: the parts of a question that says itself what they are.

Parts that are numbered, and several questions one after another, need no model to be told apart. What stands before
the first part belongs to all of them. A part that speaks of an earlier one needs its answer first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

# (a), a), (1), 1), 1. after white space; bullets at the beginning of a line.
_MARK = re.compile(r"(?:^|(?<=\s))(?:\(([a-z]|\d{1,2})\)|([a-z]|\d{1,2})[).])\s+(?=\S)")
_BULLET = re.compile(r"^[ \t]*[-*•]\s+(?=\S)", re.MULTILINE)
# Ends of sentences; "Dr. Who" and "J. Smith" go on.
_SENTENCES = re.compile(r"(?<=[.!?])(?<!\b[A-Z]\.)(?<!\b[DM]r\.)(?<!\bMrs\.)(?<!\bSt\.)\s+(?=[\"'(]?[A-Z0-9])")
_THEN = r"(?:(?:and|then|after that|next|finally|afterwards|also|now|lastly|second|third|first)\b,?\s*)*"
_ASKS = re.compile(
    rf"{_THEN}(?:what|which|who|whom|whose|when|where|why|how|is|are|was|were|does|do|did|can|could|will|would|has|have|"
    r"in which|on which|at which|to which|add|calculate|compare|compute|convert|count|define|describe|divide|double|"
    r"estimate|explain how|find|halve|list|multiply|name|solve|spell|state|subtract|summari[sz]e|tell|translate|"
    r"write)\b",
    re.IGNORECASE,
)
# How to answer, which is no part of its own.
_MANNER = re.compile(r"(?:answer|give only|reply|respond|use|show|choose|explain (?:your|why)|think)\b", re.IGNORECASE)
_NAMED = re.compile(r"\b(?:part|question|step|answer)\s+\(?([a-z]|\d{1,2})\)?(?!\w)", re.IGNORECASE)
_ALL = re.compile(r"\b(?:both|these|those|them|all (?:of them|the)|results|answers|numbers together)\b", re.IGNORECASE)
_LAST = re.compile(
    r"\b(?:(?:the|this|that|your|its) (?:result|answer|outcome|sum|product|difference|quotient|total|latter|value)"
    r"|that (?:number|word|day|date|city|country|person|year|river|animal|one)|the previous)\b"
    r"|^(?:and\s+)?(?:then|after that|next|finally|afterwards)\b",
    re.IGNORECASE,
)
_PRONOUN = re.compile(r"\b(?:it|its|that|this|he|she|his|her|they|their|there)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Step:
    """What is to be done, and the steps before it, counted from 0, whose answers it needs."""

    task: str
    needs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Parts:
    """Steps, what stands before them all, and how each was marked ('' where it was not)."""

    preamble: str
    steps: tuple[Step, ...]
    marks: tuple[str, ...]


def split(question: str) -> Parts | None:
    """The parts that a question says itself; None where it asks one thing, or does not say."""
    for preamble, marks, tasks in (_numbered(question), _bulleted(question), _in_turn(question)):
        if len(tasks) > 1 and all(map(_asks, tasks)):
            return Parts(preamble, tuple(_needing(i, tasks, marks, preamble) for i in range(len(tasks))), tuple(marks))
    return None


def _asks(task: str) -> bool:
    return task.endswith("?") or _ASKS.match(task) is not None


def _numbered(question: str) -> tuple[str, list[str], list[str]]:
    """Marked parts, as long as the marks count up from a or 1."""
    found: list[tuple[int, int, str]] = []
    for match in _MARK.finditer(question):
        label = match[1] or match[2]
        wanted = _label(len(found), numbers=(found[0][2] if found else label).isdigit())
        if label == wanted:
            found.append((match.start(), match.end(), label))
    return _cut(question, [(start, end) for start, end, _ in found], [label for *_, label in found])


def _label(i: int, *, numbers: bool) -> str:
    return str(i + 1) if numbers else chr(ord("a") + i)


def _bulleted(question: str) -> tuple[str, list[str], list[str]]:
    found = [match.span() for match in _BULLET.finditer(question)]
    return _cut(question, found, [""] * len(found))


def _cut(question: str, spans: Sequence[tuple[int, int]], marks: list[str]) -> tuple[str, list[str], list[str]]:
    if not spans:
        return "", [], []
    ends = [*(start for start, _ in spans[1:]), len(question)]
    tasks = [_tidy(question[begin:end]) for (_, begin), end in zip(spans, ends, strict=True)]
    return question[: spans[0][0]].strip(), marks, tasks


def _tidy(task: str) -> str:
    return re.sub(r"(?:[,;]|[,;]?\s+and)$", "", task.strip()).strip()


def _in_turn(question: str) -> tuple[str, list[str], list[str]]:
    """One question after another; what is told between two belongs to the later one."""
    tasks: list[str] = []
    told: list[str] = []
    preamble: list[str] | None = None
    for sentence in _SENTENCES.split(question.strip()):
        if _asks(sentence) and not _MANNER.match(sentence):
            if preamble is None:
                preamble, told = told, []
            tasks.append(" ".join([*told, sentence]))
            told = []
        elif tasks and _MANNER.match(sentence):
            tasks[-1] += " " + sentence
        else:
            told.append(sentence)
    if tasks and told:
        tasks[-1] = " ".join([tasks[-1], *told])
    return " ".join(preamble or []), [""] * len(tasks), tasks


def _needing(i: int, tasks: Sequence[str], marks: Sequence[str], preamble: str) -> Step:
    """The step with the earlier ones that it speaks of."""
    task = tasks[i]
    if i == 0:
        return Step(task)
    named = {j for label in _NAMED.findall(task) for j in range(i) if label.lower() in (marks[j], str(j + 1))}
    if named:
        return Step(task, tuple(sorted(named)))
    if _ALL.search(task):
        return Step(task, tuple(range(i)))
    # What has been told before all parts may be what a pronoun stands for.
    if _LAST.search(task) or (not preamble and _PRONOUN.search(task)):
        return Step(task, (i - 1,))
    return Step(task)
