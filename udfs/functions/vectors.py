"""Types of vectors: FLOAT[n], with the n of each expert that embeds, known to the planner.

A macro casts a list of numbers to the type of a NULL. That NULL is the field of a struct, which has one for each source
of vectors, and the field's name comes from the constant `model` of the call.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from leeroo.engine.answer import Engine
from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.semantic.embed import size_of
from leeroo.udfs.functions.calls import naming


def types_of_vectors(engine: Engine) -> pa.StructType:
    """Return the struct of the types: `m0` is that of the router's encoder, the others those of experts, in order."""
    return pa.struct([(f"m{at}", pa.list_(pa.float32(), size)) for at, (_, size) in enumerate(_sizes(engine)) if size])


def vector_types(engine: Engine, ones: pa.Array) -> pa.Array:
    """Return structs of NULLs."""
    kind = types_of_vectors(engine)
    return pa.StructArray.from_arrays([pa.nulls(len(ones), field.type) for field in kind], fields=list(kind))


def vector_names(engine: Engine, models: pa.Array) -> pa.Array:
    """Return the name of the field for each model.

    Raises:
        PoolError: there is no such expert.
        UsageError: the size of its vectors is not known.

    """
    return pa.array([_name(engine, model) for model in models.to_pylist()], pa.string())


def _name(engine: Engine, model: str | None) -> str:
    with naming("leeroo_embed"):
        if model is not None:
            engine.pool.embedder(model)
        at, size = next((at, size) for at, (name, size) in enumerate(_sizes(engine)) if name == model)
        if size is None:
            raise UsageError(
                f"nobody says how many numbers a vector of {model or 'the router'!r} has, because its model is not on"
                " this machine: write dimensions into its entry of the pool file"
            )
        return f"m{at}"


def _sizes(engine: Engine) -> Iterator[tuple[str | None, int | None]]:
    yield None, size_of(engine, None)
    for expert in engine.pool.embedders:
        yield expert.name, size_of(engine, expert.name)
