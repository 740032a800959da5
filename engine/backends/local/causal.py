"""A causal language model as transformers loads it, and rows of tokens that it computes together.

Rows are padded on the left, so that all end together; their state is kept in a cache, which rows may leave.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from leeroo.engine.errors import ExpertUnavailable

# What models call the cache: one of keys and values, and one of a state that has no places (Mamba's).
_CACHES = (_PLACES, _STATE) = ("past_key_values", "cache_params")
# Logits that differ by less than this part of their spread are the same in another order of adding.
_ALIKE = 0.2


class Beginning(NamedTuple):
    """What was computed of tokens that rows begin with."""

    cache: Any
    tokens: int


class CausalModel:
    """A loaded model.

    Attributes:
        model: As transformers made it.
        device: Where it is.
        continues: Whether rows can go on from a beginning that was computed before.

    Raises:
        ExpertUnavailable: rows do not get the same together as alone, because it keeps a state outside of the cache.
    """

    def __init__(self, model: Any, device: str) -> None:
        self.model, self.device = model.to(device).eval(), device
        takes = inspect.signature(model.forward).parameters
        self._cache = next((name for name in _CACHES if name in takes), _PLACES)
        middle = model.config.get_text_config().vocab_size // 2
        longer, probe = [middle - i for i in range(8)], [middle + i for i in range(5)]
        with torch.inference_mode():
            alone = Rows(self, [probe]).logits()[0]
            if not _alike(alone, lambda: self._left_behind(longer, probe)):
                raise ExpertUnavailable(
                    f"models of type {model.config.model_type!r} keep a state that rows of a batch cannot share here: "
                    "ask it with backend = 'vllm'"
                )
            self.continues = _alike(alone, lambda: self._continued(longer, probe))

    @torch.inference_mode()
    def begin(self, tokens: list[int]) -> Beginning | None:
        """Compute a beginning; None for none."""
        if not tokens:
            return None
        rows = Rows(self, [tokens])
        rows.logits()
        return Beginning(rows.cache, len(tokens))

    def new_cache(self) -> Any:
        """Return an empty cache."""
        from transformers import DynamicCache

        return DynamicCache(config=self.model.config)

    def __call__(self, tokens: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Any) -> torch.Tensor:
        """Return the logits [b, v] after tokens [b, t], which go on from what is in the cache."""
        out = self.model(
            input_ids=tokens,
            # Where the past has no places, nothing of it can be masked.
            attention_mask=mask[:, -tokens.shape[1] :] if self._cache == _STATE else mask,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
            **{self._cache: cache},
        )
        logits: torch.Tensor = out.logits[:, -1].float()
        return logits

    def _left_behind(self, longer: list[int], probe: list[int]) -> torch.Tensor:
        """Return the logits [v] after a row that was padded beside a longer one, which has left."""
        rows = Rows(self, [longer, probe[:-1]])
        rows.logits()
        rows.go_on([1], torch.tensor(probe[-2:], device=self.device))
        return rows.logits()[0]

    def _continued(self, longer: list[int], probe: list[int]) -> torch.Tensor:
        """Return the logits [v] after a row that goes on, beside a longer one, from the beginning of both."""
        begun = probe[:2]
        return Rows(self, [[*begun, *longer], probe], self.begin(begun)).logits()[1]


class Rows:
    """Some rows of tokens and the state of what was computed of them.

    Attributes:
        cache: Keys and values, or another state, of all tokens but those added last.
    """

    def __init__(self, model: CausalModel, rows: Sequence[list[int]], beginning: Beginning | None = None) -> None:
        self._model = model
        begun = beginning.tokens if beginning else 0
        width = max(map(len, rows)) - begun
        tokens = torch.zeros(len(rows), width, dtype=torch.long)  # [b, t]
        mask = torch.zeros_like(tokens)
        for at, ids in enumerate(rows):
            new = ids[begun:]
            tokens[at, width - len(new) :] = torch.tensor(new)
            mask[at, width - len(new) :] = 1
        self._tokens, mask = tokens.to(model.device), mask.to(model.device)
        self._positions = begun + (mask.cumsum(-1) - 1).clamp(min=0)
        self._mask = torch.cat([mask.new_ones(len(rows), begun), mask], dim=1)
        self.cache = copy.deepcopy(beginning.cache) if beginning else model.new_cache()
        if beginning:
            self.cache.reorder_cache(torch.zeros(len(rows), dtype=torch.long, device=model.device))

    def logits(self) -> torch.Tensor:
        """Return the logits [b, v] of the next tokens."""
        return self._model(self._tokens, self._mask, self._positions, self.cache)

    def go_on(self, stay: list[int], tokens: torch.Tensor) -> None:
        """Let all rows leave but these, and each of them go on with its token of [b]."""
        if len(stay) < len(self._mask):
            at = torch.tensor(stay, device=self._model.device)
            self.cache.reorder_cache(at)
            self._mask, self._positions = self._mask[at], self._positions[at]
        self._tokens = tokens[stay][:, None]
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(stay), 1)], dim=1)
        self._positions = self._positions[:, -1:] + 1


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def _alike(alone: torch.Tensor, compute: Callable[[], torch.Tensor]) -> bool:
    """Whether computing logits [v] in another way comes out the same."""
    try:
        difference = (compute() - alone).square().mean().sqrt()
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if out_of_memory(error):
            raise
        return False
    return bool(difference <= _ALIKE * alone.std())
