"""Transformers: the embedded backend, for any causal model that the library loads, on CPU or GPU.

Requests gather in a buffer, are sorted by their limit and length, so that little is padded, and are decoded in
batches with a KV cache; a row that has finished leaves its batch.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import Any

import pyarrow as pa
import torch

from leeroo.engine import weights
from leeroo.engine.backends.completions import Request, completed, failed, requests_of, too_long
from leeroo.engine.errors import ExpertUnavailable, PoolError
from leeroo.engine.pool import Expert

_OPTIONS = ("dtype", "device", "batch_size", "max_model_len", "attn_implementation", "revision")
_BUFFER_ROWS = 1024
# Of a batch: prompts and what may be generated together, which bounds the KV cache.
_BATCH_TOKENS = 16_384


class TransformersBackend:
    """One model in this process.

    Raises:
        ExpertUnavailable: it does not load.
        PoolError: an unknown engine option, or no such model.
    """

    _model: Any
    _tokenizer: Any

    def __init__(self, expert: Expert) -> None:
        for name in expert.engine:
            if name not in _OPTIONS:
                raise PoolError(
                    f"expert {expert.name!r}: transformers has no engine option {name!r}; it has {', '.join(_OPTIONS)}"
                )
        options = expert.engine
        self._device: str = options.get("device") or ("cuda" if torch.cuda.is_available() else "cpu")
        self._batch_rows = int(options.get("batch_size", 64 if self._device == "cpu" else 256))
        self._load(expert, options)
        config = self._model.config.get_text_config()
        longest = getattr(config, "max_position_embeddings", None) or 2**31
        self._context = int(min(longest, options.get("max_model_len") or longest))
        ends = self._model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        self._ends = torch.tensor([e for e in {*ends, self._tokenizer.eos_token_id} if e is not None] or [-1])

    def _load(self, expert: Expert, options: dict[str, Any]) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        folder = weights.locate(expert.model)
        # bfloat16 is slower than float32 on a CPU without matrix units for it.
        dtype = options.get("dtype") or ("float32" if self._device == "cpu" else "auto")
        extra = {"attn_implementation": options["attn_implementation"]} if "attn_implementation" in options else {}
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
            model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **extra)
            self._model = model.to(self._device).eval()
        except (OSError, ValueError, ImportError, RuntimeError, KeyError) as error:
            why = str(error).strip().splitlines() or [type(error).__name__]
            raise ExpertUnavailable(f"{expert.model} does not load: {why[0]}") from error

    def generate(self, requests: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
        """Answer a stream of requests, a buffer at a time."""
        waiting: list[Request] = []
        for batch in requests:
            waiting += requests_of(batch)
            # An empty batch says that nothing more comes until these are done.
            if batch.num_rows == 0 or len(waiting) >= _BUFFER_ROWS:
                yield from self._answer(waiting)
                waiting = []
        yield from self._answer(waiting)

    def close(self) -> None:
        """Free the model."""
        self._model = None
        if self._device != "cpu":
            torch.cuda.empty_cache()

    def _answer(self, requests: list[Request]) -> Generator[pa.RecordBatch]:
        if not requests:
            return
        prompts = self._tokenize(requests)
        fits = []
        over = []
        for request, ids in zip(requests, prompts, strict=True):
            if len(ids) >= self._context:
                over.append(too_long(request, len(ids), self._context))
            else:
                fits.append((request, ids))
        if over:
            yield completed(over)
        for batch in self._batches(fits):
            yield completed(self._run(batch))

    def _tokenize(self, requests: list[Request]) -> list[list[int]]:
        if self._tokenizer.chat_template is None:
            texts = ["\n\n".join(m["content"] for m in r.messages) for r in requests]
            return list(self._tokenizer(texts)["input_ids"])
        texts = [
            self._tokenizer.apply_chat_template(r.messages, tokenize=False, add_generation_prompt=True)
            for r in requests
        ]
        return list(self._tokenizer(texts, add_special_tokens=False)["input_ids"])

    def _batches(self, rows: list[tuple[Request, list[int]]]) -> Iterator[list[tuple[Request, list[int]]]]:
        """Rows of like limits and lengths together, longest first: what will not fit shows at once."""
        rows = sorted(rows, key=lambda row: (row[0].choices is not None, row[0].max_tokens, len(row[1])), reverse=True)
        batch: list[tuple[Request, list[int]]] = []
        for row in rows:
            width = max(len(r[1]) + r[0].max_tokens for r in [*batch[:1], row])
            other = batch and (batch[0][0].choices is None) != (row[0].choices is None)
            if batch and (other or len(batch) == self._batch_rows or width * (len(batch) + 1) > _BATCH_TOKENS):
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def _run(self, batch: list[tuple[Request, list[int]]]) -> list[dict[str, Any]]:
        """Completions of one batch; when memory runs out, of its halves."""
        try:
            if batch[0][0].choices is not None:
                return [self._choose(request, ids) for request, ids in batch]
            return self._decode(batch)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                return [failed(batch[0][0], "the device's memory does not suffice for this row; shorten it")]
        half = len(batch) // 2
        return self._run(batch[:half]) + self._run(batch[half:])

    @torch.inference_mode()
    def _decode(self, batch: list[tuple[Request, list[int]]]) -> list[dict[str, Any]]:
        from transformers import DynamicCache

        started = time.perf_counter()
        room = [min(r.max_tokens, self._context - len(ids)) for r, ids in batch]
        written: list[list[int]] = [[] for _ in batch]
        done: dict[int, dict[str, Any]] = {}
        rows = list(range(len(batch)))  # of the batch, those still decoding
        cache = DynamicCache(config=self._model.config)
        tokens, mask = self._padded([ids for _, ids in batch])  # [b, t] both
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        temperature = torch.tensor([r.temperature for r, _ in batch], device=self._device)
        ends = set(self._ends.tolist())
        while rows:
            out = self._model(
                input_ids=tokens,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            picked = _pick(out.logits[:, -1].float(), temperature)  # [b]
            stay = []
            for at, (row, token) in enumerate(zip(rows, picked.tolist(), strict=True)):
                if token not in ends:
                    written[row].append(token)
                if token in ends or len(written[row]) == room[row]:
                    reason = "stop" if token in ends else "length"
                    done[row] = self._done(batch[row], written[row], token in ends, reason, started)
                else:
                    stay.append(at)
            if len(stay) < len(rows):
                rows = [rows[at] for at in stay]
                keep = torch.tensor(stay, dtype=torch.long, device=self._device)
                if rows:
                    cache.batch_select_indices(keep)
                picked, mask, positions, temperature = (x[keep] for x in (picked, mask, positions, temperature))
            tokens = picked[:, None]
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            positions = positions[:, -1:] + 1
        return [done[row] for row in range(len(batch))]

    def _done(
        self, row: tuple[Request, list[int]], written: list[int], ended: bool, reason: str, started: float
    ) -> dict[str, Any]:
        request, prompt = row
        return {
            "id": request.id,
            "answer": self._tokenizer.decode(written, skip_special_tokens=True).strip(),
            "prompt_tokens": len(prompt),
            # The token that ends an answer was generated too.
            "completion_tokens": len(written) + ended,
            "latency_ms": (time.perf_counter() - started) * 1e3,
            "finish_reason": reason,
        }

    @torch.inference_mode()
    def _choose(self, request: Request, prompt: list[int]) -> dict[str, Any]:
        """The choice that the model finds likeliest as its answer, by the log probability of all its tokens."""
        started = time.perf_counter()
        choices = request.choices or []
        texts = [self._tokenizer(choice, add_special_tokens=False)["input_ids"] for choice in choices]
        longest = max(map(len, texts))
        tokens, mask = self._padded([prompt + text for text in texts])
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        logits = self._model(
            input_ids=tokens, attention_mask=mask, position_ids=positions, logits_to_keep=longest + 1
        ).logits  # [c, longest + 1, v]
        logprobs = logits[:, :-1].float().log_softmax(-1).gather(-1, tokens[:, -longest:, None])[..., 0]
        # Padding is on the left, so a choice's own tokens are the last ones of its row.
        scores = [float(row[longest - len(text) :].sum()) for row, text in zip(logprobs, texts, strict=True)]
        best = max(range(len(choices)), key=scores.__getitem__)
        return {
            "id": request.id,
            "answer": choices[best],
            "prompt_tokens": len(prompt),
            "completion_tokens": len(texts[best]),
            "latency_ms": (time.perf_counter() - started) * 1e3,
            "finish_reason": "stop",
            "choice_logprobs": scores,
        }

    def _padded(self, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and attention mask [b, t], padded on the left so that all rows end together."""
        width = max(map(len, rows))
        tokens = torch.zeros(len(rows), width, dtype=torch.long)
        mask = torch.zeros_like(tokens)
        for i, ids in enumerate(rows):
            tokens[i, width - len(ids) :] = torch.tensor(ids)
            mask[i, width - len(ids) :] = 1
        return tokens.to(self._device), mask.to(self._device)


def _pick(logits: torch.Tensor, temperature: torch.Tensor) -> torch.Tensor:
    """The next token of each row [b]: the likeliest at temperature 0, else a sample. Logits are [b, v]."""
    greedy = logits.argmax(-1)
    if not bool((temperature > 0).any()):
        return greedy
    scaled = logits / temperature.clamp(min=1e-6)[:, None]
    sampled = torch.multinomial(scaled.softmax(-1), 1)[:, 0]
    return torch.where(temperature > 0, sampled, greedy)
