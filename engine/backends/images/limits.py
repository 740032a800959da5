"""Limits: which experts can see images, the size in which each gets them, and how many tokens that is.

Providers count an image by its size; the formulas are those of their documentation. A model of this machine counts by
its own processor. Where nothing is known of a model, many tokens are assumed, so that budgets hold.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from leeroo.engine import weights
from leeroo.engine.backends.completions import Request
from leeroo.engine.errors import LeerooError
from leeroo.engine.images.pixels import fitted
from leeroo.engine.pool import Expert

Size = tuple[int, int]  # width and height in pixels


@dataclass(frozen=True)
class ImageLimits:
    """How an expert takes images.

    Attributes:
        longest: The most pixels of a side; larger images are made smaller.
        count: The tokens of an image of a size that fits.
    """

    longest: int
    count: Callable[[int, int], int]

    def tokens(self, images: Sequence[Size]) -> int:
        """Return the tokens of images of these sizes, once they are made to fit."""
        return sum(self.count(*fitted(*size, self.longest)) for size in images)


def sees(expert: Expert) -> bool:
    """Return whether an expert can see images: the pool says so, or the settings of a model of this machine."""
    if expert.images is not None:
        return expert.images
    return _has_vision(expert.model, expert.engine.get("revision"))


@functools.cache
def _has_vision(model: str, revision: str | None) -> bool:
    found = weights.find(model, revision)
    if found is None or found.is_file():
        return False
    try:
        return "vision_config" in json.loads((found / "config.json").read_text())
    except (OSError, ValueError):
        return False


def limits_of(expert: Expert) -> ImageLimits:
    """Return how an expert takes images."""
    revision = expert.engine.get("revision")
    if _has_vision(expert.model, revision):
        return ImageLimits(_LONGEST_HERE, _processor_count(expert.model, revision))
    name = expert.model.casefold().rpartition("/")[2]
    return next((limits for words, limits in _KNOWN if any(word in name for word in words)), _CAUTIOUS)


def with_image_tokens(request: Request, limits: ImageLimits) -> Request:
    """Return a request with the tokens of its images."""
    if not request.images:
        return request
    return replace(request, image_tokens=limits.tokens([(image.width, image.height) for image in request.images]))


def _patches(side: int, most: int, factor: float = 1.0) -> Callable[[int, int], int]:
    """Count patches of this many pixels a side; an image with more of them is made smaller."""

    def count(width: int, height: int) -> int:
        patches = min(math.ceil(width / side) * math.ceil(height / side), most)
        return math.ceil(patches * factor)

    return count


def _tiles(base: int, each: int) -> Callable[[int, int], int]:
    """Count OpenAI's tiles of 512 pixels, once the shorter side has at most 768."""

    def count(width: int, height: int) -> int:
        scale = min(1.0, 768 / min(width, height))
        return base + each * math.ceil(width * scale / 512) * math.ceil(height * scale / 512)

    return count


def _of_anthropic(width: int, height: int) -> int:
    return min(math.ceil(width * height / 750), 1600)


def _of_gemini(width: int, height: int) -> int:
    """Count tiles of 258 tokens: one for a small image; else as many as a third of the shorter side's half makes."""
    if max(width, height) <= 384:
        return 258
    side = min(max(math.floor(min(width, height) / 1.5), 256), 768)
    return 258 * math.ceil(width / side) * math.ceil(height / side)


# By words in names of models, the particular ones first.
_KNOWN: tuple[tuple[tuple[str, ...], ImageLimits], ...] = (
    (("claude",), ImageLimits(1568, _of_anthropic)),
    (("gemini",), ImageLimits(3072, _of_gemini)),
    (("gpt-4o-mini",), ImageLimits(2048, _tiles(2833, 5667))),
    (("gpt-4.1-mini", "gpt-5-mini"), ImageLimits(2048, _patches(32, 1536, 1.62))),
    (("gpt-4.1-nano", "gpt-5-nano"), ImageLimits(2048, _patches(32, 1536, 2.46))),
    (("o4-mini",), ImageLimits(2048, _patches(32, 1536, 1.72))),
    (("gpt-4o", "gpt-4.1", "gpt-4.5", "gpt-4-turbo"), ImageLimits(2048, _tiles(85, 170))),
)
# Patches of 28 pixels, as models of Qwen have them: more than most others count.
_CAUTIOUS = ImageLimits(2048, _patches(28, 16_384))
# A model of this machine makes images smaller itself; this bounds the memory until then.
_LONGEST_HERE = 4096


@functools.cache
def _processor_count(model: str, revision: str | None) -> Callable[[int, int], int]:
    """Return the count of a local model's own processor, the cautious one where it does not say."""
    processor = _processor(model, revision)

    @functools.lru_cache(maxsize=4096)
    def count(width: int, height: int) -> int:
        try:
            [tokens] = processor._get_num_multimodal_tokens(image_sizes=[(height, width)])["num_image_tokens"]
            return int(tokens)
        # Processors that do not count raise any of these, some by not implementing the method.
        except (AttributeError, KeyError, TypeError, ValueError, NotImplementedError):
            return _CAUTIOUS.count(width, height)

    return count


def _processor(model: str, revision: str | None) -> Any:
    try:
        from transformers import AutoProcessor

        return AutoProcessor.from_pretrained(_folder(model, revision))
    except (LeerooError, ImportError, OSError, ValueError, KeyError):
        return None


def _folder(model: str, revision: str | None) -> Path:
    found = weights.find(model, revision)
    if found is None:
        raise OSError(f"{model} is not on this machine")
    return found
