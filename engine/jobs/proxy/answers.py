"""Answers of a table of which a proxy labels a part: the experts answer the rest, in several runs under one budget.

Each run gets the part of the rest of the budget that its texts are of all that may still come. The budget counts list
prices, also for answers that the store already has, so that a repeated job sends the same texts in the same runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from leeroo.engine.answer import Criteria, Engine
from leeroo.engine.arrays import Float32s, Float64s, Int64s
from leeroo.engine.jobs.proxy.findings import PROXY, ProxyFindings
from leeroo.engine.jobs.proxy.fitting import ProxyTask
from leeroo.engine.jobs.proxy.learning import LEAST_TEXTS, ProxyLabels, learn
from leeroo.engine.jobs.questions import left_usd
from leeroo.engine.orchestrator.encoders.encode import DEFAULT_ENCODER, encode, encode_all
from leeroo.engine.weights import size

# Answers rows [m] of a table within criteria, with a seed that makes answers new ones: the answers, and the
# probabilities of the labels [m, k], NaN where there is no answer.
Run = Callable[[Int64s, Criteria, int | None], tuple[pa.Table, Float64s]]

# The seed of texts that are labelled a second time.
_AGAIN = 1


@dataclass(frozen=True)
class LabelRequest:
    """A table whose rows get one of some labels.

    Attributes:
        texts: [n], None where there is nothing to label.
        names: Of the labels.
        private: [n], rows that only local experts may see; None where there are none.
        gold: [n], labels that people gave, None without one; or None where there are none.
    """

    texts: Sequence[str | None]
    names: Sequence[str]
    private: Sequence[bool] | None = None
    gold: Sequence[str | None] | None = None


def answer_with_proxy(
    engine: Engine, request: LabelRequest, criteria: Criteria, run: Run
) -> tuple[pa.Table, Float64s, ProxyFindings]:
    """Label all rows, by experts or by a classifier that learns from them.

    Call it within `engine.delivery`, until the answers are where they should be.

    Returns:
        A row of answers for each of the request; the probabilities of the labels [n, k]; and what was found.

    Raises:
        InputError, PoolError, OutputError: as `Engine.answer`.

    """
    panel = _Panel(request, criteria, run)
    n = len(panel.texts)
    off = _why_off(engine, criteria, n)
    if off is not None:
        everything = np.arange(len(request.texts))
        return *run(everything, criteria, None), ProxyFindings(n, off)
    task = ProxyTask(panel.texts, len(request.names), panel.gold, always=bool(criteria.proxy))
    learned = learn(task, panel, lambda texts: _encode(engine, texts))
    return *panel.assemble(learned), learned.findings


def _why_off(engine: Engine, criteria: Criteria, texts: int) -> str | None:
    """Say why no classifier is tried; None where it is."""
    if criteria.proxy is False:
        return "it was turned off"
    if texts < LEAST_TEXTS:
        return f"there are {texts:,} different texts, and it learns from {LEAST_TEXTS:,} on"
    if PROXY in engine.pool.names:
        return f"an expert of the pool is named {PROXY!r}"
    try:
        import sklearn  # noqa: F401
    except ImportError:
        return "it needs scikit-learn: pip install 'leeroo[local]'"
    if engine.router is None and size(DEFAULT_ENCODER) is None:
        return f"the encoder {DEFAULT_ENCODER} is not on this machine: pip install 'leeroo[local]'"
    return None


def _encode(engine: Engine, texts: Sequence[str]) -> Float32s:
    """Return the vectors of texts [n, d]: those of the router, which are there already, or of the default encoder."""
    if engine.router is None:
        return encode(texts)
    vectors = encode_all(texts, engine.router.encoders)
    return np.concatenate([vectors[name] for name in engine.router.encoders], axis=1)


class _Panel:
    """The experts of `learning`: they answer the rows of different texts, and all answers are kept."""

    def __init__(self, request: LabelRequest, criteria: Criteria, run: Run) -> None:
        self._request, self._criteria, self._run = request, criteria, run
        private = request.private or [False] * len(request.texts)
        numbers: dict[tuple[str, bool], int] = {}
        # Rows without a text have the number -1.
        self._text_of = np.array(
            [
                -1 if text is None else numbers.setdefault((text, own), len(numbers))
                for text, own in zip(request.texts, private, strict=True)
            ],
            np.int64,
        )
        self.texts = [text for text, _ in numbers]
        self.gold = self._gold()
        self.usd = 0.0
        self._parts: list[tuple[Int64s, pa.Table, Float64s]] = []
        self._extra: list[tuple[Int64s, pa.Table]] = []

    def _gold(self) -> Int64s:
        """Return the gold label of each text [n]; -1 where there is none, or one that is not among the labels."""
        place = {name: i for i, name in enumerate(self._request.names)}
        gold = np.full(len(self.texts), -1, np.int64)
        for text, label in zip(self._text_of.tolist(), self._request.gold or [], strict=False):
            if text >= 0 and label in place:
                gold[text] = place[label]
        return gold

    def ask(self, texts: Int64s, later: int, *, again: bool = False) -> Int64s:
        """Have the experts label texts, with all rows that have them."""
        wanted = np.isin(self._text_of, texts)
        if not self._parts:
            wanted |= self._text_of < 0
        rows = np.flatnonzero(wanted)
        left = left_usd(self._criteria, self.usd)
        share = None if left is None else left * len(texts) / (len(texts) + later)
        answers, chances = self._run(rows, replace(self._criteria, max_cost_usd=share), _AGAIN if again else None)
        of_rows = self._text_of[rows]
        _, first = np.unique(of_rows, return_index=True)
        first = first[of_rows[first] >= 0]
        self.usd += float(np.nansum(answers.column("list_cost_usd").to_numpy()[first]))
        (self._extra.append((rows, answers)) if again else self._parts.append((rows, answers, chances)))
        known = np.isfinite(chances).all(axis=1)
        label = np.where(known, np.nan_to_num(chances).argmax(axis=1), -1)
        found = np.full(len(self.texts), -1, np.int64)
        found[of_rows[first]] = label[first]
        return found[texts]

    def assemble(self, learned: ProxyLabels) -> tuple[pa.Table, Float64s]:
        """Return the answers of all rows in order, and the probabilities of their labels."""
        asked = np.concatenate([rows for rows, _, _ in self._parts])
        own = np.setdiff1d(np.arange(len(self._text_of)), asked)
        label, sure = learned.label[self._text_of[own]], learned.confidence[self._text_of[own]]
        k = len(self._request.names)
        given = np.repeat(((1 - sure) / max(1, k - 1))[:, None], k, axis=1)
        given[np.arange(len(own)), label] = sure
        tables = [answers for _, answers, _ in self._parts]
        tables.append(_answers_of_proxy([self._request.names[int(i)] for i in label], sure, tables[0].schema))
        order = np.argsort(np.concatenate([asked, own]), kind="stable")
        chances = np.concatenate([*(chances for _, _, chances in self._parts), given])[order]
        return self._with_extra(pa.concat_tables(tables).take(pa.array(order))), chances

    def _with_extra(self, answers: pa.Table) -> pa.Table:
        """Return the answers with the costs of texts that were labelled twice."""
        for name in ("cost_usd", "list_cost_usd"):
            cost = answers.column(name).to_numpy().copy()
            for rows, more in self._extra:
                cost[rows] += more.column(name).to_numpy()
            answers = answers.set_column(answers.column_names.index(name), answers.schema.field(name), pa.array(cost))
        return answers


def _answers_of_proxy(labels: list[str], sure: Float64s, schema: pa.Schema) -> pa.Table:
    """Return labels of the classifier as answers that cost nothing."""
    n = len(labels)
    given = {
        "answer": pa.array(labels, pa.string()),
        "expert": pa.array([PROXY] * n, pa.string()),
        "cost_usd": pa.array(np.zeros(n)),
        "list_cost_usd": pa.array(np.zeros(n)),
        "finish_reason": pa.array(["stop"] * n, pa.string()),
        "confidence": pa.array(sure),
    }
    return pa.table([given.get(each.name, pa.nulls(n, each.type)) for each in schema], schema=schema)
