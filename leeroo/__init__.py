"""Leeroo: an embedded batch inference engine with a SQL interface.

    import leeroo

    answers = leeroo.answer(frame, max_cost_usd=1.0)        # Polars, pandas, Arrow, DuckDB relations, lists
    labelled = leeroo.label(frame, ["bug", "billing"])       # one of the labels for every row
    leeroo.report(answers)                                   # one page: spend, quality, failures
    router = leeroo.train(outcomes, out="router")            # learn from recorded outcomes whom to ask
    con = leeroo.connect("my.duckdb")                        # DuckDB with leeroo_answer() and the like
    con.sql("SELECT leeroo_answer(question) FROM questions")

Names are imported when they are first used: `import leeroo` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from leeroo.api.frames import answer, answer_async, label, solve
    from leeroo.api.records import decide, extract
    from leeroo.api.reports import report
    from leeroo.api.routers import evaluate, train
    from leeroo.engine.answer import Criteria, Engine, open_engine
    from leeroo.engine.errors import LeerooError, RowsFailedWarning
    from leeroo.engine.orchestrator.router import Router
    from leeroo.udfs.register import connect, explain, register, sql

__version__ = "0.1.0"
__all__ = [
    "Criteria",
    "Engine",
    "LeerooError",
    "Router",
    "RowsFailedWarning",
    "__version__",
    "answer",
    "answer_async",
    "connect",
    "decide",
    "evaluate",
    "explain",
    "extract",
    "label",
    "open_engine",
    "register",
    "report",
    "solve",
    "sql",
    "train",
]

_HOMES = {
    "leeroo.api.frames": ("answer", "answer_async", "label", "solve"),
    "leeroo.api.records": ("decide", "extract"),
    "leeroo.api.reports": ("report",),
    "leeroo.api.routers": ("evaluate", "train"),
    "leeroo.engine.answer": ("Criteria", "Engine", "open_engine"),
    "leeroo.engine.errors": ("LeerooError", "RowsFailedWarning"),
    "leeroo.engine.orchestrator.router": ("Router",),
    "leeroo.udfs.register": ("connect", "explain", "register", "sql"),
}


def __getattr__(name: str) -> Any:
    if name == "polars":  # no public name: `from leeroo import *` would hide the library
        return importlib.import_module("leeroo.polars")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module 'leeroo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
