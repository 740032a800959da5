"""Writing: the rows of a batch, as they write their answers token by token.

It knows nothing of models: it takes logits and gives the next token of each row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from leeroo.engine.backends.completions import Request
from leeroo.engine.backends.local.chat import decode_text
from leeroo.engine.backends.local.sampling import Sampler, alternatives, cut


class Writing:
    """The answers of a batch so far.

    Attributes:
        written: By row, the tokens of its answer.
        known: By row, the log probabilities by token at each step, where they are requested.
        ended: The rows that a token has ended.
    """

    def __init__(
        self,
        requests: Sequence[Request],
        room: Sequence[int],
        grammars: Mapping[int, Any],
        ends: Sequence[int],
        tokenizer: Any,
        device: str,
    ) -> None:
        self._requests, self._room, self._grammars, self._ends = requests, room, grammars, ends
        self._tokenizer, self._sampler = tokenizer, Sampler(requests, device)
        self.written: list[list[int]] = [[] for _ in requests]
        self.known: list[list[dict[int, float]]] = [[] for _ in requests]
        self.ended: set[int] = set()

    def step(self, logits: torch.Tensor, going: Sequence[int]) -> tuple[torch.Tensor, list[int]]:
        """Choose the next token of each row that goes on.

        Args:
            logits: [b, v], changed in place.
            going: [b], which rows of the batch they belong to.

        Returns:
            The tokens [b], and the rows whose answers are over.

        """
        plain = logits.clone()
        for at, row in enumerate(going):
            if row in self._grammars:
                _mask_tokens(self._grammars[row], logits[at])
        picked = self._sampler.pick(logits, going, self.written)
        over = [
            row
            for at, (row, token) in enumerate(zip(going, picked.tolist(), strict=True))
            if self._is_over(row, token, plain[at])
        ]
        return picked, over

    def _is_over(self, row: int, token: int, logits: torch.Tensor) -> bool:
        """Write the next token of a row; return whether its answer is over."""
        request, written = self._requests[row], self.written[row]
        if row in self._grammars:
            self._grammars[row].consume_token(token)
        if token in self._ends:
            self.ended.add(row)
            return True
        written.append(token)
        if request.top_logprobs is not None:
            self.known[row].append(alternatives(logits, token, request.top_logprobs))
        return len(written) == self._room[row] or self._ends_by_stop(request, written)

    def _ends_by_stop(self, request: Request, written: list[int]) -> bool:
        return bool(request.stop) and cut(decode_text(self._tokenizer, written), request.stop) is not None


def _mask_tokens(grammar: Any, logits: torch.Tensor) -> None:
    """Leave only the tokens that may come next, in place; logits are [v]."""
    import llguidance.numpy as llg

    mask = llg.allocate_token_bitmask(1, logits.shape[-1])
    llg.fill_next_token_bitmask(grammar, mask, 0)
    # The library's own function for tensors is compiled on first use, which takes seconds.
    allowed = np.unpackbits(mask[0].view(np.uint8), bitorder="little")[: logits.shape[-1]].astype(bool)
    logits.masked_fill_(torch.from_numpy(~allowed).to(logits.device), -torch.inf)
