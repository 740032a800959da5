"""Dedupe: groups of rows that mean the same thing.

Candidate pairs are near neighbours by embeddings, decided by experts. Rows that are linked by decisions, directly or
through others, are one group; equal rows are without a decision.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from leeroo.engine.arrays import Int64s
from leeroo.engine.batch.layout import field_names
from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.semantic.decisions import Decided, Decisions, Operation, Vectors, check_threshold, yes_no
from leeroo.engine.jobs.semantic.embed import Embedded
from leeroo.engine.jobs.semantic.neighbours import Pairs, duplicates, unit
from leeroo.engine.jobs.semantic.prompts import fill_in_all, merge_objects
from leeroo.engine.jobs.semantic.results import MATCHES, check_candidates

_STATEMENT = "A and B are the same thing, written in two ways.\n\nA: {a}\n\nB: {b}"
_TASK = "Is this statement true? Answer yes or no.\n\n{}"


@dataclass(frozen=True)
class Dedupe:
    """The search for duplicates among texts.

    Attributes:
        prompt: The statement about two rows, with {a} and {b}; None for our own words.
        k: Neighbours of each row that may be candidates.
        similarity: The least similarity of a candidate.
        threshold: The least probability of a yes.
        model, expert, private: As in `Join`.

    Raises:
        UsageError: a number that cannot be, or a prompt without {a} and {b}.

    """

    prompt: str | None = None
    k: int = 10
    similarity: float = 0.6
    threshold: float = 0.5
    model: str | None = None
    expert: str | None = None
    private: bool = False

    def __post_init__(self) -> None:
        if self.k < 1:
            raise UsageError(f"k must be a number above 0, not {self.k}")
        check_threshold(self.threshold)
        if not -1 <= self.similarity <= 1:
            raise UsageError(f"similarity must be from -1 to 1, not {self.similarity:g}")
        if self.prompt is not None and set(field_names(self.prompt)) != {"a", "b"}:
            raise UsageError("the prompt must name both rows, {a} and {b}, and nothing else in braces")

    def check(self, rows: int) -> None:
        """Check the number of candidates.

        Raises:
            UsageError: they are too many.

        """
        check_candidates(min(rows * self.k, rows * (rows - 1) // 2), f"{rows:,} different rows x k = {self.k}")

    def run(self, texts: list[str]) -> Operation[pa.Table]:
        """Find the group of each of these different texts: a table of `MATCHES`, in their order."""
        self.check(len(texts))
        pairs = yield from self.choose_pairs(texts)
        decided: Decided = yield self.decisions(texts, pairs)
        linked = pairs.take(decided.chances() >= self.threshold)
        groups = _components(len(texts), linked)
        likest = _representatives(groups, linked)
        column = pa.array(texts, pa.string())
        n = len(texts)
        return pa.table(
            [
                column,
                column.take(pa.array(likest)),
                pa.array(groups + 1),
                *(pa.nulls(n, kind) for kind in (pa.float64(), pa.float64(), pa.string(), pa.float64(), pa.float64())),
            ],
            schema=MATCHES,
        )

    def choose_pairs(self, texts: list[str]) -> Operation[Pairs]:
        """Choose the candidates: pairs of near neighbours, those without a vector left out."""
        found: Embedded = yield Vectors(texts, self.model, self.private)
        return duplicates(unit(found.vectors), self.k, self.similarity)

    def decisions(self, texts: list[str], pairs: Pairs) -> Decisions:
        """Return the decisions on some pairs."""
        column = pa.array(texts, pa.string())
        task = _TASK.format(self.prompt or _STATEMENT)
        objects = {
            name: pa.array([json.dumps({name: text}, ensure_ascii=False) for text in texts], pa.string()).take(
                pa.array(at)
            )
            for name, at in (("a", pairs.left), ("b", pairs.right))
        }
        values = {"a": column.take(pa.array(pairs.left)), "b": column.take(pa.array(pairs.right))}
        fields = merge_objects(objects["a"], objects["b"])
        return yes_no(task, fields, fill_in_all(task, values), self.expert, private=self.private)


def _components(n: int, linked: Pairs) -> Int64s:
    """Return the number of the group of each of n rows, from 0 in the order of their first rows."""
    parent = list(range(n))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for a, b in zip(linked.left.tolist(), linked.right.tolist(), strict=True):
        one, other = sorted((root(a), root(b)))
        parent[other] = one
    _, numbers = np.unique([root(row) for row in range(n)], return_inverse=True)
    return numbers.astype(np.int64)


def _representatives(groups: Int64s, linked: Pairs) -> Int64s:
    """Return for each row the one of its group that is most similar to the others, by links; the first of ties."""
    n = len(groups)
    weight = np.bincount(linked.left, linked.similarity, n) + np.bincount(linked.right, linked.similarity, n)
    order = np.lexsort((np.arange(n), -weight, groups))
    firsts = order[np.searchsorted(groups[order], np.arange(groups.max(initial=-1) + 1))]
    likest: Int64s = firsts[groups].astype(np.int64)
    return likest
