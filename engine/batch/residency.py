"""Residency: which engines are loaded. An engine is loaded when its wave comes and stays while there is room."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import psutil

from leeroo.engine.backends.base import Backend, engine_key, open_backend, resolve
from leeroo.engine.pool import Expert

_GIB = 2**30


class Engines:
    """The loaded engines, the one used last at the end.

    Args:
        opening: Loads an engine.
        alone: Whether each takes what the others need, wherever it runs.

    """

    def __init__(self, opening: Callable[[Expert], Backend] = open_backend, *, alone: bool = False) -> None:
        self._opening, self._alone = opening, alone
        self._loaded: OrderedDict[str, tuple[Expert, Backend]] = OrderedDict()

    def get(self, expert: Expert) -> Backend:
        """The engine that this expert is asked through, loaded now if it is not.

        Raises:
            ExpertUnavailable: it does not start.

        """
        key = engine_key(expert)
        if key not in self._loaded:
            self._make_room(expert)
            self._loaded[key] = (expert, self._opening(expert))
        self._loaded.move_to_end(key)
        return self._loaded[key][1]

    def loaded(self, expert: Expert) -> bool:
        """Whether the engine of this expert is loaded."""
        return engine_key(expert) in self._loaded

    def drop(self, expert: Expert) -> None:
        """Close the engine of this expert, if it is loaded: it is broken, or room is needed."""
        _, backend = self._loaded.pop(engine_key(expert), (expert, None))
        if backend is not None:
            backend.close()

    def _make_room(self, expert: Expert) -> None:
        """Close the engines used longest ago until this expert's can be loaded beside the rest."""
        need = (expert.memory_gib or 0.0) * _GIB
        for other, _ in list(self._loaded.values()):
            if not (self._alone or _rivals(expert, other) or need > psutil.virtual_memory().available):
                break
            self.drop(other)

    def close(self) -> None:
        """Close all engines."""
        for expert, _ in list(self._loaded.values()):
            self.drop(expert)


def _rivals(one: Expert, other: Expert) -> bool:
    """Whether both are vLLM engines that would each take all the device memory there is."""
    shares = (e.engine.get("gpu_memory_utilization") for e in (one, other))
    return resolve(one) == resolve(other) == "vllm" and None in shares
