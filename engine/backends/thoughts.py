"""Thoughts: the text that a model writes before its answer, recognised by the marks around it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

_TAGS = re.compile(r"\s*<(think|thinking|thought|reasoning)>(.*?)(?:</\1>|\Z)", re.DOTALL)
# Marks that begin thoughts, and those that end them: of Mistral, of Gemma, and of gpt-oss, whose answer is marked too.
_MARKS = (("[THINK]", "[/THINK]"), ("<|channel>thought", "<channel|>"))
_CHANNEL = re.compile(r"<\|channel\|>(\w+)[^<]*<\|message\|>(.*?)(?=<\|(?:end|return|start|channel)\|>|\Z)", re.DOTALL)
_ANSWER_CHANNEL = "final"
# Some chat templates open the thoughts in the prompt, so that a text only closes them.
_OPENED, _CLOSED = "<think>", "</think>"
_ALL_MARKS = frozenset(
    {_OPENED, _CLOSED, "<|channel|>", "<|message|>", "<|start|>", "<|end|>", "<|return|>", "<|channel>"}
    | {mark for pair in _MARKS for mark in pair}
)
# Closes thoughts that a prompt has opened.
NO_THOUGHTS = f"\n{_CLOSED}\n\n"


class Parts(NamedTuple):
    """A text in two parts."""

    thoughts: str
    answer: str


def split_thoughts(text: str, *, opened: bool = False) -> Parts:
    """Split a text into thoughts and answer; thoughts that break off leave no answer.

    Args:
        text: Everything that the model wrote.
        opened: The prompt has opened the thoughts already.

    >>> split_thoughts("<think>France.</think>Paris")
    Parts(thoughts='France.', answer='Paris')
    """
    if channels := _CHANNEL.findall(text):
        parts = {name == _ANSWER_CHANNEL: "" for name, _ in channels}
        for name, written in channels:
            parts[name == _ANSWER_CHANNEL] += written
        return Parts(parts.get(False, "").strip(), parts.get(True, "").strip())
    if (tagged := _TAGS.match(text)) is not None:
        return Parts(tagged[2].strip(), text[tagged.end() :].strip())
    for begin, end in _MARKS:
        if text.lstrip().startswith(begin):
            thoughts, _, answer = text.lstrip().removeprefix(begin).partition(end)
            return Parts(thoughts.strip(), answer.strip())
    before, closed, after = text.partition(_CLOSED)
    if closed and _OPENED not in before:
        return Parts(before.strip(), after.strip())
    return Parts(text.strip(), "") if opened else Parts("", text.strip())


def opens_thoughts(prompt: str) -> bool:
    """Return whether a prompt ends by opening thoughts.

    >>> opens_thoughts("<|im_start|>assistant <think>")
    True
    """
    return prompt.rstrip().endswith((_OPENED, *(begin for begin, _ in _MARKS)))


def has_marks(special: Iterable[str]) -> bool:
    """Return whether marks of thoughts are special tokens of a model, which are left out where text is shown."""
    return not _ALL_MARKS.isdisjoint(special)


def keep_marks(text: str, special: Iterable[str]) -> str:
    """Return a text without special tokens but the marks of thoughts."""
    for token in frozenset(special) - _ALL_MARKS:
        text = text.replace(token, "")
    return text
