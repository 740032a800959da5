"""The providers that `leeroo init` offers, as `leeroo/data/providers.toml` lists them."""

from __future__ import annotations

import functools
import importlib.resources
import os
import tomllib
from typing import NamedTuple


class Provider(NamedTuple):
    """A provider of models behind OpenAI's API.

    Attributes:
        name: Its short name.
        url: The address of its API.
        key: The environment variable that holds its key.
        models: An inexpensive model and a strong one.
    """

    name: str
    url: str
    key: str
    models: tuple[str, ...]

    @property
    def has_key(self) -> bool:
        """Whether its key is set."""
        return bool(os.environ.get(self.key, "").strip())


@functools.cache
def providers() -> dict[str, Provider]:
    """Return the providers by name."""
    listed = tomllib.loads((importlib.resources.files("leeroo") / "data" / "providers.toml").read_text("utf-8"))
    return {name: Provider(name, entry["url"], entry["key"], tuple(entry["models"])) for name, entry in listed.items()}
