"""Records in files of the user's: a class in a Python file, or a JSON schema."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.records.declared import is_class
from leeroo.engine.jobs.records.kinds import Record
from leeroo.engine.jobs.records.wanted import read_wanted


def read_option(given: str) -> Record | str:
    """Return the record or the JSON schema that a text names.

    Args:
        given: `file.py:Name` with a Pydantic model, a dataclass or an Arrow schema, where the name may be left out if
            there is one class; `file.json` with a JSON schema; or fields, `name VARCHAR, due DATE`. A Python file is
            run.

    Raises:
        UsageError: the file cannot be read, or holds no such thing.
    """
    file, colon, name = given.rpartition(":") if ".py:" in given else (given, "", "")
    if file.endswith(".py"):
        return read_wanted(_find(_load(Path(file)), file, name if colon else None))
    if given.endswith(".json"):
        return read_wanted(_text(Path(given)).lstrip("\ufeff \t\r\n") or "{")
    return read_wanted(given)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the schema {path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _load(path: Path) -> ModuleType:
    """Run a Python file of the user's, which finds the files beside it."""
    code = _text(path)
    module = ModuleType(f"_leeroo_schema_{path.stem}")
    module.__file__ = str(path)
    # Types that are written as text are looked up in the module of their class.
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(path.parent))
    try:
        exec(compile(code, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever a file raises, it is no schema
        why = (str(error).strip() or "no reason given").splitlines()[0]
        raise UsageError(f"the schema {path} cannot be loaded: {type(error).__name__}: {why}") from None
    finally:
        sys.path.remove(str(path.parent))
    return module


def _find(module: ModuleType, file: str, name: str | None) -> Any:
    classes = [n for n, each in vars(module).items() if is_class(each) and each.__module__ == module.__name__]
    if name is None and len(classes) == 1:
        name = classes[0]
    if name is not None and hasattr(module, name):
        return getattr(module, name)
    there = ", ".join(classes) or "no Pydantic model and no dataclass"
    if name is None:
        raise UsageError(f"name the class of the schema, as in {file}:Ticket; the file has {there}")
    raise UsageError(f"the schema {file} has no {name!r}; it has {there}")
