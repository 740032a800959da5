"""Requests of aggregates to the engine: the questions of a statement are groups of texts, each with its task."""

from __future__ import annotations

import json

import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine, Estimate
from leeroo.engine.jobs.aggregate.aggregate import TextGroup, aggregate, foresee
from leeroo.engine.schema import SQL_AGGREGATE
from leeroo.udfs.functions.requests import Questions


def aggregate_all(engine: Engine, questions: Questions, criteria: Criteria) -> pa.ChunkedArray:
    """Have all groups of a statement aggregated, level by level: structs of `SQL_AGGREGATE`."""
    with engine.delivery():
        rows, _ = aggregate(engine, _groups(questions), criteria)
    values = rows.select(SQL_AGGREGATE.names).combine_chunks().to_struct_array()
    return pa.chunked_array(values.chunks, SQL_AGGREGATE)


def estimate_aggregating(engine: Engine, questions: Questions, criteria: Criteria) -> Estimate:
    """Estimate what aggregating all groups would take at most."""
    return foresee(engine, _groups(questions), criteria)


def _groups(questions: Questions) -> list[TextGroup]:
    return [
        TextGroup(
            expert=group.arguments.expert,
            system=group.arguments.system,
            max_tokens=group.arguments.max_tokens,
            private=group.arguments.private,
            **json.loads(question),
        )
        for group, texts in questions
        for question in texts
    ]
