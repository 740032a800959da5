"""Layout: write prompts of a task and fields so that rows share long beginnings, which are computed once.

A task is text with {names} in it: "Is {review} about {product}?"; `{photo:image}` says that a field's text names an
image. For people, the router and the answer store the
question is the task with its fields filled in. An expert is shown that too, unless it hides too much of what rows have
in common. Then the task comes first and the fields after it, one to a line. Fields with long values that repeat come
first. The order is found greedily by the bytes that it saves, one order for all rows of a task (Liu et al.,
"Optimizing LLM Queries in Relational Data Analytics Workloads", 2024).
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from leeroo.engine.batch.price import BYTES_PER_TOKEN
from leeroo.engine.batch.worktable import Worktable

# Laying fields out must save this share of their bytes: a question reads better with its fields filled in.
_WORTH_IT = 0.2
# Of the price of an input token: what a provider takes more for one that it is to keep, and less for one that it kept.
_WRITE, _READ = 0.25, 0.9
_PLACE = re.compile(r"\{\{|\}\}|\{(\w+)(:image)?\}")


def field_names(task: str) -> tuple[str, ...]:
    """Return the names of the fields of a task, in the order in which they first come; two braces stand for one."""
    return tuple(dict.fromkeys(found[1] for found in _PLACE.finditer(task) if found[1]))


def image_names(task: str) -> tuple[str, ...]:
    """Return the names of the fields of a task whose texts name images: those written as `{name:image}`."""
    return tuple(dict.fromkeys(found[1] for found in _PLACE.finditer(task) if found[2]))


def fill_in(task: str, fields: Mapping[str, object]) -> str:
    """Return the task with its fields filled in; values that are not text are written as JSON."""

    def put(found: re.Match[str]) -> str:
        return text_of(fields[found[1]]) if found[1] else found[0][0]

    return _PLACE.sub(put, task)


def text_of(value: object) -> str:
    """Return a field as it is written in a prompt."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def lay_out(worktable: Worktable) -> None:
    """Lay out the prompts of questions with fields, where that saves enough."""
    for task in worktable.tasks():
        fielded = field_names(task)
        if len(fielded) < 2:
            continue
        order = _order(worktable, len(fielded), worktable.open_fields(task, fielded))
        if order is not None:
            shown = _PLACE.sub(lambda found: f"{{{found[1]}}}" if found[1] else found[0][0], task)
            worktable.lay_out(shown, [(fielded[i], i) for i in order])


def _order(worktable: Worktable, count: int, whole: int) -> list[int] | None:
    """Find the order of open fields that shares most of their `whole` bytes; None where that is hardly better.

    It is compared with the order in which the task names them.
    """
    order: list[int] = []
    while len(order) < count:
        rest = [i for i in range(count) if i not in order]
        order.append(max(rest, key=lambda i: worktable.shared_bytes([*order, i])))
    gain = sum(worktable.shared_bytes(order[:n]) - worktable.shared_bytes(list(range(n))) for n in range(1, count + 1))
    return order if gain > _WORTH_IT * whole else None


class _Beginning(NamedTuple):
    """Prompts from `start` on that begin with the same `chars`, the first of a group of alike ones.

    Attributes:
        saving: In the price of input tokens, of the best groups among them.
        groups: These groups: the first prompt, the one after the last, and the characters to keep.

    """

    chars: int
    start: int
    saving: float
    groups: list[tuple[int, int, int]]


def with_shared_beginnings(requests: pa.RecordBatch, least_tokens: int) -> pa.RecordBatch:
    """Return requests with `shared_chars`, where it pays to have the provider keep a beginning for other rows.

    Args:
        requests: Ordered by system text, turns and prompt, with the columns of `schema.REQUESTS` and others.
        least_tokens: The provider keeps no shorter beginnings.

    """
    names = ("system", "turns", "prompt")
    rows = list(zip(*(requests.column(name).to_pylist() for name in names), strict=True))
    shared: list[int | None] = [None] * len(rows)
    at = 0
    for texts, group in itertools.groupby(rows, key=lambda row: row[:2]):
        before = sum(len((text or "").encode()) for text in texts)
        prompts = [prompt for *_, prompt in group]
        for start, end, chars in _beginnings_to_keep(prompts, before, least_tokens):
            shared[at + start : at + end] = [chars] * (end - start)
        at += len(prompts)
    place = requests.schema.get_field_index("shared_chars")
    return requests.set_column(place, requests.schema.field(place), pa.array(shared, pa.int32()))


def _beginnings_to_keep(prompts: Sequence[str], before: int, least_tokens: int) -> list[tuple[int, int, int]]:
    """Return the groups of prompts, and characters that end with a line, which save most by being kept.

    The groups are those of a tree: all prompts that begin alike, and within these the ones that do so for longer. A
    group is kept as a whole where that saves more than its best parts do.

    Args:
        prompts: In their order, so that alike ones are neighbours.
        before: Bytes that stand before the prompts, the same for all.
        least_tokens: The fewest tokens of a beginning that is kept.

    """
    open_groups: list[_Beginning] = []
    found = _Beginning(0, 0, 0.0, [])
    for end in range(1, len(prompts) + 1):
        chars = _shared_lines(prompts[end - 1], prompts[end]) if end < len(prompts) else -1
        found = _Beginning(chars, end - 1, 0.0, [])
        while open_groups and open_groups[-1].chars > chars:
            inner = open_groups.pop()
            tokens = (before + len(prompts[inner.start][: inner.chars].encode())) / BYTES_PER_TOKEN
            as_one = tokens * (_READ * (end - 1 - inner.start) - _WRITE) if tokens >= least_tokens else 0.0
            parts = inner.saving + found.saving, inner.groups + found.groups
            best = (as_one, [(inner.start, end, inner.chars)]) if as_one > parts[0] else parts
            found = _Beginning(chars, inner.start, *best)
        if open_groups and open_groups[-1].chars == chars:
            inner = open_groups.pop()
            found = _Beginning(chars, inner.start, inner.saving + found.saving, inner.groups + found.groups)
        open_groups.append(found)
    return found.groups


def _shared_lines(one: str, other: str) -> int:
    """Return the characters of the whole lines that two texts begin with alike."""
    low, high = 0, min(len(one), len(other)) + 1  # they are alike up to `low`, and not up to `high`
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if one[low:middle] == other[low:middle] else (low, middle)
    return one.rfind("\n", 0, low) + 1
