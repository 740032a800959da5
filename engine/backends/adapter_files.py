"""The files of LoRA adapters, as peft saves them: where they are, and whether they fit a model's.

It loads nothing, and knows nothing of who does.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from leeroo.engine import weights
from leeroo.engine.errors import PoolError

_SETTINGS, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
# The beginning of names in an adapter, and what parts the name of a layer from that of its matrices.
_WRAPPED, _LORA = "base_model.model.", ".lora_"

Shape = tuple[int, ...]


class UnusableAdapter(ValueError):
    """Raised for an adapter that cannot be used with a model, in one line."""


def locate_adapter(adapter: str, base: Path) -> Path:
    """Return the folder of an adapter, fetched from the hub where it is not on this machine.

    Args:
        adapter: A folder or hub id.
        base: The folder of the model that it is for.

    Raises:
        UnusableAdapter: there is none, or it does not fit the model.

    """
    try:
        folder = weights.locate(adapter)
    except PoolError as error:
        raise UnusableAdapter(str(error)) from error
    _check(adapter, folder, base)
    return folder


def why_no_adapter(adapter: str, model: str, revision: str | None) -> str | None:
    """Return why an adapter cannot be used with a model, in one line, None when it can; nothing is fetched."""
    folder, base = weights.find(adapter, None, _SETTINGS), weights.find(model, revision)
    if folder is None:
        return weights.why_missing("adapter", adapter)
    try:
        _check(adapter, folder, base)
    except UnusableAdapter as error:
        return str(error)
    return None


def rank(folder: Path) -> int:
    """Return the highest rank of an adapter's matrices."""
    settings = _settings(folder)
    return max([int(settings.get("r") or 1), *map(int, (settings.get("rank_pattern") or {}).values())])


def _settings(folder: Path) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads((folder / _SETTINGS).read_text())
    return settings


def _check(adapter: str, folder: Path, base: Path | None) -> None:
    """Check that an adapter is LoRA, and that each of its matrices fits a layer of the model.

    vLLM takes matrices of any size, and peft passes over layers that a model does not have.

    Raises:
        UnusableAdapter: it is not, or one does not.

    """
    if not (folder / _WEIGHTS).is_file():
        raise UnusableAdapter(f"the adapter {adapter!r} has no {_WEIGHTS}: save it with peft's save_pretrained")
    try:
        kind, matrices = _settings(folder)["peft_type"], _shapes(folder / _WEIGHTS, folder.stat().st_mtime_ns)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UnusableAdapter(
            f"the adapter {adapter!r} cannot be read ({error}): save it with peft's save_pretrained"
        ) from error
    if kind != "LORA":
        raise UnusableAdapter(f"the adapter {adapter!r} is of kind {kind!r}; only LoRA adapters can be used")
    here: dict[str, Shape] = {}
    for file in sorted(base.glob("*.safetensors")) if base is not None and base.is_dir() else []:
        here |= _shapes(file, file.stat().st_mtime_ns)
    if (why := _misfit(_layers(matrices), here)) is not None:
        raise UnusableAdapter(f"the adapter {adapter!r} is of another model: {why}")


def _layers(matrices: Mapping[str, Shape]) -> dict[str, Shape]:
    """Return the shapes of the layers that have an adapter, as far as they are plain matrices: [outputs, inputs]."""
    sides: dict[str, dict[str, Shape]] = {}
    for name, shape in matrices.items():
        layer, lora, side = name.removeprefix(_WRAPPED).partition(_LORA)
        if lora:
            sides.setdefault(layer, {})[side] = shape
    pairs = {layer: (found.get("B.weight"), found.get("A.weight")) for layer, found in sides.items()}
    return {layer: (b[0], a[1]) for layer, (b, a) in pairs.items() if b and a and len(b) == len(a) == 2}


def _misfit(layers: Mapping[str, Shape], here: Mapping[str, Shape]) -> str | None:
    """Return which layer of an adapter does not fit the weights of a model, None where all do.

    A model whose files have other names for all of them is not judged.
    """
    modules = {name.rpartition(".")[0] for name in here}
    own = {layer: layer if layer in modules else layer.partition(".")[2] for layer in layers}
    known = [layer for layer in layers if own[layer] in modules]
    for layer in layers if known else ():
        if layer not in known:
            return f"this one has no {layer}"
        shape = here.get(f"{own[layer]}.weight")  # none where the weights are packed
        if shape is not None and len(shape) == 2 and sorted(shape) != sorted(layers[layer]):
            return f"{layer} is {list(shape)} here, and {list(layers[layer])} there"
    return None


@functools.lru_cache(maxsize=256)
def _shapes(file: Path, _changed: int) -> dict[str, Shape]:
    """Return the shapes of the tensors in a file of safetensors, by its header.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no such file.

    """
    with file.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        if length > file.stat().st_size:
            raise ValueError(f"{file.name} is no file of safetensors")
        header = json.loads(opened.read(length))
    return {name: tuple(each["shape"]) for name, each in header.items() if name != "__metadata__"}
