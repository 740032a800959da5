"""What batches taught, kept: their answers as recorded outcomes, the routers that learn from them, and the next start.

In the answer store, `learned/POOL/RUN/` holds a data folder and a router for each batch of a pool and an owner. The
owner's next batch starts from the latest router, which has learned from all of them. A batch that is repeated starts
where it started.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import pyarrow as pa

from leeroo.engine.answer import Engine
from leeroo.engine.arrays import Float64s, Int64s
from leeroo.engine.errors import LeerooError
from leeroo.engine.jobs.feedback import experts_table, write_data_folder
from leeroo.engine.jobs.learn.asked import AskedTable
from leeroo.engine.jobs.learn.policy import mean_costs
from leeroo.engine.jobs.learn.skills import price_prior, router_prior
from leeroo.engine.jobs.learn.truth import Prior
from leeroo.engine.listeners import LineListener
from leeroo.engine.orchestrator.router import Router
from leeroo.engine.orchestrator.training.learn import train
from leeroo.engine.pool import Pool
from leeroo.engine.schema import OUTCOMES, QUERIES
from leeroo.engine.store.learned import FOLDER, under_way
from leeroo.engine.tables.outputs import new_file, write_file

# Questions that a router learns from at most: more take longer than they teach.
_MOST_QUESTIONS = 2000
_DATA, _ROUTER, _STARTED, _COSTS = "data", "router", "started.json", "costs.npz"
# All that reading what was written in part, or is damaged, raises.
_UNREADABLE = (ValueError, KeyError, TypeError, EOFError, OSError, zipfile.BadZipFile, zlib.error)

_T = TypeVar("_T")


class Shelf:
    """The routers that earlier batches of a pool and an owner have left in the answer store.

    Use it within `under_way`.
    """

    def __init__(self, store: Path, pool: Pool, owner: str, run: str) -> None:
        models = json.dumps(sorted((expert.name, expert.model) for expert in pool.experts))
        whose = hashlib.sha256(f"{models}{owner}".encode())
        self._pool = store / FOLDER / whose.hexdigest()[:16]
        self.folder = self._pool / run[:16]

    @contextlib.contextmanager
    def under_way(self) -> Iterator[None]:
        """Make the folder, and keep it from being pruned while the block runs."""
        # Questions and answers are nobody else's to read.
        for each in (self._pool.parent, self._pool, self.folder):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        with under_way(self.folder):
            yield

    def start(self) -> Router | None:
        """Return the router to start from; a batch that is done again starts from the same."""
        note = self.folder / _STARTED
        done = [each for each in self._done() if each != self.folder.name]
        noted = _read(note, lambda: json.loads(note.read_text())["before"])
        before: str | None = noted[0] if noted else done[-1] if done else None
        if noted is None:
            write_file(json.dumps({"before": before}), note)
        return Router.load(self._pool / before / _ROUTER) if before is not None and before in done else None

    def expected_costs(self, compute: Callable[[], Float64s]) -> Float64s:
        """Return the costs that are expected at the start: forecasts learn from answers, and would choose otherwise."""
        file = self.folder / _COSTS
        kept = _read(file, lambda: _load_costs(file))
        if kept:
            return kept[0]
        costs = compute()
        with new_file(file) as part, part.open("wb") as raw:
            np.savez(raw, costs=costs)  # with a checksum
        return costs

    def learn(self, tables: dict[str, pa.Table], seed: int, say: LineListener) -> Router | str:
        """Keep the outcomes of the batch, and train a router on those of all batches; or return why it cannot be."""
        write_data_folder(self.folder / _DATA, tables)
        if (self.folder / _ROUTER).is_dir():
            return Router.load(self.folder / _ROUTER)
        others = [self._pool / name / _DATA for name in self._done() if name != self.folder.name]
        try:
            router = train([self.folder / _DATA, *others], seed=seed, on_progress=say)
        except LeerooError as error:
            return str(error)
        router.save(self.folder / _ROUTER)
        return router

    def _done(self) -> list[str]:
        """Return the batches that have a router, the latest last."""
        found = [path for path in self._pool.glob(f"*/{_ROUTER}") if path.is_dir()]
        return [path.parent.name for path in sorted(found, key=lambda path: (path.stat().st_mtime_ns, str(path)))]


def _read(file: Path, read: Callable[[], _T]) -> tuple[_T] | None:
    """Return what a file holds; None where it is not there, or damaged: it is then written anew."""
    try:
        return (read(),) if file.is_file() else None
    except _UNREADABLE:
        return None


def _load_costs(file: Path) -> Float64s:
    with np.load(file, allow_pickle=False) as stored:
        costs: Float64s = stored["costs"]
    return costs


def router_to_start(engine: Engine, learned: Router | None, say: LineListener) -> Router | None:
    """Return the router that is given, or what earlier batches learned, or what a shipped router knows of the pool."""
    engine.take_remarks()
    if engine.prior is None and engine.router is not None:
        return engine.router
    if learned is not None:
        say("starting from what earlier tables taught of this pool")
        return learned
    if engine.prior is not None:
        known = len(engine.prior.known)
        say(
            f"starting from the shipped router {engine.prior.name!r}, which knows {known} of {len(engine.pool.experts)}"
        )
        return engine.prior.learned
    return None


def known_beforehand(asked: AskedTable, router: Router | None) -> Prior:
    """Return what prices say of the experts, and what a router says of those that it knows."""
    usual = mean_costs(asked.costs, np.arange(len(asked.names)))
    prior = price_prior(np.nan_to_num(usual, posinf=0.0), len(asked.rows))
    known = [] if router is None else [name for name in asked.names if name in router.experts]
    if router is None or not known or not len(asked.rows):
        return prior
    predicted = router.predict(asked.questions.texts).scores
    scores = np.full(asked.costs.shape, np.nan)
    for name in known:
        scores[:, asked.names.index(name)] = predicted[:, router.experts.index(name)]
    return router_prior(prior, scores)


def outcome_tables(asked: AskedTable, scores: Float64s, order: Int64s) -> dict[str, pa.Table]:
    """Return the tables of a data folder: the answers, each with the probability that it is right.

    Private questions are not among them: they stay where they were asked.

    Args:
        asked: The batch at its end.
        scores: [n, e], NaN where nothing is known.
        order: Questions in the order in which they are kept.

    """
    answers = pa.concat_tables(asked.answers, promote_options="default") if asked.answers else None
    texts, asks = asked.questions.texts, asked.questions.table.column("ask").combine_chunks()
    private = asked.questions.table.column("private").to_pylist()
    taught = [q for q in order.tolist() if np.isfinite(scores[q]).any() and not private[q]]
    kept = taught[:_MOST_QUESTIONS]
    ids = {q: hashlib.sha256(texts[q].encode()).hexdigest()[:24] for q in kept}
    choices = asks.field("choices").to_pylist()
    queries = [
        {
            "query_id": ids[q],
            "dataset": "learned",
            "split": "train",
            "question": texts[q],
            "choices": choices[q],
            "answer": asked.questions.gold[q],
            "prompt": texts[q],
        }
        for q in kept
    ]
    outcomes = []
    for row in answers.to_pylist() if answers is not None else ():
        score = scores[row["q"], row["e"]]
        if row["q"] in ids and row["error"] is None and np.isfinite(score):
            tokens = {name: row[name] for name in ("prompt_tokens", "completion_tokens")}
            outcome = {"query_id": ids[row["q"]], "expert": asked.names[row["e"]], "score": float(score)}
            outcomes.append({**outcome, **tokens, "response": row["answer"], "cost_usd": row["list_cost_usd"]})
    return {
        "queries": _distinct(queries),
        "outcomes": pa.Table.from_pylist(outcomes, schema=OUTCOMES),
        "experts": experts_table(asked.experts),
    }


def _distinct(queries: Sequence[dict[str, object]]) -> pa.Table:
    """Return queries, each once: the same text may have been asked with other arguments."""
    return pa.Table.from_pylist(list({each["query_id"]: each for each in queries}.values()), schema=QUERIES)
