"""Types of vectors: FLOAT[n], with the n of each expert that embeds, known to the planner.

A macro casts a list of numbers to the type of a NULL, which from_json makes of a type that is a constant: the planner
computes it from the `model` of the call.
"""

from __future__ import annotations

import json

import pyarrow as pa

from leeroo.engine.answer import Engine
from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.semantic.embed import size_of
from leeroo.udfs.functions.calls import naming


def vector_types(engine: Engine, models: pa.Array) -> pa.Array:
    """Return the type of the vectors of each model, as from_json reads it.

    Raises:
        PoolError: there is no such expert.
        UsageError: the size of its vectors is not known.

    """
    return pa.array([json.dumps(f"FLOAT[{_size(engine, model)}]") for model in models.to_pylist()], pa.string())


def _size(engine: Engine, model: str | None) -> int:
    with naming("leeroo_embed"):
        if model is not None:
            engine.pool.embedder(model)
        size = size_of(engine, model)
        if size is None:
            raise UsageError(
                f"nobody says how many numbers a vector of {model or 'the router'!r} has, because its model is not on"
                " this machine: write dimensions into its entry of the pool file"
            )
        return size
