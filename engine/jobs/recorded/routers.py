"""Train a router on recorded outcomes and feedback, and measure one. Knows nothing of commands and reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from leeroo.engine.errors import UsageError
from leeroo.engine.jobs.recorded.sources import Source, check_split, open_data, with_feedback
from leeroo.engine.listeners import LineListener
from leeroo.engine.orchestrator.analysis.evaluate import Evaluation, evaluate
from leeroo.engine.orchestrator.encoders.encode import DEFAULT_ENCODER
from leeroo.engine.orchestrator.outcomes.read import read_outcomes
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.router_folder import check_place
from leeroo.engine.orchestrator.training.learn import extend, train
from leeroo.engine.pool import Pool


def train_router(
    data: Sequence[Source],
    *,
    out: Path | None = None,
    store: Path | None = None,
    router: str | Path | Router | None = None,
    mapped: Sequence[str] = (),
    encoders: Sequence[str] = (),
    finetune: Literal["none", "lora"] = "none",
    seed: int = 0,
    pool: Pool | None = None,
    say: LineListener | None = None,
) -> Router:
    """Train a router on recorded outcomes, or add experts to one.

    Args:
        data: Data folders, files and data frames.
        out: Folder for the router; None keeps it in memory.
        store: Learn from the feedback in this answer store, too.
        router: Take it over as it is, and learn only the experts that it does not know.
        mapped: Names of columns, as `read_map` takes them.
        encoders: As `train` takes them.
        finetune: As `train` takes it.
        seed: Random seed.
        pool: Its experts shall be in the outcomes.
        say: Called with lines about the progress.

    Raises:
        UsageError: the data, the router or an option is wrong.
        RouterError: the outcomes cannot be learned from, see `train` and `extend`.
        OutputError: the router cannot be written there.
    """
    if router is not None and (encoders or finetune != "none"):
        raise UsageError("encoder= and finetune= have no place beside router=: what it has learned stays as it is")
    if out is not None:
        check_place(out)  # learning takes minutes
    with open_data(data, mapped, say) as opened, with_feedback(opened, store) as folders:
        if pool is not None:
            _check_pool(pool, folders, opened.say)
        if router is None:
            learned = train(folders, encoders or [DEFAULT_ENCODER], finetune, seed, opened.say)
        else:
            learned = extend(as_router(router), folders, seed, opened.say)
    if out is not None:
        learned.save(out)
    return learned


def measure_router(
    router: str | Path | Router,
    data: Sequence[Source],
    *,
    split: str = "test",
    mapped: Sequence[str] = (),
    experts: Sequence[str] | None = None,
    pair: tuple[str, str] | None = None,
    say: LineListener | None = None,
) -> Evaluation:
    """Measure a router on recorded outcomes; the arguments are those of `evaluate` and `open_data`.

    Raises:
        UsageError: the data or an option is wrong.
        RouterError: there is no such router, or it cannot be measured on the data, see `evaluate`.
    """
    with open_data(data, mapped, say) as opened:
        check_split(opened, split)
        return evaluate(as_router(router), opened.folders, split, experts, pair, opened.say)


def as_router(given: str | Path | Router) -> Router:
    """Return a router itself, or the one in a folder."""
    return given if isinstance(given, Router) else Router.load(given)


def _check_pool(pool: Pool, folders: Sequence[Path], say: LineListener) -> None:
    """Check that outcomes and pool have an expert in common, and say which experts have no outcomes.

    Raises:
        UsageError: they have none.
    """
    there = read_outcomes(folders).experts
    missing = [name for name in pool.names if name not in there]
    if len(missing) == len(pool.names):
        raise UsageError(
            f"none of the pool's experts has outcomes: the pool has {', '.join(pool.names)}, the outcomes are of "
            f"{', '.join(there)}: rename one or the other"
        )
    if missing:
        say(f"no outcomes of {', '.join(missing)}: the router treats each like the most similar expert that it knows")
