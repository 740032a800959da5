"""The transformers backend: any causal model that the library loads, embedded, on CPU or GPU.

Requests gather in a buffer and are sorted by their limit and length, so that little is padded. Batches are decoded with
a KV cache; a row that has finished leaves its batch.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, NamedTuple, TypeVar

import pyarrow as pa
import torch

from leeroo.engine import weights
from leeroo.engine.backends.adapter_files import UnusableAdapter
from leeroo.engine.backends.completions import (
    NO_MEMORY,
    Request,
    choice_completion,
    choice_tree,
    completion_batch,
    failed_completion,
    requests_of,
    text_completion,
    thinks,
    too_long_completion,
)
from leeroo.engine.backends.images.limits import sees
from leeroo.engine.backends.local.adapters import Adapters
from leeroo.engine.backends.local.causal import CausalModel, Prefix, TokenRows, out_of_memory
from leeroo.engine.backends.local.chat import begins_in_thoughts, count_tokens, decode_text, tokens_of
from leeroo.engine.backends.local.choosing import (
    ChoicePrompt,
    by_prefix,
    choice_prompts,
    common_start,
    fork_scores,
    score,
)
from leeroo.engine.backends.local.sampling import cut, token_objects
from leeroo.engine.backends.local.vision import Sight, Vision, first_logits, generate, portions
from leeroo.engine.backends.local.writing import Writing
from leeroo.engine.backends.options import TransformersOptions, engine_options
from leeroo.engine.backends.protocol import AMPLE, NOTHING
from leeroo.engine.backends.thoughts import split_thoughts
from leeroo.engine.errors import ExpertUnavailable
from leeroo.engine.pool import Expert
from leeroo.engine.process.cores import use_idle_cores

_BUFFER_ROWS = 1024
# How long finished rows may wait to be handed on together.
_YIELD_S = 0.5
# Tokens of a batch, prompts and what may be generated together: they bound the KV cache.
_BATCH_TOKENS = 16_384
# Tokens that a shared beginning must save: a pass of its own reads all weights once more, as long as about 20 tokens.
_WORTH_SHARING = 64


class _Generation(NamedTuple):
    """A request to generate text for."""

    request: Request
    ids: list[int]  # the tokens of its prompt


Row = TypeVar("Row", _Generation, ChoicePrompt, Sight)


class TransformersBackend:
    """One model in this process.

    Raises:
        ExpertUnavailable: it does not load.
        PoolError: an unknown engine option, or no such model.
    """

    room = AMPLE  # it orders requests, which cost nothing
    _model: CausalModel
    _tokenizer: Any

    def __init__(self, expert: Expert) -> None:
        options = engine_options(expert, TransformersOptions)
        self._device: str = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
        self._batch_rows = options.batch_size or (64 if self._device == "cpu" else 256)
        self._load(expert, options)
        model = self._model.model
        config = model.config.get_text_config()
        longest = getattr(config, "max_position_embeddings", None) or 2**31
        self._context = int(min(longest, options.max_model_len or longest))
        ends = model.generation_config.eos_token_id
        ends = [self._tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])]
        self._ends = [end for end in dict.fromkeys(ends) if end is not None]
        self._end = self._ends[0] if self._ends else -1

    def _load(self, expert: Expert, options: TransformersOptions) -> None:
        from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        folder = weights.locate(expert.model, options.revision)
        # bfloat16 is slower than float32 on a CPU without matrix units for it.
        dtype = options.dtype or ("float32" if self._device == "cpu" else "auto")
        extra = {"attn_implementation": options.attn_implementation} if options.attn_implementation else {}
        try:
            self._vision = Vision(folder) if sees(expert) else None
            if self._vision is not None:
                self._tokenizer = self._vision.tokenizer
                model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype, **extra)
            else:
                self._tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
                model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, **extra)
            if self._device == "cpu":
                _use_idle_cores_in(model)
            self._model = CausalModel(model, self._device, folder)
            self._adapters = Adapters(model, folder)
        except (OSError, ValueError, ImportError, RuntimeError, KeyError) as error:
            why = str(error).strip().splitlines() or [type(error).__name__]
            raise ExpertUnavailable(f"{expert.model} does not load: {why[0]}") from error

    def generate(self, requests: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
        """Answer a stream of requests, a buffer at a time."""
        waiting: list[Request] = []
        for batch in requests:
            waiting += requests_of(batch)
            # An empty batch means that nothing more comes until these are done.
            if batch.num_rows == 0 or len(waiting) >= _BUFFER_ROWS:
                yield from self._answer_all(waiting)
                waiting = []
        yield from self._answer_all(waiting)

    def close(self) -> None:
        """Free the model."""
        del self._model, self._adapters
        if self._device != "cpu":
            torch.cuda.empty_cache()

    def _answer_all(self, requests: list[Request]) -> Generator[pa.RecordBatch]:
        """Answer requests, those of one adapter after those of another."""
        for adapter in dict.fromkeys(request.adapter for request in requests):
            group = [request for request in requests if request.adapter == adapter]
            try:
                if adapter is not None:
                    self._adapters.load(adapter)
            except UnusableAdapter as error:
                yield completion_batch(failed_completion(each, str(error), bounced=True) for each in group)
            else:
                with self._adapters.using(adapter):
                    yield from self._answer(group)

    def _answer(self, requests: list[Request]) -> Generator[pa.RecordBatch]:
        if not requests:
            return
        generations: list[_Generation] = []
        choosing: list[ChoicePrompt] = []
        if self._vision is not None and any(request.images for request in requests):
            yield from self._answer_seen([request for request in requests if request.images])
            requests = [request for request in requests if not request.images]
        accepted, refused = tokens_of(requests, self._tokenizer)
        for request, ids in accepted:
            prompts = choice_prompts(
                request, ids, choice_tree(request, self._tokenizer, self._end), at_once=self._model.continues
            )
            longest = max([len(ids), *(len(each.ids) + len(to) for each in prompts for _, to in each.forks)])
            if longest >= self._context:
                refused.append(too_long_completion(request, longest, self._context))
            elif (why := self._schema_complaint(request.json_schema)) is not None:
                refused.append(failed_completion(request, why))
            elif prompts:
                choosing += prompts
            else:
                generations.append(_Generation(request, ids))
        if refused:
            yield completion_batch(refused)
        # TokenRows of similar limits and lengths together, longest first: what will not fit shows at once.
        generations.sort(key=lambda row: (row.request.max_tokens, len(row.ids)), reverse=True)
        for rows in self._portions(generations, lambda row: len(row.ids) + row.request.max_tokens):
            yield from _batch_timely(self._halve_until_it_fits(self._decode, rows))
        for shared, group in by_prefix(choosing) if self._model.continues else [(0, choosing)]:
            past = self._model.compute_prefix(group[0].ids[:shared]) if group else None
            group.sort(key=lambda prompt: prompt.tokens, reverse=True)
            for prompts in self._portions(group, lambda prompt: prompt.tokens):
                yield from _batch_timely(self._halve_until_it_fits(functools.partial(self._choose, past), prompts))

    def _answer_seen(self, requests: list[Request]) -> Generator[pa.RecordBatch]:
        """Answer requests with images."""
        assert self._vision is not None
        schemas = {request.json_schema for request in requests}
        wrong = {schema: why for schema in schemas if (why := self._schema_complaint(schema)) is not None}
        refused = [failed_completion(each, wrong[each.json_schema]) for each in requests if each.json_schema in wrong]
        fitting = [each for each in requests if each.json_schema not in wrong]
        sights, more = self._vision.sights(fitting, self._end)
        if refused or more:
            yield completion_batch([*refused, *more])
        for rows in portions(sights, self._batch_rows):
            compute = self._decode_seen if rows[0].fork is None else self._choose_seen
            yield from _batch_timely(self._halve_until_it_fits(compute, rows))

    def _portions(self, rows: list[Row], width: Callable[[Row], int]) -> Iterator[list[Row]]:
        """Split rows, in order, into as many as may be computed together, padded to the widest."""
        portion: list[Row] = []
        widest = 0
        for row in rows:
            widest = max(widest, width(row))
            if portion and (len(portion) == self._batch_rows or widest * (len(portion) + 1) > _BATCH_TOKENS):
                yield portion
                portion, widest = [], width(row)
            portion.append(row)
        if portion:
            yield portion

    def _halve_until_it_fits(
        self, compute: Callable[[list[Row]], Iterator[dict[str, Any] | None]], rows: list[Row]
    ) -> Iterator[dict[str, Any] | None]:
        """Yield the completions of these rows; when memory runs out, compute those that are left by halves."""
        done = set()
        try:
            for row in compute(rows):
                if row is not None:
                    done.add(row["id"])
                yield row
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            if len(rows) == 1:
                yield failed_completion(rows[0].request, NO_MEMORY)
                return
        else:
            return
        left = [row for row in rows if row.request.id not in done]
        half = (len(left) + 1) // 2
        for part in (left[:half], left[half:]):
            if part:
                yield from self._halve_until_it_fits(compute, part)

    @torch.inference_mode()
    def _decode(self, batch: list[_Generation]) -> Iterator[dict[str, Any] | None]:
        """Generate; yield each completion as soon as its row has ended, and None after every step."""
        started = time.perf_counter()
        writing = self._writing(batch)
        going = list(range(len(batch)))  # rows of the batch that are still decoded
        prompts = [ids for _, ids in batch]
        rows = TokenRows(self._model, prompts, self._shared_prefix(prompts))
        while going:
            picked, over = writing.step(rows.logits(), going)
            for row in over:
                yield self._finish(batch[row], writing, row, started)
            stay = [at for at, row in enumerate(going) if row not in over]
            going = [going[at] for at in stay]
            if going:
                rows.go_on(stay, picked)
            yield None

    def _shared_prefix(self, prompts: list[list[int]]) -> Prefix | None:
        """Compute once what all prompts of a batch begin with, such as a system text, where that saves enough."""
        shared = min(len(common_start(prompts)), *(len(ids) - 1 for ids in prompts))
        if not self._model.continues or shared * (len(prompts) - 1) < _WORTH_SHARING:
            return None
        return self._model.compute_prefix(prompts[0][:shared])

    def _writing(self, batch: list[_Generation]) -> Writing:
        """Begin to write the answers of a batch."""
        requests = [request for request, _ in batch]
        room = [min(r.max_tokens, self._context - len(ids)) for r, ids in batch]
        grammars = {
            i: self._grammar(r.json_schema)
            for i, r in enumerate(requests)
            if r.json_schema is not None and not thinks(r)
        }
        return Writing(requests, room, grammars, self._ends, self._tokenizer, self._device)

    @torch.inference_mode()
    def _decode_seen(self, sights: list[Sight]) -> Iterator[dict[str, Any] | None]:
        """Generate the answers of rows with images."""
        assert self._vision is not None
        started, model = time.perf_counter(), self._model.model
        rows, inputs, refused = self._vision.read(sights, model, self._context)
        yield from refused
        if rows:
            batch = [_Generation(row.sight.request, row.ids) for row in rows]
            writing = self._writing(batch)
            generate(model, inputs, writing, max(request.max_tokens for request, _ in batch))
            for at, row in enumerate(batch):
                yield self._finish(row, writing, at, started)

    @torch.inference_mode()
    def _choose_seen(self, sights: list[Sight]) -> Iterator[dict[str, Any]]:
        """Score forks of the choices of rows with images; a row whose last fork it was is complete."""
        assert self._vision is not None
        rows, inputs, refused = self._vision.read(sights, self._model.model, self._context)
        yield from refused
        for row, logits in zip(rows, first_logits(self._model.model, inputs) if rows else (), strict=True):
            sight = row.sight
            if sight.tree is not None and sight.fork is not None:
                scores = fork_scores(sight.tree, sight.fork, logits)
                if scores is not None:
                    took = {"prompt_tokens": len(row.ids), "latency_ms": (time.perf_counter() - sight.started) * 1e3}
                    yield {**choice_completion(sight.request, sight.tree, scores), **took}

    def _grammar(self, json_schema: str) -> Any:
        """Return a matcher that keeps an answer to a JSON schema, token by token.

        Raises:
            ValueError: no grammar can keep to the schema.

        """
        return _grammar(self._vocabulary, json_schema).deep_copy()

    @functools.cached_property
    def _vocabulary(self) -> Any:
        """The tokens as grammars see them."""
        import llguidance.hf

        size = self._model.model.get_output_embeddings().weight.shape[0]
        return llguidance.hf.from_tokenizer(self._tokenizer, size, self._ends)

    def _schema_complaint(self, json_schema: str | None) -> str | None:
        try:
            if json_schema is not None:
                self._grammar(json_schema)
        except ValueError as error:
            return f"this expert cannot keep to the JSON schema: {error}"
        return None

    def _finish(self, row: _Generation, writing: Writing, at: int, started: float) -> dict[str, Any]:
        request, prompt = row
        written, ended = writing.written[at], at in writing.ended
        text = decode_text(self._tokenizer, written)
        before = cut(text, request.stop)
        done = {
            "id": request.id,
            "prompt_tokens": len(prompt),
            # The token that ends an answer was generated too.
            "completion_tokens": len(written) + ended,
            "latency_ms": (time.perf_counter() - started) * 1e3,
            "finish_reason": "stop" if ended or before is not None else "length",
        }
        if request.top_logprobs is not None:
            done["logprobs"] = json.dumps(
                token_objects(written, writing.known[at], request.top_logprobs, self._tokenizer)
            )
        opened = begins_in_thoughts(self._tokenizer, prompt)
        parts = split_thoughts(text if before is None else before, opened=opened)
        return text_completion(request, done, parts, functools.partial(count_tokens, self._tokenizer))

    @torch.inference_mode()
    def _choose(self, prefix: Prefix | None, prompts: list[ChoicePrompt]) -> Iterator[dict[str, Any]]:
        """Score forks that begin with a computed prefix; yield the completions of requests whose last fork it was."""
        begun = prefix.tokens if prefix else 0
        for prompt, fork, logits in score(self._model, prefix, prompts):
            scores = fork_scores(prompt.tree, fork, logits)
            if scores is not None:
                yield {
                    **choice_completion(prompt.request, prompt.tree, scores),
                    "prompt_tokens": prompt.prompt_tokens,
                    "cached_tokens": min(begun, prompt.prompt_tokens),
                    "latency_ms": (time.perf_counter() - prompt.started) * 1e3,
                }


def _use_idle_cores_in(model: torch.nn.Module) -> None:
    """Count cores before each layer: all layers of a batch of prompts may take seconds."""
    threads = torch.get_num_threads()
    for layers in model.modules():
        for layer in layers if isinstance(layers, torch.nn.ModuleList) else ():
            layer.register_forward_pre_hook(lambda *_: use_idle_cores(threads))


def _batch_timely(rows: Iterator[dict[str, Any] | None]) -> Iterator[pa.RecordBatch]:
    """Yield completions in batches, a few times a second: what was handed on is stored, whatever happens next.

    After steps without any, an empty batch is yielded: there the stream can rest.
    """
    gathered: list[dict[str, Any]] = []
    handed = time.monotonic()
    for row in rows:
        gathered += [row] if row is not None else []
        if gathered and time.monotonic() - handed > _YIELD_S:
            yield completion_batch(gathered)
            gathered, handed = [], time.monotonic()
        elif row is None:
            yield NOTHING
    if gathered:
        yield completion_batch(gathered)


@functools.lru_cache(maxsize=64)
def _grammar(vocabulary: Any, json_schema: str) -> Any:
    import llguidance

    # With white space left free, a small model may write line breaks up to its limit.
    grammar = llguidance.LLMatcher.grammar_from_json_schema(json_schema, overrides={"whitespace_flexible": False})
    matcher = llguidance.LLMatcher(vocabulary, grammar)
    if matcher.is_error():
        raise ValueError(matcher.get_error().strip().splitlines()[0])
    return matcher
