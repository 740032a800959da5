"""Prompts of an aggregate: for all texts at once, for a part of them, and for the answers of parts."""

from __future__ import annotations

from collections.abc import Sequence

from leeroo.engine.jobs.aggregate.texts import Item, count_tokens

SUMMARY = "Summarize the texts: the main points in a few sentences."

_ALL = """\
{task}

Answer from {these} only:
{lines}"""
_PART = """\
{task}

This is a part of more texts; the answers for all parts are put together later. Answer for this part only. Say how \
many texts each point is in, and keep names and numbers. The part is {part}:
{lines}"""
_MERGE = """\
{task}

Many texts were read in parts. Below are the answers for {parts}. Put them together into one answer for {whole}: join \
points that mean the same and add up their numbers of texts. Keep names and numbers, and add nothing.

{answers}"""


class Answer(Item):
    """The answer of a part, on its way into the prompt that merges it."""

    @property
    def line(self) -> str:
        """The answer with the number of its texts, behind the word Part and a number."""
        return f"({_count(self.texts) if self.texts else 'the rest of a text'}):\n{self.text}"

    @property
    def tokens(self) -> int:
        """The estimated tokens, with that word and number, and a blank line."""
        return count_tokens(self.line) + 4


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
    shown = "\n\n".join(f"Part {i} {answer.line}" for i, answer in enumerate(answers, 1))
    whole = f"{'all' if last else 'these'} {_count(texts)}" if texts > 1 else "these parts"
    parts = f"all {len(answers)} parts" if last else f"{len(answers)} of the parts"
    return _MERGE.format(task=task, parts=parts, whole=whole, answers=shown)


def _lines(items: Sequence[Item]) -> str:
    return "\n".join(item.line for item in items)


def _describe(items: Sequence[Item]) -> str:
    """Say what a part has: whole texts, first pieces of texts, and later ones."""
    whole = sum(item.texts for item in items if not item.piece)
    begun = sum(item.texts for item in items if item.piece)
    later = any(item.texts == 0 for item in items)
    parts = [
        *([_count(whole)] if whole else []),
        *([f"the beginning of {_count(begun)}"] if begun else []),
        *(["a later piece of a text"] if later else []),
    ]
    return " and ".join(parts)


def _count(texts: int) -> str:
    return f"{texts:,} text{'s' * (texts != 1)}"
