"""Vision: rows with images, as an image-text model of transformers computes them.

Models of this kind differ in how images come in, so that the library's own `generate` runs each batch. Every token is
chosen here all the same: a processor of logits leaves one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from leeroo.engine.backends.choices import ChoiceTree, Fork
from leeroo.engine.backends.completions import Request, choice_tree, failed_completion, too_long_completion
from leeroo.engine.backends.local.chat import UnsupportedRequest, write_with_images
from leeroo.engine.backends.local.writing import Writing
from leeroo.engine.images.pixels import NoImage

# Rows that are computed together: their pixels are in memory meanwhile.
_ROWS = 16
# The most pixels of a side before the model's own processor makes an image smaller.
LONGEST = 4096


class Sight(NamedTuple):
    """A request with images, as the model sees it: as a whole, or at one fork of its choices."""

    request: Request
    text: str
    fork: Fork | None
    tree: ChoiceTree | None
    started: float

    @property
    def prefix(self) -> tuple[int, ...]:
        """The tokens after the prompt that its choices have in common up to the fork."""
        return self.fork.prefix if self.fork else ()


class SeenRow(NamedTuple):
    """A row that the model can take, and the tokens of its prompt without those after it."""

    sight: Sight
    ids: list[int]


class Vision:
    """The processor of a model, and how it generates."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoProcessor

        self.processor: Any = AutoProcessor.from_pretrained(folder, padding_side="left")
        if getattr(self.processor, "image_processor", None) is None:
            raise ValueError("it has no processor of images: leave images = true out of the pool file")
        self.tokenizer: Any = self.processor.tokenizer

    def sights(self, requests: Sequence[Request], end: int) -> tuple[list[Sight], list[dict[str, Any]]]:
        """Return requests as the model sees them, and the completions of those that it cannot take."""
        sights, refused = [], []
        for request in requests:
            try:
                text = write_with_images(request, self.processor)
            except UnsupportedRequest as error:
                refused.append(failed_completion(request, str(error), bounced=True))
            except (AttributeError, KeyError, TypeError, ValueError):
                refused.append(failed_completion(request, "turns and after must be JSON lists of chat messages"))
            else:
                tree, started = choice_tree(request, self.tokenizer, end), time.perf_counter()
                forks: list[Fork | None] = [*tree.forks] if tree else [None]
                sights += [Sight(request, text, fork, tree, started) for fork in forks]
        return sights, refused

    def read(
        self, sights: Sequence[Sight], model: Any, context: int
    ) -> tuple[list[SeenRow], Any, list[dict[str, Any]]]:
        """Return the rows that the model can take, its inputs for them, and the completions of the others."""
        seen, refused = [], []
        for sight in sights:
            try:
                seen.append((sight, [image.pixels(LONGEST) for image in sight.request.placed_images]))
            except NoImage as error:
                refused.append(failed_completion(sight.request, str(error)))
        if not seen:
            return [], None, refused
        inputs = self._inputs([sight.text for sight, _ in seen], [images for _, images in seen], model)
        masks, ids = inputs["attention_mask"].bool(), inputs["input_ids"]
        rows = [SeenRow(sight, ids[at][masks[at]].tolist()) for at, (sight, _) in enumerate(seen)]
        fitting = [row.sight for row in rows if len(row.ids) + len(row.sight.prefix) < context]
        if len(fitting) < len(rows):
            long = [row for row in rows if len(row.ids) + len(row.sight.prefix) >= context]
            refused += [too_long_completion(row.sight.request, len(row.ids), context) for row in long]
            again, inputs, _ = self.read(fitting, model, context)
            return again, inputs, refused
        return rows, _with_prefixes(inputs, [row.sight.prefix for row in rows]), refused

    def _inputs(self, texts: list[str], images: list[list[Any]], model: Any) -> Any:
        chats = (self.processor.chat_template or self.tokenizer.chat_template) is not None
        # A chat template writes the special tokens itself.
        given = self.processor(
            text=texts, images=images, padding=True, return_tensors="pt", add_special_tokens=not chats
        )
        return given.to(model.device, dtype=model.dtype)


def portions(sights: Sequence[Sight], most: int) -> Iterator[list[Sight]]:
    """Split rows into as many as are computed together: alike in number of images, prefix and limit."""
    alike: dict[tuple[int, int, bool], list[Sight]] = {}
    for sight in sights:
        kind = (len(sight.request.images), len(sight.prefix), sight.fork is None)
        alike.setdefault(kind, []).append(sight)
    rows = min(most, _ROWS)
    for group in alike.values():
        group.sort(key=lambda sight: (sight.request.max_tokens, len(sight.text)), reverse=True)
        yield from (group[at : at + rows] for at in range(0, len(group), rows))


def generate(model: Any, inputs: Any, writing: Writing, steps: int) -> None:
    """Let all rows write until their answers are over, `steps` tokens at most."""
    going = list(range(inputs["input_ids"].shape[0]))

    def choose(_: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Leave one token of each row: the next of its answer, or any where that is over."""
        chosen = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
        at = torch.tensor(going, device=scores.device)
        picked, over = writing.step(scores[at].float(), going)
        chosen[at] = picked
        for row in over:
            going.remove(row)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen[:, None], 0.0)

    def is_over(ids: torch.Tensor, _: object, **__: object) -> torch.Tensor:
        return torch.full((len(ids),), not going, dtype=torch.bool, device=ids.device)

    _run(model, inputs, choose, steps, is_over)


def first_logits(model: Any, inputs: Any) -> torch.Tensor:
    """Return the logits [b, v] of the first token of each row's answer."""
    kept: list[torch.Tensor] = []

    def keep(_: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        kept.append(scores.float())
        return scores

    _run(model, inputs, keep, 1)
    return kept[0]


def _run(
    model: Any,
    inputs: Any,
    choose: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    steps: int,
    is_over: Callable[..., torch.Tensor] | None = None,
) -> None:
    from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList

    model.generate(
        **inputs,
        # The model's own settings may penalise or forbid tokens.
        generation_config=GenerationConfig(max_new_tokens=steps, do_sample=False, pad_token_id=0, eos_token_id=None),
        logits_processor=LogitsProcessorList([choose]),
        stopping_criteria=StoppingCriteriaList([is_over] if is_over else []),
    )


def _with_prefixes(inputs: Any, prefixes: Sequence[tuple[int, ...]]) -> Any:
    """Return inputs with tokens after each prompt, of the same number for all rows."""
    if not prefixes[0]:
        return inputs
    ids = inputs["input_ids"]  # [b, t]
    more = torch.tensor(prefixes, device=ids.device, dtype=ids.dtype)
    shape = ids.shape
    for name, value in list(inputs.items()):
        # Whatever has a value for each token says of text: 1 in the mask, 0 for its kind.
        if value.shape == shape and not value.is_floating_point():
            added = {"input_ids": more, "attention_mask": torch.ones_like(more)}.get(name, torch.zeros_like(more))
            inputs[name] = torch.cat([value, added.to(value.dtype)], dim=1)
    return inputs
