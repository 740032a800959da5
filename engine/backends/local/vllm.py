"""The vLLM backend: offline batch generation, on CUDA and on CPU (versions 0.26 to 0.33).

The whole stream of a wave goes through one engine with continuous batching and prefix caching. As rows finish, others
take their place; finished ones are handed on a few times a second.
"""

from __future__ import annotations

import dataclasses
import functools
import gc
import json
import os
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pydantic import ValidationError

from leeroo.engine import weights
from leeroo.engine.backends import device
from leeroo.engine.backends.adapter_files import UnusableAdapter
from leeroo.engine.backends.choices import ChoiceTree
from leeroo.engine.backends.completions import (
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
from leeroo.engine.backends.local.adapters import VLLMAdapters
from leeroo.engine.backends.local.chat import (
    UnsupportedRequest,
    begins_in_thoughts,
    count_tokens,
    tokens_of,
    write_with_images,
)
from leeroo.engine.backends.local.sampling import token_objects
from leeroo.engine.backends.local.vision import LONGEST, Vision
from leeroo.engine.backends.options import VLLMOptions, complaint, engine_options
from leeroo.engine.backends.protocol import AMPLE, NOTHING
from leeroo.engine.backends.thoughts import Parts, has_marks, keep_marks, split_thoughts
from leeroo.engine.effort import thinking_tokens
from leeroo.engine.errors import ExpertUnavailable, PoolError
from leeroo.engine.images.pixels import NoImage
from leeroo.engine.pool import Expert
from leeroo.engine.process.cores import count_anew, use_idle_cores

# How long finished rows may wait to be handed on together.
_YIELD_S = 0.5
# The most choices that may part in one place.
_MOST_CHOICES = 1000
# Read by vLLM when it is imported.
_ENVIRONMENT = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "2"}

# Without a GPU the engine computes in this process. By default vLLM computes in a process of its own and leaves a core
# to this one: half of two cores.
_IN_PROCESS = ("VLLM_ENABLE_V1_MULTIPROCESSING", "0")


@dataclasses.dataclass
class _Query:
    """A request in the engine; one with choices is there once for each of their forks."""

    request: Request
    started: float
    tree: ChoiceTree | None
    images: list[Any]


class _Part(NamedTuple):
    """What the engine has of a query: all of it, or one fork, with the tokens that lead to that."""

    query: _Query
    prefix: tuple[int, ...]


@dataclasses.dataclass(eq=False)
class _Stream:
    """One call of `generate`: its parts in the engine, by their names there, and completions to be handed on."""

    in_flight: dict[str, _Part] = dataclasses.field(default_factory=dict)
    done: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def find_model(expert: Expert) -> Path:
    """Return the folder of an expert's weights, with its engine options checked.

    Raises:
        PoolError: an unknown engine option, or no such model.
    """
    from vllm import EngineArgs

    options = engine_options(expert, VLLMOptions)
    known = {field.name for field in dataclasses.fields(EngineArgs)}
    for name in expert.engine:
        if name not in known:
            raise PoolError(f"expert {expert.name!r}: vLLM has no engine option {name!r}")
    return weights.locate(expert.model, options.revision)


class VLLMBackend:
    """One vLLM engine.

    Raises:
        ExpertUnavailable: it does not start.
        PoolError: an unknown engine option, or no such model.
    """

    room = AMPLE  # it orders requests, which cost nothing

    def __init__(self, expert: Expert) -> None:
        set_environment()
        import torch

        folder = find_model(expert)
        self._adapters = VLLMAdapters(expert.adapters, folder)
        given = self._adapters.options(expert.engine, on_cpu=device.on_host())
        quantised = "quantization" in expert.engine or weights.is_quantised(folder)
        self._llm: Any = load_llm(expert, {**defaults(quantised=quantised), **given, "model": str(folder)})
        self._engine: Any = self._llm.llm_engine
        self._tokenizer: Any = self._llm.get_tokenizer()
        self._processor: Any = Vision(folder).processor if sees(expert) else None
        config = self._engine.vllm_config
        self._context = int(config.model_config.max_model_len)
        # As many again as run at once: the engine never waits for the next.
        self._window = 2 * int(config.scheduler_config.max_num_seqs)
        self._end = int(self._tokenizer.eos_token_id) if self._tokenizer.eos_token_id is not None else -1
        # The thoughts of models whose marks vLLM knows, and how many tokens they may take.
        self._parser = _reasoning_parser(expert, self._tokenizer)
        self._marked = self._parser is not None or has_marks(self._tokenizer.all_special_tokens)
        self._threads = torch.get_num_threads() if device.on_host() else 0
        self._number = 0
        self._streams: list[_Stream] = []

    def generate(self, requests: Iterator[pa.RecordBatch]) -> Generator[pa.RecordBatch]:
        """Answer a stream of requests; the engine is kept full as long as there are any.

        While a stream rests, the engine goes on with what it has of it beside the requests of the other.
        """
        if self._threads and not self._streams:
            count_anew()
        own = _Stream()
        self._streams.append(own)
        handed = time.monotonic()
        more = True
        try:
            while more or own.in_flight or own.done:
                while more and len(own.in_flight) < self._window:
                    batch = next(requests, None)
                    more = batch is not None
                    if batch is None or batch.num_rows == 0:
                        break  # the end, or nothing more until something comes back
                    own.done += self._add(requests_of(batch), own.in_flight)
                if own.in_flight:
                    self._step()
                if own.done and (not own.in_flight or time.monotonic() - handed > _YIELD_S):
                    done, own.done, handed = own.done, [], time.monotonic()
                    yield completion_batch(done)
                else:
                    yield NOTHING
        finally:
            self._streams.remove(own)
            if own.in_flight:
                self._engine.abort_request(list(own.in_flight))

    def sleep(self) -> bool:
        """Move the weights to the host and forget the KV cache; False where vLLM has no sleep mode."""
        if not self._engine.vllm_config.model_config.enable_sleep_mode:
            return False
        self._llm.sleep(level=1)
        return True

    def wake(self) -> None:
        """Move the weights back."""
        self._llm.wake_up()

    def close(self) -> None:
        """End the engine's process and free what it held."""
        if self._llm is None:
            return
        self._engine.engine_core.shutdown()
        self._llm = self._engine = self._tokenizer = None
        gc.collect()

    def _add(self, requests: list[Request], in_flight: dict[str, _Part]) -> list[dict[str, Any]]:
        """Give requests to the engine; return the completions of those that it cannot take."""
        sighted = self._processor is not None
        accepted, refused = tokens_of([r for r in requests if not (sighted and r.images)], self._tokenizer)
        seen, unseen = self._see([r for r in requests if sighted and r.images])
        refused += unseen
        for request, ids, images in [*((*each, []) for each in accepted), *seen]:
            tree = choice_tree(request, self._tokenizer, self._end)
            longest = len(ids) + max((len(fork.prefix) for fork in tree.forks), default=0) if tree else len(ids)
            query = _Query(request, time.perf_counter(), tree, images)
            if longest >= self._context:
                refused.append(too_long_completion(request, longest, self._context))
            elif (why := self._start(query, ids, in_flight)) is not None:
                refused.append(failed_completion(request, why, bounced=True))
        return refused

    def _see(self, requests: list[Request]) -> tuple[list[tuple[Request, list[int], list[Any]]], list[dict[str, Any]]]:
        """Return requests with tokens and images, and the completions of those that the engine cannot take."""
        seen, refused = [], []
        for request in requests:
            try:
                text = write_with_images(request, self._processor)
                images = [image.pixels(LONGEST) for image in request.placed_images]
            except NoImage as error:
                refused.append(failed_completion(request, str(error)))
            except (UnsupportedRequest, AttributeError, KeyError, TypeError, ValueError) as error:
                refused.append(failed_completion(request, str(error), bounced=True))
            else:
                chats = (self._processor.chat_template or self._tokenizer.chat_template) is not None
                ids = self._tokenizer(text, add_special_tokens=not chats)["input_ids"]
                seen.append((request, ids, images))
        return seen, refused

    def _start(self, query: _Query, ids: list[int], in_flight: dict[str, _Part]) -> str | None:
        """Give all of a request to the engine or nothing; return why the engine does not take it, None when it does."""
        from vllm.v1.engine.exceptions import EngineDeadError

        parts: dict[str, _Part] = {}
        pictures = {"multi_modal_data": {"image": query.images}} if query.images else {}
        try:
            adapter = self._adapters.request(query.request.adapter, self._engine)
            for prefix, params in self._prompts(query, ids):
                self._number += 1
                prompt = {"prompt_token_ids": [*ids, *prefix], **pictures}
                first = 1 - len(self._streams)  # before those of streams that rest
                self._engine.add_request(str(self._number), prompt, params, lora_request=adapter, priority=first)
                parts[str(self._number)] = _Part(query, prefix)
        except EngineDeadError as error:
            raise ExpertUnavailable(f"the vLLM engine broke: {first_cause(error)}") from error
        except UnusableAdapter as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - any other error, about arguments or a schema, concerns this request
            self._engine.abort_request(list(parts))
            return f"vLLM does not take this request: {first_cause(error)}"
        in_flight.update(parts)
        return None

    def _prompts(self, query: _Query, ids: list[int]) -> Iterator[tuple[tuple[int, ...], Any]]:
        """Yield what the engine gets of one request: tokens after its prompt, and sampling parameters."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

        final: dict[str, Any] = {"output_kind": RequestOutputKind.FINAL_ONLY}
        request = query.request
        for prefix, branches in query.tree.forks if query.tree else []:
            yield (
                prefix,
                SamplingParams(
                    temperature=0, max_tokens=1, allowed_token_ids=list(branches), logprobs=len(branches), **final
                ),
            )
        if query.tree is None:
            room = min(request.max_tokens, self._context - len(ids))
            if request.json_schema is not None and not thinks(request):
                final["structured_outputs"] = StructuredOutputsParams(json=request.json_schema)
            if self._parser is not None and request.reasoning_effort is not None:
                final["thinking_token_budget"] = thinking_tokens(request.reasoning_effort)
            final["skip_special_tokens"] = not self._marked
            yield (
                (),
                SamplingParams(temperature=request.temperature, max_tokens=room, **_sampling(request), **final),
            )

    def _step(self) -> None:
        """Compute one step of all streams, and note what is done."""
        if self._threads:
            use_idle_cores(self._threads)  # not before each layer: attention counts on the same number for all
        try:
            outputs = self._engine.step()
        except Exception as error:
            raise ExpertUnavailable(f"the vLLM engine broke: {first_cause(error)}") from error
        for output in outputs:
            if output.finished:
                name = output.request_id.split("-")[0]  # the engine may add a suffix
                stream = next(each for each in self._streams if name in each.in_flight)
                row = self._completion(stream.in_flight.pop(name), output)
                stream.done += [row] if row is not None else []

    def _completion(self, part: _Part, output: Any) -> dict[str, Any] | None:
        """Return the completion of a finished request, None while other forks of its choices are in the engine."""
        query, prefix = part
        request, generated = query.request, output.outputs[0]
        row: dict[str, Any] = {
            "id": request.id,
            "prompt_tokens": len(output.prompt_token_ids) - len(prefix),  # those of images are among them
            "latency_ms": (time.perf_counter() - query.started) * 1e3,
            "cached_tokens": output.num_cached_tokens,
        }
        if query.tree is None:
            row |= {
                "completion_tokens": len(generated.token_ids),
                "finish_reason": "length" if generated.finish_reason == "length" else "stop",
            }
            if request.top_logprobs is not None:
                row["logprobs"] = json.dumps(_token_objects(generated, request.top_logprobs, self._tokenizer))
            parts = self._split(request, generated.text, output.prompt_token_ids)
            return text_completion(request, row, parts, functools.partial(count_tokens, self._tokenizer))
        scores = query.tree.add(prefix, {token: float(known.logprob) for token, known in generated.logprobs[0].items()})
        return None if scores is None else {**row, **choice_completion(request, query.tree, scores)}

    def _split(self, request: Request, text: str, prompt: list[int]) -> Parts:
        """Split what the model wrote into thoughts and answer."""
        if self._marked:
            text = keep_marks(text, self._tokenizer.all_special_tokens)
        if self._parser is None or request.reasoning_effort in ("none", "0"):
            return split_thoughts(text, opened=begins_in_thoughts(self._tokenizer, prompt))
        thoughts, answer = self._parser.extract_reasoning(text, None)
        return Parts((thoughts or "").strip(), (answer or "").strip())


def load_llm(expert: Expert, options: dict[str, Any]) -> Any:
    """Start an engine of vLLM.

    Raises:
        ExpertUnavailable: it does not start.
        PoolError: an option has a value that it cannot have.
    """
    from vllm import LLM

    try:
        return LLM(**options)
    except ValidationError as error:
        raise PoolError(f"expert {expert.name!r}: {complaint(error, VLLMOptions)}") from error
    except (RuntimeError, ValueError, OSError, ImportError, AssertionError) as error:
        raise ExpertUnavailable(f"vLLM does not start {expert.model}: {first_cause(error)}") from error


def _reasoning_parser(expert: Expert, tokenizer: Any) -> Any:
    """Return vLLM's parser of the model's thoughts, None where the pool file names none."""
    name = expert.engine.get("reasoning_parser")
    if not name:
        return None
    from vllm.reasoning import ReasoningParserManager

    return ReasoningParserManager.get_reasoning_parser(name)(tokenizer)


def set_environment() -> None:
    """Set the environment variables that vLLM reads, before it is imported; the user's own values stay."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        os.environ.setdefault(*_IN_PROCESS)


def defaults(*, quantised: bool = False) -> dict[str, Any]:
    """Return the engine options that apply where the pool file sets none, to a model as it is or a quantised one."""
    from vllm.platforms import current_platform

    # The model scores choices among themselves, not among all tokens.
    common = {
        "enable_prefix_caching": True,
        "disable_log_stats": True,
        "scheduling_policy": "priority",  # for streams that go first
        "logprobs_mode": "processed_logprobs",
        "max_logprobs": _MOST_CHOICES,
    }
    if current_platform.is_cpu():
        # Compilation takes minutes and gains nothing there. bfloat16 is slower without matrix units for it; kernels for
        # quantised weights take nothing else.
        return {**common, "enforce_eager": True, "dtype": "bfloat16" if quantised else "float32"}
    return {**common, "enable_sleep_mode": current_platform.is_cuda()}


def _sampling(request: Request) -> dict[str, Any]:
    """Return the sampling parameters that a request sets, by vLLM's names."""
    wanted = {
        "top_p": request.top_p,
        "seed": request.seed,
        "stop": [text for text in request.stop or () if text] or None,
        "frequency_penalty": request.frequency_penalty,
        "presence_penalty": request.presence_penalty,
        "logprobs": request.top_logprobs,
    }
    return {name: value for name, value in wanted.items() if value is not None}


def _token_objects(generated: Any, most: int, tokenizer: Any) -> list[dict[str, Any]]:
    """Return OpenAI's token objects of an answer, without the token that ended it."""
    ended = generated.finish_reason == "stop" and generated.stop_reason is None  # a stop text is part of the answer
    tokens = list(generated.token_ids)[: -1 if ended else None]
    known = [{token: float(each.logprob) for token, each in step.items()} for step in generated.logprobs]
    return token_objects(tokens, known[: len(tokens)], most, tokenizer)


def first_cause(error: BaseException) -> str:
    """Return the first line of the error at the root of this one."""
    while error.__cause__ is not None:
        error = error.__cause__
    return (str(error).strip() or type(error).__name__).splitlines()[0]
