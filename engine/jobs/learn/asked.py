"""The distinct questions of a table, and what experts have answered so far: the batch that the policy works on.

Every wave is a run of the engine in which each row names its expert. The budget counts list prices, also of answers
that the store already has. So a repeated command asks the same in the same waves and pays for nothing twice.
"""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from leeroo.engine.answer import Criteria, Engine, answer_fields
from leeroo.engine.arrays import Bools, Float64s, Int64s
from leeroo.engine.backends.select import unavailable
from leeroo.engine.batch.prompts import CONTEXT, check_columns, marked_private, read_asks
from leeroo.engine.errors import InputError
from leeroo.engine.jobs.learn.compare import (
    AnswerNumbers,
    comparable,
    is_right,
    key_of,
    open_options,
    options_of,
)
from leeroo.engine.jobs.learn.policy import mean_costs
from leeroo.engine.jobs.learn.skills import families
from leeroo.engine.jobs.learn.truth import EMPTY, NONE, Evidence
from leeroo.engine.jobs.questions import left_usd
from leeroo.engine.listeners import LineListener
from leeroo.engine.pool import Expert, Pool
from leeroo.engine.schema import ASK
from leeroo.engine.tables.values import as_text

# An expert that failed on this number of questions, and on more than it answered, gets no further ones.
_HOPELESS = 8
# From this number of answers on, the costs of an expert's further ones are expected to be as those were.
_TRUSTED = 3


@dataclass(frozen=True)
class Questions:
    """The distinct questions of a table.

    Attributes:
        table: [q], the columns that the engine reads: `question`, `private`, `ask`, and what routers use.
        of_row: [n], the question of each row of the table; -1 for a row without one.
        rows: [q], how many rows have it.
        gold: [q], right answers where they are known.
    """

    table: pa.Table
    of_row: Int64s
    rows: Int64s
    gold: list[str | None]

    @property
    def texts(self) -> list[str]:
        """The questions."""
        texts: list[str] = self.table.column("question").to_pylist()
        return texts

    @property
    def known(self) -> Bools:
        """Whether the right answer to each question is known, [q]."""
        return np.array([right is not None for right in self.gold], bool)


@dataclass(frozen=True)
class WaveFigures:
    """One wave, for people."""

    what: str
    answers: int
    failed: int
    cost_usd: float
    list_cost_usd: float
    experts: Mapping[str, int]


@dataclass(frozen=True)
class Unjudged:
    """The m answers of a wave that cannot be compared.

    Attributes:
        rows: [m], their questions, as numbers.
        experts: [m], names.
        texts: [m].
        known: [m], scores where gold says them, else NaN; they count more than the judge's.
        names: [e], of all experts.
        usual_usd: [e], mean cost of an answer; infinite where none is expected.
        left_usd: What is left of the budget; None without one.
    """

    rows: Sequence[int]
    experts: Sequence[str]
    texts: Sequence[str]
    known: Float64s
    names: Sequence[str]
    usual_usd: Float64s
    left_usd: float | None


@dataclass(frozen=True)
class Verdicts:
    """The scores of a judge.

    Attributes:
        scores: [m], the probability that each answer is right; NaN where the judge did not say.
        believed: Whether this and its earlier scores are believed.
        wave: The judge's requests, and what they cost.
    """

    scores: Float64s
    believed: bool
    wave: WaveFigures


Judge = Callable[[Unjudged], Verdicts]


def find_questions(table: pa.Table, criteria: Criteria) -> Questions:
    """Find the distinct questions of a table.

    They are in an order that depends on their texts alone, not on that of the rows. Equal questions have the first
    right answer that one of them has.

    Raises:
        InputError: a column is missing or of the wrong type.
    """
    check_columns(table.schema, criteria)
    questions, asks = read_asks(_as_batch(table), criteria)
    columns: dict[str, Any] = {"question": questions}
    private = marked_private(table, criteria)
    columns["private"] = pa.array([False] * len(table)) if private is None else private
    columns["ask"] = asks
    for name in CONTEXT:
        if name in table.column_names and name != criteria.column:
            columns[name] = as_text(table.column(name))
    columns["gold"] = pa.nulls(len(table), pa.string()) if criteria.gold is None else _gold(table, criteria.gold)
    rows = pa.table(columns)
    key = ", ".join(name for name in rows.column_names if name != "gold")
    with duckdb.connect() as db:
        db.register("rows", rows.append_column("row", pa.array(range(len(rows)), pa.int64())))
        found = db.sql(
            "SELECT row, first, gold, dense_rank() OVER (ORDER BY md5(question), first) - 1 AS q FROM ("
            f"SELECT row, question, first(row) OVER (PARTITION BY {key} ORDER BY row) AS first,"
            f" first_value(gold IGNORE NULLS) OVER (PARTITION BY {key} ORDER BY row"
            " ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS gold"
            " FROM rows WHERE trim(question) != '') ORDER BY row"
        ).to_arrow_table()
    of_row = np.full(len(table), -1)
    of_row[found.column("row").to_numpy()] = found.column("q").to_numpy()
    heads = found.filter(pc.equal(found.column("row"), found.column("first"))).sort_by("q")
    distinct = rows.drop_columns(["gold"]).take(heads.column("first"))
    counts = np.bincount(of_row[of_row >= 0], minlength=len(heads))
    return Questions(distinct, of_row, counts, heads.column("gold").to_pylist())


def _as_batch(table: pa.Table) -> pa.RecordBatch:
    """Return a table as one batch; also one without rows, which has none."""
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], table.schema)


def _gold(table: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise InputError(
            f"the input has no column {name!r} for gold=; its columns are: {', '.join(table.column_names)}"
        )
    text = pc.utf8_trim_whitespace(as_text(table.column(name)))
    return pc.if_else(pc.equal(text, ""), None, text)


def usable_experts(pool: Pool) -> list[Expert]:
    """Return the experts that can run here; all where none can, as `Engine.explain` plans with all then."""
    return [expert for expert in pool.experts if unavailable(expert) is None] or list(pool.experts)


class AskedTable:
    """The questions of a table with the answers that experts gave; see `policy.Asked`.

    Args:
        engine: With the pool. Call all of this within `engine.delivery`.
        questions: Of the table.
        criteria: The budget is that of all waves together.
        expected: [2, n, e], USD of an answer of each expert of `usable_experts`, expected and at most.
        say: Receives a line about each wave.
        judge: Judges answers that cannot be compared.
        stop: Stops the waves when another thread sets it.

    """

    def __init__(
        self,
        engine: Engine,
        questions: Questions,
        criteria: Criteria,
        expected: Float64s,
        say: LineListener,
        judge: Judge | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        self.questions = questions
        self.rows = questions.rows
        self.experts = usable_experts(engine.pool)
        self.names = [expert.name for expert in self.experts]
        self.spent = 0.0
        self.comparable = True
        self.waves: list[WaveFigures] = []
        self.answers: list[pa.Table] = []  # of each wave, with `q` and `e`, the question and the expert
        self._by_gold = np.full((len(self.rows), len(self.experts)), np.nan)  # scores of answers that are not compared
        self._by_judge, self._believed = self._by_gold.copy(), True
        self._engine, self._say, self._judge, self._stop = engine, say, judge, stop
        self._criteria = replace(
            criteria,
            column="question",
            private_column="private",
            ask_column="ask",
            prompt=None,
            prefix="",
            on_error="null",
        )
        asks = questions.table.column("ask").combine_chunks()
        self._choices: list[list[str] | None] = asks.field("choices").to_pylist()
        texts = questions.texts
        self._options = [options_of(text, own) for text, own in zip(texts, self._choices, strict=True)]
        self.expected, self._at_most = expected
        self.costs = np.where(_allowed(questions.table, self.experts, self.expected), self.expected, np.nan)
        self._bought = np.zeros(self.costs.shape, bool)
        self._failed = np.zeros(len(self.names), int)
        self._numbers = AnswerNumbers(texts, self._options, self._choices, questions.gold)
        n, e = self.costs.shape
        models = [expert.model_names[0] for expert in self.experts]
        self.evidence = Evidence(
            np.full((n, e), NONE),
            np.array([max(2, own) for own in self._options], np.int64),
            np.full(n, NONE),
            np.zeros((n, e)),
            families(models),
        )

    @property
    def bought(self) -> Bools:
        """Whom each question was sent to, [n, e]; without failed requests."""
        return self._bought

    @property
    def scores(self) -> Float64s:
        """The probability that each answer that cannot be compared is right [n, e]; NaN where nobody can say."""
        judged = self._by_judge if self._believed else np.full_like(self._by_judge, np.nan)
        return np.where(np.isfinite(self._by_gold), self._by_gold, judged)

    @property
    def lettered(self) -> list[int]:
        """How many options with letters each question offers, [n]; 0 where there are none, or choices of its own."""
        return [own if choices is None else 0 for own, choices in zip(self._options, self._choices, strict=True)]

    def reserve(self, experts: Int64s) -> float:
        """Return the most that one answer of these experts can cost: the engine sends nothing for less than that."""
        return float(np.nanmax(self._at_most[:, experts], initial=0.0))

    def usual_costs(self, pilot: Int64s) -> Float64s:
        """Return the mean cost of an answer of each expert to all questions, by those of the pilot [e]."""
        usual = np.array([np.nanmean(own) if np.isfinite(own).any() else np.inf for own in self.expected.T])
        for j in range(len(self.names)):
            own = pilot[self._bought[pilot, j]]
            if len(own) >= _TRUSTED:
                usual[j] *= self.costs[own, j].sum() / max(self.expected[own, j].sum(), 1e-300)
        return usual

    def ask(self, pairs: Bools, what: str) -> None:
        """Have questions answered, bool [n, e]; failed answers are not asked for again."""
        rows, experts = np.nonzero(pairs & np.isfinite(self.costs) & ~self.bought)
        if not len(rows):
            return
        table = self.questions.table.take(pa.array(rows))
        asks = table.column("ask").combine_chunks()
        named = pa.array([self.names[j] for j in experts.tolist()], pa.string())
        fields = [named if field.name == "expert" else asks.field(field.name) for field in ASK]
        at = table.column_names.index("ask")
        table = table.set_column(at, "ask", pa.StructArray.from_arrays(fields, fields=list(ASK)))
        criteria = replace(self._criteria, max_cost_usd=left_usd(self._criteria, self.spent))
        with self._engine.answer(table.to_reader(), criteria, self._stop) as reader:
            answers = reader.read_all().select(answer_fields(self.experts, criteria).names)
        answers = answers.append_column("q", pa.array(rows)).append_column("e", pa.array(experts))
        self.answers.append(answers)
        self._take(answers, rows, experts, what)

    def _take(self, answers: pa.Table, rows: Int64s, experts: Int64s, what: str) -> None:
        """Enter the answers of a wave."""
        # A recorded answer may have no text.
        texts = [text or "" for text in answers.column("answer").to_pylist()]
        failed = pc.is_valid(answers.column("error")).to_numpy()
        paid = np.nan_to_num(answers.column("list_cost_usd").to_numpy().astype(np.float64))
        # A failure that was billed costs what was paid: it is not stored.
        billed = np.nan_to_num(answers.column("cost_usd").to_numpy().astype(np.float64))
        self.spent += float(np.where(failed, billed, paid).sum())
        self.costs[rows, experts] = np.where(failed, np.nan, paid)
        self._bought[rows, experts] = ~failed
        np.add.at(self._failed, experts[failed], 1)
        hopeless = (self._failed >= _HOPELESS) & (self._failed > self._bought.sum(axis=0))
        self.costs[:, hopeless] = np.where(self._bought[:, hopeless], self.costs[:, hopeless], np.nan)
        good = np.flatnonzero(~failed)
        self._correct_costs(rows[good], experts[good])
        counted = Counter(self.names[j] for j in experts[good].tolist())
        cost = float(np.nansum(answers.column("cost_usd").to_numpy().astype(np.float64)))
        self.waves.append(WaveFigures(what, len(rows), int(failed.sum()), cost, float(paid.sum()), dict(counted)))
        self._say(_line(self.waves[-1], len(np.unique(rows))))
        self._enter(rows[good], experts[good], [texts[i] for i in good.tolist()], what)

    def _correct_costs(self, rows: Int64s, experts: Int64s) -> None:
        """Expect of further answers what those of the same expert cost: all so far, or the latest if these cost more.

        The questions of later waves are harder, and answers to them longer.
        """
        for j in np.unique(experts).tolist():
            all_own, latest = np.flatnonzero(self._bought[:, j]), rows[experts == j]
            factors = [
                self.costs[own, j].sum() / max(self.expected[own, j].sum(), 1e-300)
                for own in (all_own, latest)
                if len(own) >= _TRUSTED
            ]
            if factors:
                rest = ~self._bought[:, j] & np.isfinite(self.costs[:, j])
                self.costs[rest, j] = max(factors) * self.expected[rest, j]

    def _enter(self, rows: Int64s, experts: Int64s, texts: list[str], what: str) -> None:
        """Enter answers as numbers, or judge them where they cannot be compared."""
        codes = [self._numbers.number(q, text) for q, text in zip(rows.tolist(), texts, strict=True)]
        if int(self._bought.sum()) == len(codes) and codes:  # the first answers
            self._learn_form(rows.tolist(), texts, codes)
        options = self.evidence.options.copy()
        np.maximum.at(options, rows, np.array(codes, np.int64) + 1)
        self.evidence = replace(self.evidence, options=options)
        if self.comparable:
            self._enter_codes(rows, experts, codes)
        elif what == "pilot":
            self._enter_scores(rows, experts, texts)

    def _enter_codes(self, rows: Int64s, experts: Int64s, codes: list[int]) -> None:
        answers, gold = self.evidence.answers.copy(), self.evidence.gold.copy()
        answers[rows, experts] = codes
        for q in rows.tolist():
            if self.questions.gold[q] is not None:
                gold[q] = self._numbers.right(q)
        self.evidence = replace(self.evidence, answers=answers, gold=gold)

    def _learn_form(self, rows: list[int], texts: list[str], codes: list[int]) -> None:
        """Find out from the first answers whether they can be compared, and how many different ones there may be.

        A sentence of many words can be where another answer says the same.
        """
        keys = [key_of(text, self._options[q], self._choices[q]) for q, text in zip(rows, texts, strict=True)]
        often = Counter(zip(rows, codes, strict=True))
        agreeing = [code != EMPTY and often[q, code] > 1 for q, code in zip(rows, codes, strict=True)]
        self.comparable = comparable([key is not None or same for key, same in zip(keys, agreeing, strict=True)])
        free = [key for q, key in zip(rows, keys, strict=True) if not self._options[q]]
        usual = open_options(free)
        options = [own or usual for own in self._options]
        self.evidence = replace(self.evidence, options=np.array([max(2, own) for own in options], np.int64))

    def _enter_scores(self, rows: Int64s, experts: Int64s, texts: list[str]) -> None:
        """Have answers judged: right ones are number 0, which is the truth; others can be nothing."""
        golds = [self.questions.gold[q] for q in rows.tolist()]
        pairs = zip(golds, texts, strict=True)
        known = np.array([np.nan if gold is None else float(is_right(text, gold)) for gold, text in pairs])
        self._by_gold[rows, experts] = known
        if self._judge is not None:
            usual = mean_costs(self.costs, np.arange(len(self.names)))
            left = left_usd(self._criteria, self.spent)
            of_answers = [self.names[j] for j in experts.tolist()]
            said = self._judge(Unjudged(rows.tolist(), of_answers, texts, known, self.names, usual, left))
            self._by_judge[rows, experts], self._believed = said.scores, said.believed
            self.spent += said.wave.list_cost_usd
            self.waves.append(said.wave)
        judged = np.isfinite(self.scores)
        right = judged & (self.scores >= 0.5)
        answers = np.where(right, 0, np.where(judged, EMPTY, NONE))
        gold = np.where(right.any(axis=1), 0, np.where(judged.any(axis=1), EMPTY, NONE))
        self.evidence = replace(self.evidence, answers=answers, gold=gold)


def _allowed(questions: pa.Table, experts: Sequence[Any], costs: np.ndarray) -> Bools:
    """Return who may answer what, [n, e]."""
    asks = questions.column("ask").combine_chunks()
    local = np.array([expert.location == "local" for expert in experts])
    private = questions.column("private").to_numpy()
    allowed = np.broadcast_to(local, costs.shape) | ~private.astype(bool)[:, None]
    allowed = allowed & np.isfinite(costs)
    limits = asks.field("max_cost_usd").to_pylist()
    own = zip(asks.field("expert").to_pylist(), asks.field("excluded").to_pylist(), limits, strict=True)
    for q, (pinned, excluded, limit) in enumerate(own):
        if pinned is None and not excluded and limit is None:
            continue
        for j, expert in enumerate(experts):
            barred = expert.name in (excluded or ()) or (pinned is not None and expert.name != pinned)
            allowed[q, j] &= not barred and costs[q, j] <= (math.inf if limit is None else limit)
    return np.asarray(allowed)


def _line(wave: WaveFigures, questions: int) -> str:
    failed = f", {wave.failed:,} failed" if wave.failed else ""
    who = ", ".join(f"{name} {n:,}" for name, n in wave.experts.items())
    return f"{wave.what}: {questions:,} questions, {wave.answers:,} answers{failed} ({who})"
