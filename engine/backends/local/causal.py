"""A causal language model as transformers loads it, and rows of tokens that it computes together.

Rows are padded on the left, so that all end together; their state is kept in a cache, which rows may leave. This
module knows nothing of requests: it takes tokens and gives logits.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from leeroo.engine.backends.local import checked
from leeroo.engine.errors import ExpertUnavailable

# Parameter names of the cache: one of keys and values, and one of a state without positions (Mamba's).
_CACHES = (_PLACES, _STATE) = ("past_key_values", "cache_params")
# Logits that differ by less than this part of their spread are the same in another order of adding.
_SAME = 0.2


class Prefix(NamedTuple):
    """The cache after tokens that rows begin with."""

    cache: Any
    tokens: int


class CausalModel:
    """A loaded model.

    Args:
        model: The model of transformers.
        device: Where it is to compute.
        folder: Its files; a model that passed the checks on this machine is not checked again.

    Attributes:
        model: The model of transformers.
        device: The device that it is on.
        continues: Rows can go on from a prefix that was computed before.

    Raises:
        ExpertUnavailable: rows get other logits together than alone, because it keeps a state outside of the cache.
    """

    def __init__(self, model: Any, device: str, folder: Path) -> None:
        self.model, self.device = model.to(device).eval(), device
        takes = inspect.signature(model.forward).parameters
        self._cache = next((name for name in _CACHES if name in takes), _PLACES)
        attention = getattr(model.config, "_attn_implementation", None)
        known = checked.place(folder, type(model).__name__, device, model.dtype, attention)
        continues = checked.read(known)
        if continues is None:
            continues = self._check()
            checked.keep(known, continues)
        self.continues = continues

    @torch.inference_mode()
    def _check(self) -> bool:
        """Return whether rows can go on from a prefix, after a check that rows of a batch can share their state."""
        middle = self.model.config.get_text_config().vocab_size // 2
        longer, probe = [middle - i for i in range(8)], [middle + i for i in range(5)]
        alone = TokenRows(self, [probe]).logits()[0]
        if not _give_same(alone, lambda: self._probe_after_leaving(longer, probe)):
            raise ExpertUnavailable(
                f"models of type {self.model.config.model_type!r} keep a state that rows of a batch cannot share here: "
                "ask it with backend = 'vllm'"
            )
        return _give_same(alone, lambda: self._probe_after_prefix(longer, probe))

    @torch.inference_mode()
    def compute_prefix(self, tokens: list[int]) -> Prefix | None:
        """Compute the cache of some tokens; return None for no tokens."""
        if not tokens:
            return None
        rows = TokenRows(self, [tokens])
        rows.logits()
        return Prefix(rows.cache, len(tokens))

    def new_cache(self) -> Any:
        """Return an empty cache."""
        from transformers import DynamicCache

        return DynamicCache(config=self.model.config)

    def __call__(self, tokens: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: Any) -> torch.Tensor:
        """Return the logits [b, v] after tokens [b, t], which go on from what is in the cache."""
        out = self.model(
            input_ids=tokens,
            # A past without positions cannot be masked.
            attention_mask=mask[:, -tokens.shape[1] :] if self._cache == _STATE else mask,
            position_ids=positions,
            use_cache=True,
            logits_to_keep=1,
            **{self._cache: cache},
        )
        logits: torch.Tensor = out.logits[:, -1].float()
        return logits

    def _probe_after_leaving(self, longer: list[int], probe: list[int]) -> torch.Tensor:
        """Return the logits [v] after a row that was padded to the length of another, which has left."""
        rows = TokenRows(self, [longer, probe[:-1]])
        rows.logits()
        rows.go_on([1], torch.tensor(probe[-2:], device=self.device))
        return rows.logits()[0]

    def _probe_after_prefix(self, longer: list[int], probe: list[int]) -> torch.Tensor:
        """Return the logits [v] after a row that goes on, with longer ones, from a prefix, and then from itself."""
        begun = probe[:2]
        rows = TokenRows(self, [[*begun, *longer], probe[:-2]], self.compute_prefix(begun))
        rows.logits()
        return rows.branch([1, 0], [probe[-2:], longer]).logits()[0]


class TokenRows:
    """Rows of tokens, and the state after those that were computed.

    Attributes:
        cache: Keys and values, or another state, of all tokens but those added last.
    """

    def __init__(self, model: CausalModel, rows: Sequence[list[int]], prefix: Prefix | None = None) -> None:
        self._model = model
        begun = prefix.tokens if prefix else 0
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
        self.cache = copy.deepcopy(prefix.cache) if prefix else model.new_cache()
        if prefix:
            self.cache.reorder_cache(torch.zeros(len(rows), dtype=torch.long, device=model.device))

    def logits(self) -> torch.Tensor:
        """Return the logits [b, v] of the next tokens."""
        return self._model(self._tokens, self._mask, self._positions, self.cache)

    def branch(self, stay: list[int], tokens: list[list[int]]) -> TokenRows:
        """Return rows that go on from these computed rows, each with its own tokens; this one's cache goes to them.

        One row may go on in several ways.
        """
        at = torch.tensor(stay, device=self._model.device)
        self.cache.reorder_cache(at)
        rows = TokenRows(self._model, tokens)
        rows.cache, begun = self.cache, self._positions[at, -1:] + 1
        rows._positions = begun + rows._positions
        rows._mask = torch.cat([self._mask[at], rows._mask], dim=1)
        return rows

    def go_on(self, stay: list[int], tokens: torch.Tensor) -> None:
        """Keep only these rows, and let each go on with its token of [b]."""
        if len(stay) < len(self._mask):
            at = torch.tensor(stay, device=self._model.device)
            self.cache.reorder_cache(at)
            self._mask, self._positions = self._mask[at], self._positions[at]
        self._tokens = tokens[stay][:, None]
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(stay), 1)], dim=1)
        self._positions = self._positions[:, -1:] + 1


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory has run out."""
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in str(error)


def _give_same(alone: torch.Tensor, compute: Callable[[], torch.Tensor]) -> bool:
    """Return whether computing logits [v] in another way gives the same."""
    try:
        difference = (compute() - alone).square().mean().sqrt()
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if out_of_memory(error):
            raise
        return False
    return bool(difference <= _SAME * alone.std())
