"""The shipped routers: router folders with `about.json`, which says which models their experts are.

Knows nothing of predictions.
"""

from __future__ import annotations

import functools
import importlib.resources
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from leeroo.engine.errors import RouterError, UsageError
from leeroo.engine.orchestrator.router_folder import ABOUT, CARD_FOR_PEOPLE, read_card
from leeroo.engine.pool import DEFAULT_ROUTER, Expert

# The router of the embedded local pool, whose folder is beside that pool. Its experts are one model, asked in two ways:
# pools with that model are not matched.
EMBEDDED = "embedded"


class KnownModel(BaseModel):
    """An expert of a shipped router: its model, what it cost when its outcomes were recorded, and its mean score."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    usd_per_m_input: float
    usd_per_m_output: float
    mean_score: float


class About(BaseModel):
    """What people, and pools that look for a router, need to know of a shipped one.

    Attributes:
        title: The questions, and how they were asked.
        licence: The licences of the outcomes that it was learned from.
        attribution: Who published them, a line each.
        questions: Questions that it was learned from.
        whole_answers: False where the recorded answers are single letters, so that their length says nothing.
        moving: Names of models that now stand for other ones; they match nothing.
        experts: By name in the router.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    licence: str
    attribution: list[str]
    questions: int
    whole_answers: bool
    moving: list[str]
    experts: dict[str, KnownModel]


def shipped() -> dict[str, About]:
    """Return what is known of each shipped router, by name.

    Raises:
        RouterError: one of them is damaged.
    """
    return {folder.name: read_about(folder) for folder in sorted(_home().iterdir()) if folder.is_dir()}


def folder_of(name: str) -> Path:
    """Return the folder of a shipped router."""
    return DEFAULT_ROUTER if name == EMBEDDED else _home() / name


def listing(experts: Sequence[Expert] | None = None) -> list[dict[str, Any]]:
    """Return the shipped routers as programs read them, and which of some experts each knows."""
    return [_entry(name, about, experts) for name, about in shipped().items()]


def card_of(name: str) -> str:
    """Return the card of a shipped router, in Markdown.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in shipped():
        raise UsageError(f"no router {name!r} ships: there are {', '.join(shipped())}")
    return (_home() / name / CARD_FOR_PEOPLE).read_text(encoding="utf-8")


def _entry(name: str, about: About, experts: Sequence[Expert] | None) -> dict[str, Any]:
    training = read_card(folder_of(name)).training
    return {
        "router": name,
        "folder": str(folder_of(name)),
        "title": about.title,
        "licence": about.licence,
        "attribution": about.attribution,
        "questions": training.questions,
        "outcomes": training.outcomes,
        "calibration_error": training.ece,
        "experts": {slug: known.model for slug, known in about.experts.items()},
        "known": None if experts is None else match(experts, about),
    }


@functools.cache
def read_about(folder: Path) -> About:
    """Read what is known of a shipped router.

    Raises:
        RouterError: it is not there, or damaged.
    """
    try:
        return About.model_validate_json((folder / ABOUT).read_bytes())
    except (OSError, ValidationError) as error:
        raise RouterError(
            f"the shipped router {folder} is damaged ({ABOUT} cannot be read): install leeroo again"
        ) from error


def match(experts: Sequence[Expert], about: About) -> dict[str, str]:
    """Return the experts whose model a router knows, by name, with its name there.

    A model counts by its name without its owner, in any case, or by another name that hosts give the same weights. A
    replayed expert, whose model is a folder of outcomes, counts by its own name.
    """
    runs: dict[str, list[str]] = {}
    for slug, known in about.experts.items():
        if known.model not in about.moving:
            runs.setdefault(canonical(known.model), []).append(slug)
    slugs = {model: _middle(several, about) for model, several in runs.items()}
    found: dict[str, str] = {}
    for expert in experts:
        named = expert.name.casefold()
        is_run = expert.backend == "replay" and named in about.experts
        run = named if is_run else slugs.get(canonical(expert.model_names[0]))
        if run is not None:
            found[expert.name] = run
    return found


def canonical(model: str) -> str:
    """Return the one name of a model that hosts call differently: without its owner, in small letters."""
    name = model.rsplit("/", 1)[-1].casefold()
    return _names().get(name, name)


def _middle(runs: list[str], about: About) -> str:
    """Return the run of a model with the middle mean score: hosts differ."""
    return sorted(runs, key=lambda slug: about.experts[slug].mean_score)[len(runs) // 2]


@functools.cache
def _names() -> dict[str, str]:
    """Return the one name of each model by its other names."""
    also: dict[str, list[str]] = tomllib.loads((_home() / "models.toml").read_text(encoding="utf-8"))
    return {other.casefold(): name.casefold() for name, others in also.items() for other in others}


def _home() -> Path:
    return Path(str(importlib.resources.files("leeroo") / "data" / "routers"))
