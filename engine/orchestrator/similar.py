"""Kin: the expert most like one of which nothing is recorded, by what its names and tags say of family and size."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from leeroo.engine.pool import Expert

# What names say that is of no family: how a model was tuned, packed or is offered.
_NO_FAMILY = {"instruct", "chat", "base", "gguf", "awq", "gptq", "hf", "it", "preview", "latest", "turbo", "model"}
_WORD = re.compile(r"[a-z]{3,}")
# Such as 7b, 0.5B, 135M, and 8x7B for a mixture.
_SIZE = re.compile(r"(?<![a-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE)
# A model four times as large is as strange as one of another family; one without a size, or with other tags, half.
_PER_FACTOR, _UNKNOWN_SIZE, _OTHER_TAGS = 1 / math.log(4), 0.5, 0.5


def most_similar(unknown: Expert, known: Sequence[Expert]) -> Expert:
    """The one of the known experts, at least one, whose family, size and tags are nearest; of equals the first."""
    return min(known, key=lambda other: _distance(unknown, other))


def size_b(expert: Expert) -> float | None:
    """Billions of parameters as the name of the model, or else of the expert, gives them; None where neither does."""
    for name in _names(expert):
        if found := _SIZE.search(name):
            experts, size, unit = found.groups()
            return float(size) * int(experts or 1) / (1000 if unit in "mM" else 1)
    return None


def _distance(one: Expert, other: Expert) -> float:
    sizes = size_b(one), size_b(other)
    by_size = _UNKNOWN_SIZE
    if sizes[0] and sizes[1]:
        by_size = abs(math.log(sizes[0] / sizes[1])) * _PER_FACTOR
    return (
        _jaccard_distance(_family(one), _family(other))
        + by_size
        + _OTHER_TAGS * _jaccard_distance(set(one.tags), set(other.tags))
    )


def _family(expert: Expert) -> set[str]:
    return {word for name in _names(expert) for word in _WORD.findall(name.lower())} - _NO_FAMILY


def _names(expert: Expert) -> tuple[str, ...]:
    # A replayed expert's model is a folder of many experts' outcomes, which says nothing of its own.
    return (expert.name,) if expert.backend == "replay" else (expert.model.rsplit("/", 1)[-1], expert.name)


def _jaccard_distance(one: set[str], other: set[str]) -> float:
    """Share of all the words that only one has (Jaccard distance); 0 where neither has any."""
    return 1 - len(one & other) / len(one | other) if one | other else 0.0
