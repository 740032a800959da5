"""Folders of the user: the answer store, and a cache for what can be made again."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def default_store() -> Path:
    """Return the folder of the answer store when none is named: LEEROO_STORE, or one in the user's data folder."""
    return Path(os.environ.get("LEEROO_STORE") or Path(platformdirs.user_data_dir("leeroo")) / "store")


def cache_folder() -> Path:
    """Return the folder for what can be made again: LEEROO_CACHE, or the user's cache folder."""
    return Path(os.environ.get("LEEROO_CACHE") or platformdirs.user_cache_dir("leeroo"))
