"""Hidden states of a causal language model at the moment when it is about to answer a question.

This is the form of the Leeroo orchestrator: a light LLM that reads the question (Mohammadshahi et al. 2024, arXiv
2401.13979). Models differ in which of their layers says most about who can answer; validation chooses it.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from leeroo.engine.arrays import Float32s, Int64s
from leeroo.engine.errors import PoolError, RouterError
from leeroo.engine.orchestrator.encoders.batching import MAX_CHARACTERS, MAX_TOKENS, Passes, batches, in_parallel
from leeroo.engine.weights import check_known, fingerprint, locate

# Ends every text, so that the state of the last token is about the answer.
_SUFFIX = "\nAnswer:"
# Tokens in a batch. On a CPU, what a layer works on should stay in the cache; on a GPU, fill it.
_BATCH_TOKENS = {"cpu": 512, "cuda": 32768}
# Layers that validation has to choose from.
_CANDIDATES = 7
_ADAPTER = "adapter_config.json"


class StatePoint(NamedTuple):
    """The point where states are read: after `layer` layers (the last includes the final norm), 'mean' or 'last'."""

    layer: int
    pooling: str


class Loaded(NamedTuple):
    """A model without its head, its tokenizer, the list of its layers, and how many those were at first."""

    model: Any
    tokenizer: Any
    layers: Any
    depth: int


def is_causal(folder: Path) -> bool:
    """Return True if a folder holds a causal language model, or a LoRA adapter for one."""
    if (folder / _ADAPTER).is_file():
        return True
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return any(name.endswith("ForCausalLM") for name in config.get("architectures") or [])
    except (OSError, ValueError, AttributeError):
        return False


def weights_hash(folder: Path) -> str:
    """Return the fingerprint of all the files that decide a model's states, including those of an adapter's base."""
    return fingerprint(folder) + (weights_hash(_base(folder)) if (folder / _ADAPTER).is_file() else "")


def candidates(name: str, folder: Path) -> list[StatePoint]:
    """Return points spread evenly over a model's depth, for validation to choose from."""
    from transformers import AutoConfig

    with _reading(name, folder):
        config = AutoConfig.from_pretrained(_base(folder))
        depth = config.get_text_config().num_hidden_layers
    layers = np.linspace(0, depth, _CANDIDATES + 1).round().astype(int).tolist()
    return [StatePoint(layer, pooling) for layer in dict.fromkeys(layers) if layer for pooling in ("mean", "last")]


def passes(name: str, folder: Path, weights_hash: str, points: Sequence[StatePoint], texts: Sequence[str]) -> Passes:
    """Yield the states of texts at all these points from one pass, [b, d] each, of any length.

    The first and the last tokens of a long text are read, together `MAX_TOKENS`, because the options of a multiple
    choice stand at its end. Layers above the highest point are not run.

    Args:
        name: The model as the user called it, for messages.
        folder: Where its files are.
        weights_hash: Fingerprint of those files; the model is loaded again when it changes.
        points: At least one.
        texts: Valid Unicode.

    Raises:
        RouterError: it cannot be loaded, or does not have that many layers.
    """
    import torch

    loaded = _truncated(name, folder, weights_hash, max(point.layer for point in points))
    device = loaded.model.device
    ids = token_ids(loaded.tokenizer, texts)
    lengths = np.array([len(row) for row in ids])
    with _watching(loaded, points) as states_of:

        def run(batch: Int64s) -> list[Float32s]:
            padded = torch.zeros((len(batch), int(lengths[batch].max())), dtype=torch.long)
            for row, text in enumerate(batch):
                padded[row, : lengths[text]] = torch.tensor(ids[text])
            return states_of(padded.to(device), torch.from_numpy(lengths[batch]).to(device))

        filled = batches(lengths, _BATCH_TOKENS.get(device.type, 512))
        yield from in_parallel(run, filled, on_cpu=device.type == "cpu")


def token_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Return the tokens of each text with the suffix, at most `MAX_TOKENS`; longer texts lose their middle."""
    empty = tokenizer("")["input_ids"]
    prefix = empty[:1] if empty[:1] == [tokenizer.bos_token_id] else []
    suffix = tokenizer(_SUFFIX, add_special_tokens=False)["input_ids"]
    room = MAX_TOKENS - len(prefix) - len(suffix)
    half = MAX_CHARACTERS // 2
    ends = [text if len(text) <= MAX_CHARACTERS else text[:half] + text[-half:] for text in texts]
    tokens = tokenizer(ends, add_special_tokens=False)["input_ids"] if ends else []
    return [
        prefix + (row if len(row) <= room else row[: room - room // 2] + row[-(room // 2) :]) + suffix for row in tokens
    ]


def load(name: str, folder: Path) -> Loaded:
    """Load a model on the GPU, in bfloat16, if there is one; else in float32, which is faster on most CPUs.

    Raises:
        RouterError: it cannot be loaded.
    """
    with _reading(name, folder):
        import torch
        from transformers import AutoModel, AutoTokenizer

        gpu = torch.cuda.is_available()
        base = _base(folder)
        tokenizer = AutoTokenizer.from_pretrained(base)
        model = AutoModel.from_pretrained(base, dtype=torch.bfloat16 if gpu else torch.float32)
        if base != folder:
            from peft import PeftModel

            model = PeftModel.from_pretrained(model, str(folder)).merge_and_unload()
        depth = model.config.get_text_config().num_hidden_layers
        stacks = [part for part in model.modules() if isinstance(part, torch.nn.ModuleList) and len(part) == depth]
        if not stacks:
            raise RouterError(f"the layers of the model {name!r} cannot be told from its other parts")
        return Loaded(model.to("cuda" if gpu else "cpu").eval(), tokenizer, stacks[0], depth)


@lru_cache(maxsize=1)
def _truncated(name: str, folder: Path, weights_hash: str, depth: int) -> Loaded:  # noqa: ARG001  # made_of is a cache key
    loaded = load(name, folder)
    if not 1 <= depth <= len(loaded.layers):
        raise RouterError(
            f"the model {name!r} has {len(loaded.layers)} layers, so there is no layer {depth}: pin another"
        )
    del loaded.layers[depth:]
    return loaded


@contextlib.contextmanager
def _watching(loaded: Loaded, points: Sequence[StatePoint]) -> Iterator[Callable[[Any, Any], list[Float32s]]]:
    """Give a function from tokens [b, t] and their number [b] to the states at each point.

    States are pooled in the forward pass, so that no more than those of one layer are in memory. Threads may call it
    at the same time.
    """
    import torch

    now = threading.local()

    def take(layer: int, hidden: Any) -> None:
        last = now.lengths - 1
        if StatePoint(layer, "mean") in points:
            inside = torch.arange(hidden.shape[1], device=hidden.device) <= last[:, None]
            # In float32, because a long sum in bfloat16 loses too much.
            summed = torch.einsum("btd,bt->bd", hidden.float(), inside.float())
            now.states[StatePoint(layer, "mean")] = summed / now.lengths[:, None]
        if StatePoint(layer, "last") in points:
            now.states[StatePoint(layer, "last")] = hidden[torch.arange(len(last), device=hidden.device), last].float()

    def states_of(ids: Any, lengths: Any) -> list[Float32s]:
        now.lengths, now.states = lengths, {}
        with torch.inference_mode():
            # No mask: a causal model's tokens do not see the padding on their right, and kernels without are faster.
            take(loaded.depth, loaded.model(input_ids=ids, use_cache=False).last_hidden_state)
        return [now.states[point].cpu().numpy() for point in points]

    def watch(layer: int) -> Any:
        def passing(_module: Any, _args: Any, output: Any) -> None:
            take(layer, output[0] if isinstance(output, tuple) else output)

        return loaded.layers[layer - 1].register_forward_hook(passing)

    hooks = [watch(layer) for layer in {point.layer for point in points} - {loaded.depth}]
    try:
        yield states_of
    finally:
        for hook in hooks:
            hook.remove()


def _base(folder: Path) -> Path:
    """Return the folder of the model that an adapter is for; another model is its own."""
    if not (folder / _ADAPTER).is_file():
        return folder
    try:
        config = json.loads((folder / _ADAPTER).read_text(encoding="utf-8"))
        base = str(config["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RouterError(f"the adapter in {folder} is damaged: its {_ADAPTER} cannot be read") from error
    check_known(base)
    return locate(base)


@contextlib.contextmanager
def _reading(name: str, folder: Path) -> Iterator[None]:
    """Turn errors of the libraries into one line, and silence their progress bars and remarks."""
    try:
        from transformers.utils import logging
    except ImportError as error:
        raise RouterError(f"the encoder {name!r} needs transformers: pip install 'leeroo[local]' ({error})") from error
    had_bar, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    except (RouterError, PoolError):
        raise
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise RouterError(f"the encoder {name!r} cannot be loaded from {folder}: {reason}") from error
    finally:
        logging.set_verbosity(verbosity)
        if had_bar:
            logging.enable_progress_bar()
