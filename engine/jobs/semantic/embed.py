"""Embed: texts become vectors, by the router's encoder or by an expert of the pool that embeds.

Equal texts are one request and have equal vectors. Vectors of encoders are kept on disk with those of the router, those
of APIs and of vLLM in the answer store, like any answer that was paid for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.arrays import Float32s, Float64s, unpack_vector
from leeroo.engine.backends.select import capabilities, unavailable
from leeroo.engine.batch.explain import Estimate
from leeroo.engine.errors import PoolError
from leeroo.engine.jobs.semantic.estimates import free
from leeroo.engine.orchestrator.encoders.encode import encode
from leeroo.engine.orchestrator.encoders.sizes import usual_encoder, vector_size
from leeroo.engine.pool import Expert

_BLANK = "the text is blank"
_UNKNOWN = "the encoder knows no token of the text"


class Embedder(NamedTuple):
    """The source of vectors.

    Attributes:
        name: The expert of the pool, None for the router's encoder.
        encoder: An encoder that runs here, None where a backend gives the vectors.
        expert: The expert, if it is one.

    """

    name: str | None
    encoder: str | None
    expert: Expert | None


@dataclass(frozen=True)
class Embedded:
    """The vectors of n texts.

    Attributes:
        vectors: [n, d], zeros where there is none.
        errors: [n], None where there is a vector.
        costs: USD paid in this run, [n].

    """

    vectors: Float32s
    errors: list[str | None]
    costs: Float64s

    @property
    def there(self) -> np.ndarray:
        """Which texts have a vector, bool [n]."""
        return np.array([error is None for error in self.errors], bool)


def embedder_of(engine: Engine, model: str | None) -> Embedder:
    """Return the source of vectors that a name stands for; None is the router's encoder.

    Raises:
        PoolError: the pool has no such expert that embeds.

    """
    if model is None:
        return Embedder(None, usual_encoder(engine.router.encoders if engine.router else ()), None)
    expert = engine.pool.embedder(model)
    return Embedder(model, expert.model if capabilities(expert).encodes_here else None, expert)


def size_of(engine: Engine, model: str | None) -> int | None:
    """Return how many numbers a vector has; None where that is not known before the model is on this machine."""
    embedder = embedder_of(engine, model)
    stated = embedder.expert.dimensions if embedder.expert else None
    return stated or vector_size(embedder.encoder or (embedder.expert.model if embedder.expert else ""))


def embed(
    engine: Engine, texts: Sequence[str], model: str | None, criteria: Criteria, *, private: bool = False
) -> Embedded:
    """Embed texts as one batch; blank ones have no vector.

    Args:
        engine: With the pool and the router.
        texts: [n], equal ones are embedded once.
        model: An expert of the pool that embeds; None for the router's encoder.
        criteria: The budget; the rest of it says nothing about embeddings.
        private: The texts must not leave this machine.

    Raises:
        PoolError: there is no such expert, it cannot run here, or it is remote and the texts are private.
        RouterError: the encoder cannot be loaded.

    """
    embedder = embedder_of(engine, model)
    if embedder.expert is not None:
        _check(embedder.expert, private=private)
    written = [_written(embedder.expert, text) for text in texts]
    if embedder.encoder is not None:
        return _encode(embedder, texts, written)
    assert embedder.expert is not None
    return _request(engine.with_expert(embedder.expert), texts, written, criteria)


def estimate_embedding(engine: Engine, texts: Sequence[str], model: str | None, criteria: Criteria) -> Estimate:
    """Estimate what embedding texts takes; encoders that run here cost nothing."""
    embedder = embedder_of(engine, model)
    if embedder.encoder is not None:
        note = f"embedded here by {embedder.encoder}, at no cost"
        return free(len(texts), len(set(texts)), note)
    assert embedder.expert is not None
    return engine.with_expert(embedder.expert).explain(_table(texts), _criteria(embedder.expert, criteria))


def _check(expert: Expert, *, private: bool) -> None:
    if private and expert.location == "remote":
        raise PoolError(
            f"private texts do not go to {expert.name!r}, which is remote: leave model out, or name a local one"
        )
    if (why := unavailable(expert)) is not None:
        raise PoolError(f"the expert {expert.name!r} cannot run here: {why}")


def _written(expert: Expert | None, text: str) -> str:
    """Return a text in the template of an expert; backends apply it themselves."""
    own = expert is not None and expert.template is not None and capabilities(expert).encodes_here
    return expert.template.replace("{question}", text) if own and expert and expert.template else text


def _encode(embedder: Embedder, texts: Sequence[str], written: list[str]) -> Embedded:
    there = [bool(text.strip()) for text in texts]
    assert embedder.encoder is not None
    some = encode([text for text, has in zip(written, there, strict=True) if has], embedder.encoder)
    stated = embedder.expert.dimensions if embedder.expert else None
    wanted = stated or vector_size(embedder.encoder)
    if embedder.expert is not None and wanted is not None and some.shape[1] != wanted:
        raise PoolError(
            f"expert {embedder.expert.name!r}: its vectors have {some.shape[1]:,} numbers, not {wanted:,}:"
            f" set dimensions = {some.shape[1]} in the pool file"
        )
    vectors = np.zeros((len(texts), some.shape[1]), np.float32)
    vectors[np.flatnonzero(there)] = some
    # A static encoder gives zeros, which have no direction.
    known = np.any(vectors, axis=1).tolist()
    errors = [None if k else _UNKNOWN if has else _BLANK for has, k in zip(there, known, strict=True)]
    return Embedded(vectors, errors, np.zeros(len(texts)))


def _request(engine: Engine, texts: Sequence[str], written: list[str], criteria: Criteria) -> Embedded:
    expert = engine.pool.experts[0]
    answers = engine.answer_table(_table(written), _criteria(expert, criteria))
    packed = answers.column("answer").to_pylist()
    errors = [
        None if vector is not None else error or (_BLANK if not text.strip() else "no vector came back")
        for vector, error, text in zip(packed, answers.column("error").to_pylist(), texts, strict=True)
    ]
    found = [None if vector is None else unpack_vector(vector) for vector in packed]
    size = next((len(vector) for vector in found if vector is not None), expert.dimensions or 1)
    vectors = np.zeros((len(texts), size), np.float32)
    for at, vector in enumerate(found):
        if vector is not None:
            vectors[at] = vector
    costs = np.array(answers.column("cost_usd").fill_null(0.0).to_pylist(), np.float64)
    return Embedded(vectors, errors, costs)


def _table(texts: Sequence[str]) -> pa.RecordBatchReader:
    return pa.table({"question": pa.array(texts, pa.string())}).to_reader()


def _criteria(expert: Expert, criteria: Criteria) -> Criteria:
    return Criteria(expert=expert.name, max_cost_usd=criteria.max_cost_usd, on_error="null")
