"""The capabilities of a backend are known before anything of it is loaded."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest

from leeroo.engine.backends.protocol import Capabilities
from leeroo.engine.backends.select import capabilities
from leeroo.engine.pool import Expert

KINDS = [kind for kind in get_args(Expert.model_fields["backend"].annotation) if kind != "auto"]

_IMPORTED = """
import sys
from leeroo.engine.backends.select import capabilities
from leeroo.engine.pool import Expert
for kind in sys.argv[1:]:
    capabilities(Expert(name="e", model="m", backend=kind, usd_per_m_input=1, usd_per_m_output=1))
print(*{"torch", "openai", "vllm", "transformers"} & sys.modules.keys())
"""


def _capabilities(kind: str) -> Capabilities:
    return capabilities(
        Expert.model_validate({"name": "e", "model": "m", "backend": kind, "usd_per_m_input": 1, "usd_per_m_output": 1})
    )


@pytest.mark.parametrize("kind", KINDS)
def test_a_pool_may_name_every_kind(kind: str) -> None:
    """A backend that a pool file may name has an entry, and its model is in exactly one place."""
    can = _capabilities(kind)
    assert [can.recorded, can.holds_memory, can.runs_elsewhere].count(True) == 1


def test_each_kind_says_where_its_model_is() -> None:
    """Each kind says whether it needs a record, a server, or memory of this machine."""
    assert [kind for kind in KINDS if _capabilities(kind).recorded] == ["replay"]
    assert [kind for kind in KINDS if _capabilities(kind).runs_elsewhere] == ["openai"]
    assert [kind for kind in KINDS if _capabilities(kind).holds_memory] == ["vllm", "transformers"]


@pytest.mark.parametrize(
    ("backend", "place"), [("vllm", "holds_memory"), ("openai", "runs_elsewhere"), ("transformers", "encodes_here")]
)
def test_embedders_have_kinds_of_their_own(backend: str, place: str) -> None:
    """Each gives vectors, and its model is in exactly one place."""
    fields = {"name": "e", "kind": "embed", "model": "m", "backend": backend, "dimensions": 8, "usd_per_m_input": 0}
    can = capabilities(Expert.model_validate({**fields, "usd_per_m_output": 0}))
    assert can.embeds
    assert [name for name in ("holds_memory", "runs_elsewhere", "encodes_here") if getattr(can, name)] == [place]


def test_batches_are_a_kind_of_their_own() -> None:
    """An expert that is asked in batches waits for hours, and runs elsewhere."""
    fields = {
        "name": "e",
        "model": "m",
        "backend": "openai",
        "usd_per_m_input": 1,
        "usd_per_m_output": 1,
        "batch": True,
    }
    can = capabilities(Expert.model_validate(fields))
    assert (can.waits_hours, can.runs_elsewhere, can.recorded, can.holds_memory) == (True, True, False, False)


def test_capabilities_import_no_backend() -> None:
    """A plan is made in a moment, also where libraries take seconds to import."""
    done = subprocess.run([sys.executable, "-c", _IMPORTED, *KINDS], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""
