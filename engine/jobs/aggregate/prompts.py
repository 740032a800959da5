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

This is a part of {total}; the answers for all parts are put together later. Answer for this part only. Say how many \
texts each point is in, and keep names and numbers. The part is {part}:
{lines}"""
_MERGE = """\
{task}

{total} were read in parts. Below are the answers for {parts} of the parts. Put them together into one answer for \
{whole}: join points that mean the same and add up their numbers of texts. Keep names and numbers, and add nothing.

{answers}"""


def ask_all(task: str, items: Sequence[Item]) -> str:
    """Return the prompt for a group that fits into one request."""
    texts = sum(item.texts for item in items)
    these = "this text" if texts == 1 else f"these {texts:,} texts"
    return _ALL.format(task=task, these=these, lines=_lines(items))


def ask_part(task: str, items: Sequence[Item], total: int) -> str:
    """Return the prompt for some texts of a group, or for pieces of one."""
    return _PART.format(task=task, total=_count(total), part=_describe(items), lines=_lines(items))


def merge(task: str, answers: Sequence[tuple[str, int]], total: int) -> str:
    """Return the prompt that puts answers of parts together, each with the number of its texts."""
    texts = sum(n for _, n in answers)
    shown = "\n\n".join(_answer(i, answer, n) for i, (answer, n) in enumerate(answers, 1))
    whole = f"all {_count(total)}" if texts == total > 1 else _count(texts) if texts else "these parts"
    return _MERGE.format(task=task, total=_count(total), parts=len(answers), whole=whole, answers=shown)


def merged_tokens(answer: str) -> int:
    """Estimate the tokens of an answer in the prompt that merges it."""
    return count_tokens(_answer(1_000, answer, 1_000_000)) + 1


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


def _answer(number: int, answer: str, texts: int) -> str:
    """Return the answer of a part as the next prompt shows it."""
    return f"Part {number} ({_count(texts) if texts else 'the rest of a text'}):\n{answer}"


def _count(texts: int) -> str:
    return f"{texts:,} text{'s' * (texts != 1)}"
