"""LoRA adapters of one base model, in vLLM and in transformers.

An adapter that cannot be used fails the rows that are for it, and no others.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from leeroo.engine.backends.adapter_files import UnusableAdapter, locate_adapter, rank
from leeroo.engine.errors import ExpertUnavailable

# The ranks that vLLM makes room for, and the most adapters that one of its batches mixes by default: each takes memory.
_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
_AT_ONCE = 8


class VLLMAdapters:
    """The adapters of an engine of vLLM, which loads them itself when they are first needed."""

    def __init__(self, adapters: Sequence[str], base: Path) -> None:
        self._found: dict[str, Path | UnusableAdapter] = {}
        for adapter in adapters:
            try:
                self._found[adapter] = locate_adapter(adapter, base)
            except UnusableAdapter as error:
                self._found[adapter] = error
        self._requests: dict[str, Any] = {}

    def options(self, given: dict[str, Any], *, on_cpu: bool) -> dict[str, Any]:
        """Return engine options with room for the adapters, where the pool file does not give it."""
        folders = [found for found in self._found.values() if isinstance(found, Path)]
        if not folders:
            return given
        highest = max(map(rank, folders))
        room = {
            "enable_lora": True,
            "max_lora_rank": next((each for each in _RANKS if each >= highest), highest),
            "max_loras": min(len(folders), _AT_ONCE),
            "max_cpu_loras": len(folders) + 1,
        }
        # On a CPU vLLM computes rows without an adapter with its last place for one, which has to be empty.
        return {**room, **given, **({"max_loras": len(folders) + 1} if on_cpu else {})}

    def request(self, adapter: str | None, engine: Any) -> Any:
        """Return vLLM's object for an adapter, which it has loaded then; None for the bare model.

        Raises:
            UnusableAdapter: it cannot be used.

        """
        if adapter is None:
            return None
        if isinstance(found := self._found[adapter], UnusableAdapter):
            raise found
        if adapter not in self._requests:
            from vllm.lora.request import LoRARequest

            request = LoRARequest(adapter, 1 + list(self._found).index(adapter), str(found))
            try:
                engine.add_lora(request)  # what it does not take would end the engine in the middle of a step
            except Exception as error:
                why = str(error).strip().splitlines() or [type(error).__name__]
                self._found[adapter] = UnusableAdapter(f"vLLM does not take the adapter {adapter!r}: {why[0]}")
                raise self._found[adapter] from error  # type: ignore[misc]
            self._requests[adapter] = request
        return self._requests[adapter]


class Adapters:
    """The adapters of a model of transformers, loaded when they are first needed; the model is theirs all the time."""

    def __init__(self, model: Any, folder: Path) -> None:
        self._model, self._folder = model, folder
        self._wrapped: Any = None  # peft's view of the model, once there is an adapter
        self._names: dict[str, str | UnusableAdapter] = {}  # by adapter: its name in peft, or why it cannot be used
        self._in_use: str | None = None

    def load(self, adapter: str) -> None:
        """Load an adapter, unless it is there.

        Raises:
            UnusableAdapter: it cannot be used.

        """
        if adapter not in self._names:
            try:
                self._names[adapter] = self._add(adapter, f"adapter_{len(self._names)}")
            except UnusableAdapter as error:
                self._names[adapter] = error
        if isinstance(found := self._names[adapter], UnusableAdapter):
            raise found

    @contextlib.contextmanager
    def using(self, adapter: str | None) -> Iterator[None]:
        """Let the model answer with a loaded adapter, or with none, and afterwards as before: uses may nest."""
        before = self._in_use
        self._switch_to(adapter)
        try:
            yield
        finally:
            self._switch_to(before)

    def _switch_to(self, adapter: str | None) -> None:
        if adapter == self._in_use:
            return
        self._in_use = adapter
        if adapter is None:
            self._wrapped.base_model.disable_adapter_layers()
        else:
            self._wrapped.base_model.enable_adapter_layers()
            self._wrapped.set_adapter(self._names[adapter])

    def _add(self, adapter: str, name: str) -> str:
        try:
            from peft import PeftModel
            from safetensors import SafetensorError
        except ImportError as error:
            raise UnusableAdapter("the package peft is not installed: pip install 'leeroo[local]'") from error
        folder = locate_adapter(adapter, self._folder)
        try:
            if self._wrapped is None:
                self._wrapped = PeftModel.from_pretrained(self._model, folder, adapter_name=name)
            else:
                self._wrapped.load_adapter(folder, adapter_name=name)
        except (OSError, ValueError, RuntimeError, KeyError, TypeError, SafetensorError) as error:
            why = str(error).strip().splitlines() or [type(error).__name__]
            # A part of it may be in the model already.
            raise ExpertUnavailable(f"the adapter {adapter!r} does not load: {why[0]}") from error
        return name
