"""Join: which pairs of rows of two tables a statement is true of.

Candidates are the nearest neighbours of each row by embeddings, decided by experts. A sample of the other pairs is
decided too: it says how many true pairs the candidates miss.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from leeroo.engine.arrays import Bools, Float64s, Int64s
from leeroo.engine.batch.layout import text_of
from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.semantic.decisions import Decided, Decisions, Operation, Vectors, check_threshold, yes_no
from leeroo.engine.jobs.semantic.embed import Embedded
from leeroo.engine.jobs.semantic.neighbours import Pairs, candidates, distinct, join_all, nearest, unit
from leeroo.engine.jobs.semantic.prompts import fill_in_all, merge_objects, read_join_prompt
from leeroo.engine.jobs.semantic.results import MATCHES, check_candidates

_TASK = "Is this statement true? Answer yes or no.\n\n{}"
# The part of the sample that is drawn from pairs just beyond the candidates, where misses are most likely.
_NEAR = 0.5


@dataclass(frozen=True)
class Join:
    """A join of two tables, given as JSON objects of the columns that the prompt names.

    Attributes:
        prompt: The statement about a pair, with {l.name} and {r.name}.
        k: Neighbours of each row that are candidates.
        threshold: The least probability of a yes.
        sample: Decisions on other pairs, as a part of those on candidates.
        model: The expert that embeds, None for the router's encoder.
        expert: The expert that decides, None for the one that is chosen.
        private: The rows must not leave local experts.
        seed: Of the sample.

    Raises:
        UsageError: a number that cannot be.

    """

    prompt: str
    k: int = 10
    sample: float = 0.05
    threshold: float = 0.5
    model: str | None = None
    expert: str | None = None
    private: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        read_join_prompt(self.prompt)
        if self.k < 1:
            raise UsageError(f"k must be a number above 0, not {self.k}")
        check_threshold(self.threshold)
        if not 0 <= self.sample <= 1:
            raise UsageError(f"sample must be from 0 to 1, not {self.sample:g}")

    def check(self, left: int, right: int) -> None:
        """Check the number of candidates.

        Raises:
            UsageError: they are too many.

        """
        check_candidates(
            min((left + right) * self.k, left * right), f"{left:,} + {right:,} different rows x k = {self.k}"
        )

    def sampled(self, pairs: int, others: int) -> int:
        """Return how many of the other pairs are decided beside some candidates."""
        return min(others, int(np.ceil(self.sample * pairs)))

    def run(self, left: list[str], right: list[str]) -> Operation[pa.Table]:
        """Find the pairs of which the statement is true: a table of `MATCHES`.

        Args:
            left, right: Different rows, as JSON objects with `l_` and `r_` before the names.

        """
        self.check(len(left), len(right))
        pairs, weights = yield from self.choose_pairs(left, right)
        decided: Decided = yield self.decisions(left, right, pairs)
        chances = decided.chances()
        true = chances >= self.threshold
        recall = _recall(true, weights)
        at = np.flatnonzero(true)
        return pa.table(
            [
                pa.array(left, pa.string()).take(pa.array(pairs.left[at])),
                pa.array(right, pa.string()).take(pa.array(pairs.right[at])),
                pa.nulls(len(at), pa.int64()),
                pa.array(pairs.similarity[at].astype(np.float64)),
                pa.array(np.where(np.isnan(decided.confidence), np.nan, chances)[at], from_pandas=True),
                decided.experts.take(pa.array(at)),
                pa.array(decided.costs[at]),
                pa.array(np.full(len(at), np.nan if recall is None else recall), from_pandas=True),
            ],
            schema=MATCHES,
        )

    def choose_pairs(self, left: list[str], right: list[str]) -> Operation[tuple[Pairs, Float64s]]:
        """Choose candidates and the sample; return them, and of how many pairs each one stands, 0 for a candidate."""
        found: Embedded = yield Vectors(side_texts(left, right), self.model, self.private)
        vectors = unit(found.vectors)
        lefts, rights = vectors[: len(left)], vectors[len(left) :]
        chosen = candidates(lefts, rights, self.k)
        sample, weights = self._sample(lefts, rights, chosen)
        return join_all([chosen, sample]), np.concatenate([np.zeros(len(chosen.left)), weights])

    def decisions(self, left: list[str], right: list[str], pairs: Pairs) -> Decisions:
        """Return the decisions on some pairs."""
        sides = [
            pa.array(rows, pa.string()).take(pa.array(at)) for rows, at in ((left, pairs.left), (right, pairs.right))
        ]
        values = {
            name: column.take(pa.array(at))
            for rows, at in ((left, pairs.left), (right, pairs.right))
            for name, column in _columns(rows).items()
        }
        task = _TASK.format(read_join_prompt(self.prompt).task)
        return yes_no(task, merge_objects(*sides), fill_in_all(task, values), self.expert, private=self.private)

    def _sample(self, left: Any, right: Any, chosen: Pairs) -> tuple[Pairs, Float64s]:
        """Draw pairs beyond the candidates, half of them from just beyond; return of how many pairs each stands."""
        size = len(right)
        others = len(left) * size - len(chosen.left)
        count = self.sampled(len(chosen.left), others)
        if not count:
            return join_all([]), np.empty(0)
        random = np.random.default_rng(self.seed)
        known = chosen.left * size + chosen.right
        beyond = distinct(join_all(nearest(left, right, 2 * self.k)), size)
        near = np.setdiff1d(beyond.left * size + beyond.right, known)
        drawn_near = random.choice(near, min(len(near), int(count * _NEAR)), replace=False)
        taken: Int64s = np.union1d(known, near).astype(np.int64)
        drawn_far = _draw_others(random, taken, len(left) * size, count - len(drawn_near))
        drawn = np.concatenate([drawn_near, drawn_far])
        weights = np.concatenate(
            [
                np.full(len(drawn_near), len(near) / max(len(drawn_near), 1)),
                np.full(len(drawn_far), (len(left) * size - len(taken)) / max(len(drawn_far), 1)),
            ]
        )
        rows, columns = drawn // size, drawn % size
        similarity = np.einsum("nd,nd->n", left[rows], right[columns])
        return Pairs(rows, columns, similarity.astype(np.float32)), weights


def _draw_others(random: np.random.Generator, taken: Int64s, total: int, count: int) -> Int64s:
    """Draw different numbers below `total` that are not among some sorted ones."""
    count = min(count, total - len(taken))
    if total - len(taken) <= 4 * count:  # few are left: all are listed
        return random.choice(np.setdiff1d(np.arange(total), taken), count, replace=False)
    drawn = np.empty(0, np.int64)
    while len(drawn) < count:
        more = random.integers(0, total, 2 * (count - len(drawn)) + 8)
        drawn = np.unique(np.concatenate([drawn, np.setdiff1d(more, taken)]))
    return random.permutation(drawn)[:count]


def _recall(true: Bools, weights: Float64s) -> float | None:
    """Estimate the part of all true pairs that was found; None where nothing beyond candidates was decided."""
    sampled = weights > 0
    if not sampled.any():
        return None
    missed = float((weights[true & sampled] - 1).sum())
    return float(true.sum() / (true.sum() + missed)) if true.any() else None


def side_texts(left: list[str], right: list[str]) -> list[str]:
    """Return the texts of rows that are embedded: their values, one to a line."""
    return ["\n".join(text_of(value) for value in json.loads(row).values()) for row in (*left, *right)]


def _columns(rows: list[str]) -> dict[str, pa.Array]:
    """Return the values of rows by name, as text."""
    read = [json.loads(row) for row in rows]
    names = read[0] if read else {}
    return {name: pa.array([text_of(row[name]) for row in read], pa.string()) for name in names}
