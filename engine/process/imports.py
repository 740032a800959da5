"""What libraries import, or look for, while they are imported, and nobody here needs: most of the time of a start.

It knows nothing of who imports them.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import re
import sys
import threading
from collections import defaultdict
from collections.abc import Iterator, Mapping

# The first name of each Python file that a package installed: of the folder, or of the module.
_INSTALLED = re.compile(r'^"?([^/,"\n]+)(?:/[^,\n]*)?\.py"?,', re.MULTILINE)
_NAME = re.compile(r"^Name:[ \t]*(\S+)", re.MULTILINE)
_ours = threading.Event()


def skip_pandas() -> None:
    """Let pyarrow find no pandas, which it imports with its first array of values; this process does not use it."""
    import pyarrow as pa

    path, sys.path = sys.path, []
    try:
        pa.array([0])
    finally:
        sys.path = path


def own_process() -> None:
    """Say that this process is ours alone: a worker or a command, in which nobody else uses a library."""
    _ours.set()


@contextlib.contextmanager
def quick_transformers() -> Iterator[None]:
    """Import transformers within this a second sooner.

    It finds in a quarter of the time which packages bring which modules. In a process of ours it also takes
    scikit-learn for not installed, which it would import in case it is used.
    """
    right = importlib.metadata.packages_distributions
    importlib.metadata.packages_distributions = package_names
    hidden = _ours.is_set() and "sklearn" not in sys.modules
    if hidden:
        sys.modules["sklearn"] = None  # type: ignore[assignment]  # it cannot be imported
    try:
        yield
    finally:
        importlib.metadata.packages_distributions = right
        if hidden:
            del sys.modules["sklearn"]


def package_names() -> Mapping[str, list[str]]:
    """Return what `importlib.metadata.packages_distributions` does: the packages that bring a module, by its name.

    It parses no metadata and makes no object for each file. Modules without a Python file are left out, as Python 3.11
    does.
    """
    found: defaultdict[str, list[str]] = defaultdict(list)
    for package in importlib.metadata.distributions():
        declared = (package.read_text("top_level.txt") or "").split()
        name = _NAME.search(package.read_text("METADATA") or package.read_text("PKG-INFO") or "")
        for module in declared or set(_INSTALLED.findall(package.read_text("RECORD") or "")):
            found[module] += [name[1]] if name else []
    return dict(found)
