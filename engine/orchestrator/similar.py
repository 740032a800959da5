"""The expert most similar to one without outcomes, by family and size as names and tags give them.

Knows nothing of outcomes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from leeroo.engine.pool import Expert

# Words in names that name no family: how a model was tuned, packed or is offered.
_NO_FAMILY = {"instruct", "chat", "base", "gguf", "awq", "gptq", "hf", "it", "preview", "latest", "turbo", "model"}
_WORD = re.compile(r"[a-z]{3,}")
# Matches 7b, 0.5B, 135M, and 8x7B for a mixture.
_SIZE = re.compile(r"(?<![a-z0-9.])(?:(\d+)x)?(\d+(?:\.\d+)?)([bm])(?![a-z0-9])", re.IGNORECASE)
# A model four times as large is as strange as one of another family; one without a size, or with other tags, half.
_PER_FACTOR, _UNKNOWN_SIZE, _OTHER_TAGS = 1 / math.log(4), 0.5, 0.5


def most_similar(unknown: Expert, known: Sequence[Expert]) -> Expert:
    """Return the known expert (of at least one) with the nearest family, size and tags; the first in a tie."""
    return min(known, key=lambda other: _distance(unknown, other))


def size_b(expert: Expert) -> float | None:
    """Return the billions of parameters in the model's or else the expert's name; None where neither has them."""
    for name in expert.model_names:
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
    return {word for name in expert.model_names for word in _WORD.findall(name.lower())} - _NO_FAMILY


def _jaccard_distance(one: set[str], other: set[str]) -> float:
    """Return the share of all the words that only one has (Jaccard distance); 0 where neither has any."""
    return 1 - len(one & other) / len(one | other) if one | other else 0.0
