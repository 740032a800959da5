"""Sampling: from the logits of a batch to the next token of each row, by the parameters of its request.

The penalties and the order of the steps are those of OpenAI's API and of vLLM: penalties, temperature, `top_p`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from leeroo.engine.backends.completions import Request

# What OpenAI's API gives for a token that cannot come, as JSON has no infinity.
_NEVER = -9999.0


class Sampler:
    """Choose the next tokens of the rows of a batch; rows with a seed have a source of randomness of their own."""

    def __init__(self, requests: Sequence[Request], device: str) -> None:
        self._requests = requests
        self._seeded = {
            row: torch.Generator(device).manual_seed(request.seed)
            for row, request in enumerate(requests)
            if request.seed is not None and request.temperature > 0
        }
        self._temperature = torch.tensor([r.temperature for r in requests], device=device)
        self._top_p = torch.tensor([1.0 if r.top_p is None else r.top_p for r in requests], device=device)

    def pick(self, logits: torch.Tensor, rows: Sequence[int], written: Sequence[list[int]]) -> torch.Tensor:
        """Return the next token of each row [b]: the likeliest at temperature 0, else a sample.

        Args:
            logits: [b, v], changed in place.
            rows: [b], which rows of the batch they belong to.
            written: The tokens that each row of the batch has generated so far.
        """
        for at, row in enumerate(rows):
            _penalise(logits[at], self._requests[row], written[row])
        greedy = logits.argmax(-1)
        temperature, top_p = self._temperature[list(rows)], self._top_p[list(rows)]
        if not bool((temperature > 0).any()):
            return greedy
        likely = (logits / temperature.clamp(min=1e-6)[:, None]).softmax(-1)
        if bool((top_p < 1).any()):
            likely = _nucleus(likely, top_p)
        sampled = torch.multinomial(likely, 1)[:, 0]
        for at, row in enumerate(rows):
            if row in self._seeded:
                sampled[at] = torch.multinomial(likely[at], 1, generator=self._seeded[row])[0]
        return torch.where(temperature > 0, sampled, greedy)


def cut(text: str, stop: Sequence[str] | None) -> str | None:
    """Return the text before the first of these that is in it, None where none is."""
    ends = [at for end in stop or () if end and (at := text.find(end)) >= 0]
    return text[: min(ends)] if ends else None


def alternatives(logits: torch.Tensor, token: int, most: int) -> dict[int, float]:
    """Return the log probabilities of a token and of the `most` likeliest, by logits [v]; that token comes first."""
    known = logits.log_softmax(-1)
    best = known.topk(min(most, len(known)))
    likeliest = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return {token: float(known[token]), **dict(likeliest)}


def token_objects(
    tokens: Sequence[int], known: Sequence[Mapping[int, float]], most: int, tokenizer: Any
) -> list[dict[str, Any]]:
    """Return OpenAI's token objects of an answer, each with the `most` likeliest alternatives.

    Args:
        tokens: The tokens of the answer.
        known: For each, log probabilities by token; those of the likeliest and its own are there.
        most: How many alternatives are shown.
        tokenizer: The tokenizer of the model.
    """

    def shown(token: int, logprob: float) -> dict[str, Any]:
        text = str(tokenizer.decode([token]))
        return {"token": text, "logprob": max(logprob, _NEVER), "bytes": list(text.encode("utf-8", "replace"))}

    return [
        {
            **shown(token, step[token]),
            "top_logprobs": [shown(t, p) for t, p in sorted(step.items(), key=lambda pair: -pair[1])[:most]],
        }
        for token, step in zip(tokens, known, strict=True)
    ]


def _penalise(logits: torch.Tensor, request: Request, written: list[int]) -> None:
    """Take the penalties of what was written off the logits [v], in place."""
    frequency, presence = request.frequency_penalty or 0.0, request.presence_penalty or 0.0
    if written and (frequency or presence):
        counts = Counter(written)
        penalties = [frequency * count + presence for count in counts.values()]
        logits[list(counts)] -= torch.tensor(penalties, device=logits.device)


def _nucleus(likely: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """Leave of each row's probabilities [b, v] the likeliest that reach its `top_p` [b] together, at least one."""
    falling, order = likely.sort(-1, descending=True)
    before = falling.cumsum(-1) - falling
    dropped = (before >= top_p[:, None]) & (before > 0)
    return likely.scatter(-1, order, falling.masked_fill(dropped, 0))
