"""Layout: write prompts of a task and fields so that rows share long beginnings, which are computed once.

A task is text with {names} in it: "Is {review} about {product}?". For people, the router and the answer store the
question is the task with its fields filled in. An expert is shown that too, unless it hides too much of what rows have
in common. Then the task comes first and the fields after it, one to a line. Fields with long values that repeat come
first. The order is found greedily by the bytes that it saves, one order for all rows of a task (Liu et al.,
"Optimizing LLM Queries in Relational Data Analytics Workloads", 2024).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from leeroo.engine.batch.worktable import Worktable

# Laying fields out must save this share of their bytes: a question reads better with its fields filled in.
_WORTH_IT = 0.2
_PLACE = re.compile(r"\{\{|\}\}|\{(\w+)\}")


def field_names(task: str) -> tuple[str, ...]:
    """Return the names of the fields of a task, in the order in which they first come; two braces stand for one."""
    return tuple(dict.fromkeys(found[1] for found in _PLACE.finditer(task) if found[1]))


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
            shown = _PLACE.sub(lambda found: found[0] if found[1] else found[0][0], task)
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
