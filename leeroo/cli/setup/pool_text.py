"""The text of a pool file that `leeroo init` writes, with a comment for each key."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from leeroo.cli.setup.providers import Provider

EMBEDDED = "embedded"

_HEAD = """\
# Experts for Leeroo, written by leeroo init. An expert is a model and how it is asked.
#
#   leeroo experts --pool {pool}
#       prints prices, where rows go, and what is missing.
#   {explain}
#       prints what a run would cost.
#   {run}
#       answers the table.
#
# Keys of an expert:
#   model         the provider's name of it; of a local one a hub id, a folder or a GGUF file
#   backend       "openai" for a server with OpenAI's API; without it the model runs here
#   api_key_env   the variable that holds the key; the key itself is never written here
#   max_tokens    the longest answer
#   effort        how hard it thinks before it answers: "none", "low", "medium" or "high"
#   system        an instruction before each question, such as "Answer in one sentence."
#   usd_per_m_*   USD per million tokens; without them the provider's list price (package genai-prices)

# This expert answers where no router chooses.
default = {default}
"""
_REMOTE = """
[[expert]]
name = {name}
model = {model}
backend = "openai"
{address}api_key_env = {key}
max_tokens = 512
# effort = "low"
# system = "..."
"""
_LOCAL = """
# It runs on this machine: rows marked private go nowhere else.
[[expert]]
name = {name}
model = {model}
usd_per_m_input = 0
usd_per_m_output = 0
max_tokens = 256
# system = "..."
"""
_OPENAI = "https://api.openai.com/v1"


def pool_text(chosen: Sequence[Provider], local: Sequence[str], pool: Path, explain: str, run: str) -> str:
    """Return a pool file with the models of some providers and some local ones; the first expert is the default.

    Args:
        chosen: Providers, two experts of each.
        local: Hub ids, folders, GGUF files, or `EMBEDDED` for the model that ships.
        pool: The place of the file.
        explain: The command that estimates a run with it.
        run: The command that runs with it.
    """
    entries, names = list[str](), list[str]()
    for provider in chosen:
        for model in provider.models:
            names.append(_name(model, names, provider.name))
            entries.append(_remote(provider, model, names[-1]))
    for model in local:
        names.append(_name(model, names, "local"))
        entries.append(_LOCAL.format(name=json.dumps(names[-1]), model=_text(_located(model))))
    return "".join([_HEAD.format(pool=pool, explain=explain, run=run, default=_text(names[0])), *entries])


def _remote(provider: Provider, model: str, name: str) -> str:
    address = "" if provider.url == _OPENAI else f"base_url = {_text(provider.url)}\n"
    return _REMOTE.format(name=_text(name), model=_text(model), address=address, key=_text(provider.key))


def _located(model: str) -> str:
    """Return a model's name as it holds wherever the pool file is."""
    if model == EMBEDDED:
        from leeroo.engine.pool import DEFAULT_POOL, load_pool

        return load_pool(DEFAULT_POOL).experts[0].model
    there = Path(model).expanduser()
    return str(there.resolve()) if there.exists() else model


def _name(model: str, taken: Sequence[str], prefix: str) -> str:
    """Return a name for an expert: the last part of its model's, without what a name cannot have."""
    last = (_located(model) if model == EMBEDDED else model).rstrip("/").rsplit("/", 1)[-1].removesuffix(".gguf")
    allowed = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in last.lower()).strip(".-_")
    plain = allowed or prefix
    if plain not in taken:
        return plain
    numbered = [f"{prefix}-{plain}", *(f"{prefix}-{plain}-{i}" for i in range(2, len(taken) + 3))]
    return next(name for name in numbered if name not in taken)


def _text(value: str) -> str:
    """Return a string of TOML, in which JSON's escapes hold too."""
    return json.dumps(value, ensure_ascii=False)
