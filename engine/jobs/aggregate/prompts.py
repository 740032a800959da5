"""Prompts of an aggregate: for all texts at once, for a part of them, and for the answers of parts."""

from __future__ import annotations

from collections.abc import Sequence

from leeroo.engine.jobs.aggregate.texts import Item

SUMMARY = "Summarize the texts: the main points in a few sentences."

_ALL = """\
{task}

Answer from {these} only:
{lines}"""
_PART = """\
{task}

Answer from {part} only. Say how many texts each point is in, and keep names and numbers.
{lines}"""
_MERGE = """\
{task}

Below are {parts} answers, each from other texts. Write one answer for {whole}: join points that mean the same and add \
up their numbers of texts. Keep names and numbers, and add nothing.

{answers}"""


class Answer(Item):
    """The answer of a part, on its way into the prompt that merges it."""

    @property
    def line(self) -> str:
        """The answer below the number of its texts."""
        return f"From {_count(self.texts) if self.texts else 'the rest of a text'}:\n{self.text}"


def ask_all(task: str, items: Sequence[Item]) -> str:
    """Return the prompt for a group that fits into one request."""
    texts = sum(item.texts for item in items)
    these = "this text" if texts == 1 else f"these {texts:,} texts"
    return _ALL.format(task=task, these=these, lines=_lines(items))


def ask_part(task: str, items: Sequence[Item]) -> str:
    """Return the prompt for some texts of a group, or for pieces of one; it does not depend on the others."""
    return _PART.format(task=task, part=_describe(items), lines=_lines(items))


def merge(task: str, answers: Sequence[Item], *, last: bool) -> str:
    """Return the prompt that puts answers of parts together: of all, where it is the last one."""
    texts = sum(answer.texts for answer in answers)
    whole = f"{'all' if last else 'these'} {_count(texts)}" if texts > 1 else "the whole text"
    shown = "\n\n".join(answer.line for answer in answers)
    return _MERGE.format(task=task, parts=len(answers), whole=whole, answers=shown)


def _lines(items: Sequence[Item]) -> str:
    return "\n".join(item.line for item in items)


def _describe(items: Sequence[Item]) -> str:
    """Say what a part has: whole texts, first pieces of texts, and later ones."""
    whole = sum(item.texts for item in items if not item.piece)
    begun = sum(item.texts for item in items if item.piece)
    later = any(item.texts == 0 for item in items)
    parts = [
        *([f"{'this' if whole == 1 else 'these'} {_count(whole)}"] if whole else []),
        *([f"the beginning of {_count(begun)}"] if begun else []),
        *(["a later piece of a text"] if later else []),
    ]
    return " and ".join(parts)


def _count(texts: int) -> str:
    return f"{texts:,} text{'s' * (texts != 1)}"
