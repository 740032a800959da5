"""Requests of the functions that work by meaning: texts in, vectors out; tables in, pairs, groups and ranks out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine, Estimate
from leeroo.engine.jobs.questions import left_usd
from leeroo.engine.jobs.semantic.decisions import run_together
from leeroo.engine.jobs.semantic.embed import embed, estimate_embedding
from leeroo.engine.jobs.semantic.estimates import combine
from leeroo.engine.jobs.semantic.plan import Work, foresee, most_requests, operation_of
from leeroo.engine.jobs.semantic.results import MATCHES
from leeroo.udfs.functions.requests import Group, Questions

EMBEDDING = pa.struct(
    [
        pa.field("vector", pa.list_(pa.float32())),
        pa.field("cost_usd", pa.float64()),
        pa.field("error", pa.string()),
    ]
)
# The rows that one operation finds.
FOUND = pa.struct(
    [
        pa.field("found", pa.list_(pa.struct(list(MATCHES)))),
        pa.field("cost_usd", pa.float64()),
        pa.field("error", pa.string()),
    ]
)
# Numbers in one Arrow array of lists, whose offsets have 32 bits.
_MOST_NUMBERS = 2**30


def embed_all(engine: Engine, questions: Questions, criteria: Criteria) -> pa.ChunkedArray:
    """Embed all texts, those of each model as one batch: structs of `EMBEDDING`."""
    parts: list[pa.Array] = []
    spent = 0.0
    with engine.delivery():
        for group, texts in questions:
            left = replace(criteria, max_cost_usd=left_usd(criteria, spent))
            found = embed(engine, texts, group.arguments.model, left, private=group.arguments.private)
            spent += float(found.costs.sum())
            step = max(1, _MOST_NUMBERS // max(1, found.vectors.shape[1]))
            for start in range(0, len(texts), step):
                part = slice(start, start + step)
                parts.append(_structs(found.vectors[part], found.errors[part], found.costs[part]))
    return pa.chunked_array(parts, EMBEDDING)


def _structs(vectors: np.ndarray, errors: list[str | None], costs: np.ndarray) -> pa.StructArray:
    there = np.array([error is None for error in errors], bool)
    size = vectors.shape[1]
    # NULL is an offset that is NULL; a list that is not there has no numbers.
    ends = np.cumsum(np.where(there, size, 0))
    offsets = pa.array(np.append(0, ends), pa.int32(), mask=np.append(~there, False))
    lists = pa.ListArray.from_arrays(offsets, pa.array(vectors[there].ravel()))
    return pa.StructArray.from_arrays([lists, pa.array(costs), pa.array(errors, pa.string())], fields=list(EMBEDDING))


def estimate_embeddings(engine: Engine, questions: Questions, criteria: Criteria) -> Estimate:
    """Estimate what embedding all texts would take."""
    return combine(
        [estimate_embedding(engine, texts, group.arguments.model, criteria) for group, texts in questions],
    )


def search_all(engine: Engine, questions: Questions, criteria: Criteria) -> pa.ChunkedArray:
    """Run all joins, deduplications and rankings side by side, so that each wave is one batch: structs of `FOUND`."""
    done = run_together(engine, [operation_of(work) for work in _works(questions)], criteria)
    parts = [pa.array([], FOUND)]
    for table, tally in done:
        rows = pa.StructArray.from_arrays(
            [column.combine_chunks() for column in table.columns], fields=list(table.schema)
        )
        listed = pa.ListArray.from_arrays(pa.array([0, len(rows)], pa.int32()), rows)
        columns = [listed, pa.array([tally.cost_usd]), pa.array([tally.error], pa.string())]
        parts.append(pa.StructArray.from_arrays(columns, fields=list(FOUND)))
    return pa.chunked_array(parts, FOUND)


def estimate_search(engine: Engine, questions: Questions, criteria: Criteria) -> Estimate:
    """Estimate what all joins, deduplications and rankings would take."""
    return foresee(engine, _works(questions), criteria)


def count_requests(group: Group, question: str) -> int:
    """Count the decisions that an operation takes at most, for its part of the budget of a statement."""
    return most_requests(_works([(group, [question])])[0])


def _works(questions: Questions) -> list[Work]:
    found: list[Work] = []
    for group, texts in questions:
        assert group.arguments.operation is not None
        found += [(group.arguments.operation, json.loads(text)) for text in texts]
    return found
